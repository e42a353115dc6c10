// The fleet: a list and a map, coloured by the worst open alert.

import { framed, h, mark, put } from "./dom.js";
import * as live from "./live.js";
import { FleetMap } from "./map.js";
import * as words from "./words.js";

const CHUNK = 200;

// What a vehicle carries comes before how it is cooled.
function mainValue(vehicle) {
  const loads = new Set((vehicle.desk?.sensors ?? []).filter((one) => one.role === "load").map((one) => one.name));
  return vehicle.values.find((one) => loads.has(one.sensor)) ?? vehicle.values.find((one) => one.unit === "degC") ?? vehicle.values[0];
}

export function fleet(main, { me, go }) {
  const search = h("input", { type: "search", id: "search", placeholder: "Name or state", "aria-label": "Search vehicles", autocomplete: "off" });
  const summary = h("p", { class: "summary", role: "status" });
  const resort = h("button", { type: "button", class: "quiet", disabled: true }, "Sort by urgency");
  const list = h("ul", { class: "vehicles", "aria-label": "Vehicles" });
  const empty = h("p", { class: "empty" }, "No vehicle has reported yet.");
  const place = h("div", { class: "map", role: "region" });
  main.replaceChildren(
    h("h1", { class: "hidden" }, "Fleet"),
    h("div", { class: "fleet" },
      h("section", { class: "side", "aria-label": "List of vehicles" },
        h("div", { class: "tools" }, search, resort), summary,
        h("div", { class: "row head", "aria-hidden": "true" }, h("span", {}, "State"), h("span", {}, "Vehicle"), h("span", {}, "Last value"), h("span", {}, "Last data")),
        empty, list),
      place));
  const map = new FleetMap(place, { tilesUrl: me.tiles_url, label: "Map of the fleet" });
  const rows = new Map();
  let fitted = false;

  function row(vehicle) {
    const parts = { state: h("span", { class: "state" }), name: h("span", { class: "name" }, vehicle.device), value: h("span", { class: "number" }), age: h("span", { class: "number age" }) };
    const link = h("a", { class: "row", href: `#/vehicle/${vehicle.device}` }, parts.state, parts.name, parts.value, parts.age);
    const item = h("li", {}, link);
    const entry = { item, link, ...parts };
    rows.set(vehicle.device, entry);
    fill(vehicle, entry);
    return item;
  }

  function fill(vehicle, entry) {
    const state = words.state(vehicle);
    mark(entry.link, "state", state);
    const word = words.rank(state) ? state : words.condition(vehicle);
    put(entry.state, word);
    const first = mainValue(vehicle);
    put(entry.value, !first ? "–" : first.fault ? words.kind(first.fault) : words.value(first.value, first.unit));
    entry.link.title = first ? first.sensor : "";
    aged(vehicle, entry);
  }

  function aged(vehicle, entry) {
    put(entry.age, vehicle.received_ms === null ? "no data" : words.age(live.now() - vehicle.received_ms));
  }

  function order() {
    return [...live.vehicles.values()].sort((a, b) =>
      words.rank(words.worst(b)) - words.rank(words.worst(a)) || a.device.localeCompare(b.device));
  }

  function visible(vehicle) {
    const wanted = search.value.trim().toLowerCase();
    return !wanted || `${vehicle.device} ${vehicle.software} ${words.state(vehicle)} ${words.condition(vehicle)}`.toLowerCase().includes(wanted);
  }

  let drawing = 0;
  function draw() {
    const turn = ++drawing;
    const shown = order().filter(visible);
    list.replaceChildren();
    rows.clear();
    empty.hidden = shown.length > 0;
    put(empty, live.vehicles.size ? "No vehicle matches." : "No vehicle has reported yet.");
    resort.disabled = true;
    count();
    // The first screen at once, the rest as there is time for it.
    const more = (from) => {
      if (turn !== drawing) return;
      list.append(...shown.slice(from, from + CHUNK).map(row));
      if (from + CHUNK < shown.length) setTimeout(() => more(from + CHUNK));
      else list.dataset.complete = String(shown.length);
    };
    more(0);
  }

  function count() {
    const counts = { critical: 0, warning: 0, quiet: 0 };
    for (const vehicle of live.vehicles.values()) {
      const state = words.state(vehicle);
      if (state in counts) counts[state] += 1;
    }
    put(summary, `${live.vehicles.size} vehicles, ${counts.critical} critical, ${counts.warning} warning, ${counts.quiet} not connected`);
  }

  function pins() {
    // The worst ones last, so that they lie on top.
    for (const vehicle of order().reverse()) map.place(vehicle, go);
    if (!fitted && map.markers.size) {
      fitted = true;
      map.fit();
      requestAnimationFrame(() => performance.mark("fleet"));
    }
  }

  const redraw = framed(() => { draw(); pins(); });
  const changed = (names) => {
    if (names.some((name) => !rows.has(name) && visible(live.vehicles.get(name)))) return redraw();
    for (const name of names) {
      const vehicle = live.vehicles.get(name);
      const entry = rows.get(name);
      if (entry) {
        const before = entry.link.dataset.state;
        fill(vehicle, entry);
        // Rows stay where they are, under somebody's finger; the button brings them into order.
        if (entry.link.dataset.state !== before) resort.disabled = false;
      }
      map.place(vehicle, go);
    }
    count();
  };
  search.addEventListener("input", draw);
  resort.addEventListener("click", draw);
  const off = live.on("vehicles", changed);
  const clock = setInterval(() => {
    for (const [name, entry] of rows) aged(live.vehicles.get(name), entry);
  }, 1000);
  draw();
  setTimeout(pins);
  return { paint: () => map.paint(), end() { off(); clearInterval(clock); map.remove(); } };
}
