// The stream of events, and the state of the fleet that it keeps up to date.
//
// An event with an id comes once and in order: after a lost connection the stream goes on behind the last id.
// The glance at the fleet has no id: what counts is the newest, and it is read anew after each connection.

import * as api from "./api.js";

export const vehicles = new Map();
/** Ids as they came, for whoever wants to see that none is missing. */
export const ids = [];
const listeners = new Map();
let source = null;
let last = null;
let skew = 0;
let retry = 0;
let again = 0;
let silence = 0;
/** The centre says something every 15 s; a stream that is silent for longer is one that nobody has told of its end. */
const SILENCE_MS = 45000;

/** The centre's clock. */
export function now() {
  return Date.now() + skew;
}

export function on(name, listener) {
  if (!listeners.has(name)) listeners.set(name, new Set());
  listeners.get(name).add(listener);
  return () => listeners.get(name).delete(listener);
}

function tell(name, detail) {
  for (const listener of listeners.get(name) ?? []) listener(detail);
}

function show(state) {
  const element = document.getElementById("live");
  element.dataset.state = state;
  element.textContent = { live: "live", connecting: "connecting", lost: "connection lost, trying again" }[state];
}

function take(list) {
  skew = list.now_ms - Date.now();
  const changed = [];
  for (const vehicle of list.vehicles) {
    vehicles.set(vehicle.device, vehicle);
    changed.push(vehicle.device);
  }
  return changed;
}

export async function load() {
  const list = await api.get("vehicles");
  tell("vehicles", take(list));
}

function numbered(event, work) {
  const id = Number(event.lastEventId);
  // A server that repeats itself is not heard twice.
  if (last !== null && id <= last) return;
  last = id;
  ids.push(id);
  if (ids.length > 20000) ids.splice(0, 10000);
  document.documentElement.dataset.lastEvent = String(id);
  work(JSON.parse(event.data));
}

function heard() {
  clearTimeout(silence);
  silence = setTimeout(() => {
    show("lost");
    connect();
  }, SILENCE_MS);
}

export function connect() {
  clearTimeout(again);
  source?.close();
  source = new EventSource(`/api/v1/events${last === null ? "" : `?after=${last}`}`);
  heard();
  source.addEventListener("open", () => {
    heard();
    show("live");
    retry = 0;
  });
  // Where the stream begins: everything behind this id will come.
  source.addEventListener("hello", (event) => {
    const hello = JSON.parse(event.data);
    if (last === null) last = hello.last_event;
    load().catch(() => {});
    tell("hello", hello);
  });
  source.addEventListener("reset", (event) => {
    // The events in between are no longer kept: what they said is read anew.
    last = JSON.parse(event.data).last_event;
    load().catch(() => {});
    tell("reset");
  });
  source.addEventListener("alert", (event) => numbered(event, (item) => tell("alert", item)));
  source.addEventListener("note", (event) => numbered(event, (note) => tell("note", note)));
  source.addEventListener("vehicle", (event) => numbered(event, (state) => {
    const vehicle = vehicles.get(state.device);
    if (!vehicle) return;
    vehicle.desk = state;
    tell("vehicles", [state.device]);
  }));
  source.addEventListener("pulse", heard);
  source.addEventListener("fleet", (event) => {
    heard();
    tell("vehicles", take(JSON.parse(event.data)));
  });
  source.addEventListener("error", () => {
    show("lost");
    // The browser tries again by itself, but not after an answer that is no stream.
    if (source.readyState === EventSource.CLOSED) {
      retry = Math.min(15000, (retry || 500) * 2);
      again = setTimeout(async () => {
        try { await api.me(); } catch { /* it is down */ }
        connect();
      }, retry * (0.5 + Math.random() / 2));
    }
  });
}

globalThis.fleetLive = { ids, vehicles, state: () => source?.readyState };
