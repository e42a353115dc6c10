// Numbers, times and names as people read them. Every number has its unit.

const UNITS = { degC: "°C", deg: "°", count: "" };

export function unit(name) {
  return UNITS[name] ?? name ?? "";
}

export function value(number, unitName, digits = 1) {
  if (number === null || number === undefined) return "–";
  const shown = Number.isInteger(number) && unitName !== "degC" ? String(number) : number.toFixed(digits);
  const symbol = unit(unitName);
  return symbol ? `${shown} ${symbol}` : shown;
}

// A length of time in one or two units.
export function span(ms) {
  if (ms === null || ms === undefined) return "–";
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (ms > 0 && ms < 1000) return `${Math.round(ms)} ms`;
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d`;
}

// How long ago something was; below a second nobody reads what changes at each look.
export function age(ms) {
  return ms === null || ms === undefined ? "–" : span(Math.max(0, Math.floor(ms / 1000)) * 1000);
}

export function count(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}

export function bytes(number) {
  if (number === null || number === undefined) return "–";
  for (const [size, name] of [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]]) {
    if (number >= size) return `${(number / size).toFixed(1)} ${name}`;
  }
  return `${number} B`;
}

const two = (number) => String(number).padStart(2, "0");

export function clock(ms) {
  if (ms === null || ms === undefined) return "–";
  const date = new Date(ms);
  return `${two(date.getHours())}:${two(date.getMinutes())}`;
}

export function day(ms) {
  const date = new Date(ms);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

// Date and time; the date is left out today.
export function time(ms) {
  if (ms === null || ms === undefined) return "–";
  const date = new Date(ms);
  const at = `${clock(ms)}:${two(date.getSeconds())}`;
  if (date.toDateString() === new Date().toDateString()) return at;
  return `${day(ms)} ${at}`;
}

const LINKS = { up: "connected", lost: "link lost", closed: "parked", unknown: "not connected yet" };
const CONDITIONS = { heard: "connected", parked: "parked", link_lost: "link lost", silent: "silent", unknown: "" };

// What a vehicle does, in a word or two: the desk's judgement before the bare link.
export function condition(vehicle) {
  return CONDITIONS[vehicle.desk?.condition] || LINKS[vehicle.link] || vehicle.link;
}

const RANK = { critical: 3, warning: 2, diagnostic: 1 };

export function rank(severity) {
  return RANK[severity] ?? 0;
}

export function worst(vehicle) {
  return vehicle.desk?.worst_open ?? null;
}

// The name of the colour and the word for the state of a vehicle.
export function state(vehicle) {
  const severity = worst(vehicle);
  if (severity) return severity;
  const word = vehicle.desk?.condition ?? vehicle.link;
  return word === "heard" || word === "up" ? "fine" : "quiet";
}

export function kind(name) {
  return String(name).replaceAll("_", " ");
}
