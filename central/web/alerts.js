// Alerts: filter, acknowledge, note, take away as CSV.

import * as api from "./api.js";
import { h, mark, put, toast } from "./dom.js";
import * as live from "./live.js";
import * as words from "./words.js";

const PAGE = 100;

// A list that keeps itself up to date. `fixed` are fields of the filter that stay.
export function alertList(place, { me, fixed = {}, compact = false }) {
  const list = h("ul", { class: "alerts", "aria-label": "Alerts" });
  const empty = h("p", { class: "empty", hidden: true });
  const more = h("button", { type: "button", class: "quiet", hidden: true }, "Older ones");
  const fresh = h("button", { type: "button", class: "fresh", hidden: true, "aria-live": "polite" });
  place.replaceChildren(fresh, empty, list, more);
  const cards = new Map();
  const waiting = new Map();
  let filter = {};
  let next = null;
  let turn = 0;
  const mayAct = me.role === "operator" || me.role === "admin";

  function card(item) {
    const parts = {
      severity: h("span", { class: "badge" }), when: h("span", { class: "when" }), text: h("p", { class: "sentence" }), facts: h("p", { class: "facts" }),
      acknowledge: h("button", { type: "button", class: "primary", onclick: () => act(item.id, "acknowledge") }, "Acknowledge"),
      note: h("button", { type: "button", onclick: () => write(item.id) }, "Note"), notes: h("ul", { class: "notes" }),
    };
    const name = item.device ? h("a", { href: `#/vehicle/${item.device}` }, item.device) : h("span", {}, "the centre");
    const element = h("li", { class: "alert", data: { id: item.id } },
      h("div", { class: "line" }, parts.severity, h("strong", {}, name), parts.when),
      parts.text, parts.facts, h("div", { class: "line" }, mayAct && parts.acknowledge, mayAct && parts.note), parts.notes);
    const entry = { element, item, ...parts };
    cards.set(item.id, entry);
    fill(entry, item);
    return element;
  }

  function fill(entry, item) {
    const before = entry.item;
    entry.item = item;
    mark(entry.severity, "state", item.severity);
    put(entry.severity, item.severity);
    mark(entry.element, "open", String(item.state === "raised" || item.state === "escalated"));
    mark(entry.element, "acknowledged", String(item.acknowledged_by !== null));
    put(entry.when, `${words.time(item.raised_ms ?? item.received_ms)}${item.late ? " · came late" : ""}`);
    put(entry.text, item.text || `${words.kind(item.kind)} ${item.sensor}`);
    const facts = [words.kind(item.kind), item.sensor, item.state];
    if (item.value !== null) facts.push(words.value(item.value, item.unit));
    if (item.expected !== null) facts.push(`expected ${words.value(item.expected, item.unit)}`);
    if (item.low !== null) facts.push(`from ${words.value(item.low, item.unit)}`);
    if (item.high !== null) facts.push(`up to ${words.value(item.high, item.unit)}`);
    if (item.score !== null) facts.push(`score ${Math.round(item.score * 100)} %`);
    if (item.heads.length) facts.push(`found by ${item.heads.map((one) => words.kind(one.head)).join(", ")}`);
    if (item.duration_ms !== null) facts.push(`lasted ${words.span(item.duration_ms)}`);
    if (item.load_id !== null) facts.push(`load ${item.load_id}`);
    if (item.members > 1) facts.push(`${item.members} alerts with one cause`);
    if (item.cleared_ms !== null) facts.push(`ended ${words.time(item.cleared_ms)}`);
    facts.push(item.acknowledged_by ? `acknowledged by ${item.acknowledged_by} at ${words.time(item.acknowledged_ms)}` : "not acknowledged");
    put(entry.facts, facts.filter(Boolean).join(" · "));
    entry.acknowledge.hidden = item.acknowledged_by !== null;
    if (item.notes && (before === item || before.notes !== item.notes || !entry.notes.childElementCount)) notes(entry);
  }

  async function notes(entry) {
    try {
      const all = await api.get(`alerts/${encodeURIComponent(entry.item.id)}/notes`);
      entry.notes.replaceChildren(...all.map((note) => h("li", {}, `${words.time(note.at_ms)} ${note.who}: ${note.text}`)));
    } catch { /* the note is there at the next look */ }
  }

  async function act(id, what, body) {
    try {
      const item = await api.post(`alerts/${encodeURIComponent(id)}/${what}`, body);
      const entry = cards.get(id);
      if (entry) fill(entry, item);
    } catch (error) {
      toast(`That did not work: ${error.message}`);
    }
  }

  function write(id) {
    const text = h("textarea", { id: "note-text", rows: "4", maxlength: "1000", required: true });
    const dialog = h("dialog", { "aria-labelledby": "note-title" }, h("form", { method: "dialog" },
      h("h2", { id: "note-title" }, "Note"), h("label", { for: "note-text" }, "What others should know"), text,
      h("div", { class: "line" }, h("button", { value: "save", class: "primary" }, "Save"), h("button", { value: "cancel", formnovalidate: true }, "Cancel"))));
    dialog.addEventListener("close", () => {
      if (dialog.returnValue === "save" && text.value.trim()) act(id, "notes", { text: text.value.trim() });
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
  }

  async function load(fields) {
    filter = { ...fields, ...fixed };
    const current = ++turn;
    const answer = await api.get("alerts", { ...filter, limit: PAGE });
    if (current !== turn) return;
    cards.clear();
    waiting.clear();
    freshen();
    list.replaceChildren(...answer.alerts.map(card));
    next = answer.next;
    ended();
  }

  function ended() {
    more.hidden = next === null;
    empty.hidden = cards.size > 0;
    put(empty, "No alert.");
    list.dataset.count = String(cards.size);
  }

  function freshen() {
    fresh.hidden = waiting.size === 0;
    put(fresh, `${waiting.size} new: show`);
  }

  // Only what this list would show. What the server alone can judge (text, groups) is asked again by the button.
  function fits(item) {
    if (fixed.device && item.device !== fixed.device) return false;
    const open = item.state === "raised" || item.state === "escalated";
    if (filter.open === "true" && !open) return false;
    return !(filter.severity && words.rank(item.severity) < words.rank(filter.severity));
  }

  more.addEventListener("click", async () => {
    try {
      const answer = await api.get("alerts", { ...filter, limit: PAGE, after: next });
      list.append(...answer.alerts.filter((item) => !cards.has(item.id)).map(card));
      next = answer.next;
      ended();
    } catch (error) { toast(error.message); }
  });
  fresh.addEventListener("click", () => load(filter).catch((error) => toast(error.message)));
  const off = live.on("alert", (item) => {
    const entry = cards.get(item.id);
    if (entry) return fill(entry, item);
    if (!fits(item) || item.collapsed_into) return;
    // Into an empty list at once; else behind a button, so that nothing moves under somebody's finger.
    if (cards.size === 0) {
      list.prepend(card(item));
      ended();
    } else {
      waiting.set(item.id, item);
      freshen();
    }
  });
  const offReset = live.on("reset", () => load(filter).catch(() => {}));
  const ready = load(compact ? {} : { open: "true" }).catch((error) => { toast(error.message); });
  return { load, ready, end() { off(); offReset(); turn += 1; } };
}

export function alerts(main, { me }) {
  const field = (name, label, input) => h("label", { class: "field" }, h("span", {}, label), input);
  const choose = (name, choices) => h("select", { name }, choices.map(([value, label]) => h("option", { value }, label)));
  const form = h("form", { class: "tools filter", "aria-label": "Filter" },
    field("open", "State", choose("open", [["true", "open"], ["", "all"], ["false", "ended"]])),
    field("acknowledged", "Acknowledged", choose("acknowledged", [["", "all"], ["false", "no"], ["true", "yes"]])),
    field("severity", "At least", choose("severity", [["", "diagnostic"], ["warning", "warning"], ["critical", "critical"]])),
    field("device", "Vehicle", h("input", { name: "device", placeholder: "truck-*", maxlength: "64", autocomplete: "off" })),
    field("text", "Text", h("input", { name: "text", type: "search", maxlength: "100", autocomplete: "off" })));
  const csv = h("a", { class: "button", download: "alerts.csv" }, "As CSV");
  const place = h("div");
  main.replaceChildren(h("article", {}, h("h1", {}, "Alerts"), form, h("div", { class: "tools" }, csv), place));
  const fields = () => Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
  const list = alertList(place, { me });
  const link = () => { csv.href = `/api/v1/alerts/export?${new URLSearchParams(fields())}`; };
  let typing = 0;
  form.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => { link(); list.load(fields()).catch((error) => toast(error.message)); }, 250);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  link();
  return { end() { clearTimeout(typing); list.end(); } };
}
