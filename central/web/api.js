// Questions and orders to the centre.

let csrf = null;

export class Refused extends Error {
  constructor(problem, status) {
    super(problem?.detail ? problem.detail + (problem.limit ? ` (allowed: ${problem.limit})` : "") : `status ${status}`);
    this.status = status;
  }
}

async function answer(response) {
  const text = await response.text();
  let body = null;
  try { body = text ? JSON.parse(text) : null; } catch { /* not JSON: the status says it */ }
  if (!response.ok) throw new Refused(body, response.status);
  return body;
}

export async function get(path, fields = {}, signal = undefined) {
  const query = new URLSearchParams(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined && value !== ""));
  const suffix = query.size ? `?${query}` : "";
  return answer(await fetch(`/api/v1/${path}${suffix}`, { headers: { accept: "application/json" }, signal }));
}

export async function post(path, body) {
  const headers = { "content-type": "application/json" };
  if (csrf) headers["x-fleet-csrf"] = csrf;
  return answer(await fetch(`/api/v1/${path}`, { method: "POST", headers, body: JSON.stringify(body ?? {}) }));
}

export async function me() {
  const who = await get("me");
  csrf = who.csrf;
  return who;
}
