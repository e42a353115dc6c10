// How the gateways are: spool, acknowledgements, link, losses, clock, data plan, version.

import { h, mark, put } from "./dom.js";
import * as live from "./live.js";
import * as words from "./words.js";

const OLD_MS = 10 * 60000;

// Each column: title, text, and whether somebody should look.
const COLUMNS = [
  ["Link", (v) => words.condition(v), (v) => v.link === "lost"],
  ["Last heard", (v) => words.age(live.now() - v.seen_ms), () => false],
  ["Spool", (v) => words.bytes(v.gateway.spool_bytes ?? v.desk?.status?.spool_bytes) + (v.gateway.spool_mode === 1 || v.desk?.status?.ram_mode ? " in memory" : ""), (v) => v.gateway.spool_mode === 1 || v.desk?.status?.ram_mode === true],
  ["Oldest unsent", (v) => words.span(v.desk?.status?.oldest_unacked_ms ?? v.gateway.oldest_unsent_ms), (v) => (v.desk?.status?.oldest_unacked_ms ?? v.gateway.oldest_unsent_ms ?? 0) > OLD_MS],
  ["Ack lag", (v) => words.span(v.desk?.status?.ack_latency_ms ?? v.gateway.ack_latency_ms), () => false],
  ["Evicted", (v) => `${v.evicted_count} readings`, (v) => v.evicted_count > 0],
  ["Clock", (v) => clock(v), (v) => v.utc_source === "none" || v.utc_source === "fake"],
  ["Data plan", (v) => plan(v), (v) => used(v) > 0.9],
  ["Connections", (v) => (v.gateway.connections === null ? "–" : String(v.gateway.connections)), () => false],
  ["Version", (v) => v.software || "–", () => false],
];

function clock(vehicle) {
  const error = vehicle.utc_error_ms === null ? "" : ` ± ${words.span(vehicle.utc_error_ms)}`;
  return `${vehicle.utc_source}${error}`;
}

function used(vehicle) {
  const status = vehicle.desk?.status;
  return status?.plan_max_bytes ? status.plan_used_bytes / status.plan_max_bytes : 0;
}

function plan(vehicle) {
  const status = vehicle.desk?.status;
  if (status?.plan_used_bytes === undefined) return "–";
  const limit = status.plan_max_bytes ? ` of ${words.bytes(status.plan_max_bytes)}` : "";
  return `${words.bytes(status.plan_used_bytes)}${limit}`;
}

export function health(main) {
  const search = h("input", { type: "search", placeholder: "Vehicle or version", "aria-label": "Search vehicles", autocomplete: "off" });
  const only = h("input", { type: "checkbox", id: "only" });
  const body = h("tbody");
  const empty = h("p", { class: "empty" }, "No vehicle has reported yet.");
  main.replaceChildren(h("article", { class: "wide" }, h("h1", {}, "Health of the gateways"),
    h("div", { class: "tools" }, search, h("label", { class: "check", for: "only" }, only, " only where somebody should look")),
    empty, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Gateways" },
      h("table", { class: "health" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Vehicle"), COLUMNS.map(([title]) => h("th", { scope: "col" }, title)))), body))));
  const rows = new Map();

  function fill(vehicle, entry) {
    COLUMNS.forEach(([, text, bad], index) => {
      put(entry.cells[index], text(vehicle));
      mark(entry.cells[index], "bad", String(bad(vehicle)));
    });
  }

  function row(vehicle) {
    const cells = COLUMNS.map(() => h("td"));
    const element = h("tr", {}, h("th", { scope: "row" }, h("a", { href: `#/vehicle/${vehicle.device}` }, vehicle.device)), cells);
    const entry = { element, cells };
    rows.set(vehicle.device, entry);
    fill(vehicle, entry);
    return element;
  }

  function visible(vehicle) {
    const wanted = search.value.trim().toLowerCase();
    if (wanted && !`${vehicle.device} ${vehicle.software}`.toLowerCase().includes(wanted)) return false;
    return !only.checked || COLUMNS.some(([, , bad]) => bad(vehicle));
  }

  let drawing = 0;
  function draw() {
    const turn = ++drawing;
    const shown = [...live.vehicles.values()].filter(visible).sort((a, b) => a.device.localeCompare(b.device));
    rows.clear();
    body.replaceChildren();
    empty.hidden = shown.length > 0;
    put(empty, live.vehicles.size ? "No vehicle matches." : "No vehicle has reported yet.");
    const more = (from) => {
      if (turn !== drawing) return;
      body.append(...shown.slice(from, from + 100).map(row));
      if (from + 100 < shown.length) setTimeout(() => more(from + 100));
    };
    more(0);
  }

  search.addEventListener("input", draw);
  only.addEventListener("input", draw);
  const off = live.on("vehicles", (names) => {
    let isNew = false;
    for (const name of names) {
      const entry = rows.get(name);
      if (entry) fill(live.vehicles.get(name), entry);
      else isNew ||= visible(live.vehicles.get(name));
    }
    if (isNew) draw();
  });
  const clockTick = setInterval(() => {
    for (const [name, entry] of rows) put(entry.cells[1], COLUMNS[1][1](live.vehicles.get(name)));
  }, 1000);
  draw();
  return { end() { off(); clearInterval(clockTick); drawing += 1; } };
}
