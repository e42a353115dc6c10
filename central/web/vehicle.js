// One vehicle: chart, track, alerts, what is lost.

import * as api from "./api.js";
import { alertList } from "./alerts.js";
import { Chart } from "./chart.js";
import { h, mark, put, toast } from "./dom.js";
import * as live from "./live.js";
import { FleetMap } from "./map.js";
import * as words from "./words.js";

const HOUR = 3600000;
const RANGES = [["1 h", HOUR], ["6 h", 6 * HOUR], ["24 h", 24 * HOUR], ["7 d", 7 * 24 * HOUR], ["30 d", 30 * 24 * HOUR]];
/** New readings are drawn at most so often. */
const REFRESH_MS = 5000;

const REASONS = {
  evicted: "thrown away to make room in the spool",
  corrupt: "damaged on the vehicle's disk",
  not_accepted_before_crash: "not yet stored when the gateway died",
  released_before_restore: "gone from the vehicle before the centre was restored",
};

export async function vehicle(main, { me, device }) {
  const title = h("h1", {}, device);
  const state = h("span", { class: "badge" });
  const facts = h("p", { class: "facts" });
  const complete = h("p", { class: "facts", id: "complete" });
  const sensors = h("div", { class: "choices", role: "group", "aria-label": "Sensor" });
  const ranges = h("div", { class: "choices", role: "group", "aria-label": "Time" });
  const chartPlace = h("div", { class: "chart", role: "img" });
  const chartNote = h("p", { class: "note", role: "status" });
  const mapPlace = h("div", { class: "map small", role: "region" });
  const alerts = h("div");
  const losses = h("div");
  const csv = h("a", { class: "button", download: true }, "Readings as CSV");
  const ndjson = h("a", { class: "button", download: true }, "as NDJSON");
  const earlier = h("button", { type: "button", class: "quiet" }, "Earlier");
  const later = h("button", { type: "button", class: "quiet" }, "Later");
  const newest = h("button", { type: "button", class: "quiet" }, "Newest");
  main.replaceChildren(h("article", { class: "vehicle" },
    h("div", { class: "title" }, title, state), facts, complete,
    h("section", { "aria-label": "Chart" },
      h("div", { class: "tools" }, sensors, ranges, h("div", { class: "choices" }, earlier, later, newest)),
      chartPlace,
      h("ul", { class: "legend", "aria-label": "How to read the chart" },
        h("li", { class: "key range" }, "lowest to highest"), h("li", { class: "key usual" }, "usual before, by the centre"), h("li", { class: "key band" }, "expected by the vehicle, or its limit"),
        h("li", { class: "key late" }, "came late"), h("li", { class: "key gap" }, "no data"), h("li", { class: "key unusual" }, "unusual, alert")),
      chartNote, h("div", { class: "tools" }, csv, ndjson)),
    h("section", {}, h("h2", {}, "Track"), mapPlace),
    h("section", {}, h("h2", {}, "Alerts"), alerts),
    h("section", {}, h("h2", {}, "Lost readings"), losses)));

  const detail = await api.get(`vehicles/${device}`);
  const chart = new Chart(chartPlace);
  const map = new FleetMap(mapPlace, { tilesUrl: me.tiles_url, label: `Track of ${device}` });
  const list = alertList(alerts, { me, fixed: { device }, compact: true });
  const measured = (detail.epoch?.sensors ?? []).filter((sensor) => sensor.kind !== "position");
  let sensor = (measured.find((one) => one.role === "load") ?? measured.find((one) => one.unit === "degC") ?? measured[0])?.name ?? null;
  let length = 6 * HOUR;
  let end = null;
  let busy = null;
  let drawn = 0;
  let ended = false;

  function choice(group, names, current, choose) {
    group.replaceChildren(...names.map(([label, key]) =>
      h("button", { type: "button", "aria-pressed": String(key === current), onclick: () => choose(key) }, label)));
  }

  function choices() {
    choice(sensors, measured.map((one) => [one.name, one.name]), sensor, (name) => { sensor = name; choices(); draw(); });
    choice(ranges, RANGES, length, (ms) => { length = ms; choices(); draw(); });
  }

  function window() {
    // The newest reading, by the vehicle's own time; without one there is nothing to see.
    const last = live.vehicles.get(device)?.utc_ms ?? live.now();
    const to = end ?? last + 1000;
    return { from_ms: Math.max(0, Math.round(to - length)), to_ms: Math.round(to) };
  }

  async function draw() {
    if (!sensor) {
      put(chartNote, "This vehicle has no sensor with values.");
      return;
    }
    busy?.abort();
    const turn = new AbortController();
    busy = turn;
    const times = window();
    const links = new URLSearchParams({ ...times });
    csv.href = `/api/v1/vehicles/${device}/export?format=csv&${links}`;
    ndjson.href = `/api/v1/vehicles/${device}/export?format=ndjson&${links}`;
    try {
      const step_ms = Math.max(1000, Math.ceil(length / Math.max(200, chartPlace.clientWidth / 2)));
      const [series, track, told] = await Promise.all([
        api.get(`vehicles/${device}/series`, { sensor, ...times, step_ms }, turn.signal),
        api.get(`vehicles/${device}/track`, times, turn.signal),
        api.get("alerts", { device, limit: 100 }, turn.signal),
      ]);
      if (ended) return;
      drawn = Date.now();
      chart.draw(series, told.alerts.filter((alert) => alert.sensor === sensor));
      map.show(track);
      describe(series);
    } catch (error) {
      if (error.name !== "AbortError") put(chartNote, `The chart cannot be drawn: ${error.message}`);
    }
  }

  function describe(series) {
    const low = Math.min(...series.min.filter((one) => one !== null));
    const high = Math.max(...series.max.filter((one) => one !== null));
    const faults = series.faults.reduce((sum, one) => sum + one, 0);
    const parts = [`${words.time(series.from_ms)} to ${words.time(series.to_ms)}`];
    if (Number.isFinite(low)) parts.push(`${words.value(low, series.unit, 2)} to ${words.value(high, series.unit, 2)}`);
    parts.push(words.count(series.gaps.length, "gap"), `${words.count(series.late.length, "stretch", "stretches")} came late`);
    if (faults) parts.push(words.count(faults, "fault"));
    put(chartNote, parts.join(", "));
    chartPlace.setAttribute("aria-label", `${series.sensor} of ${device}: ${parts.join(", ")}`);
    chartPlace.dataset.buckets = String(series.first_ms.length);
    chartPlace.dataset.gaps = String(series.gaps.length);
    chartPlace.dataset.late = String(series.late.length);
  }

  function head() {
    const now = live.vehicles.get(device);
    if (!now) return;
    mark(state, "state", words.state(now));
    put(state, words.rank(words.state(now)) ? `${words.state(now)} alert` : words.condition(now));
    const age = now.received_ms === null ? "no data yet" : `last data ${words.age(live.now() - now.received_ms)} ago`;
    const values = now.values.map((one) => `${one.sensor} ${one.fault ? words.kind(one.fault) : words.value(one.value, one.unit)}`);
    put(facts, [words.condition(now), age, `version ${now.software || "unknown"}`, ...values].join(" · "));
    map.place(now);
  }

  async function extras() {
    const [whole, lost] = await Promise.all([api.get(`vehicles/${device}/completeness`), api.get(`vehicles/${device}/losses`)]);
    if (ended) return;
    const upTo = whole.complete_up_to_utc_ms === null ? "Nothing is dated yet" : `Complete up to ${words.time(whole.complete_up_to_utc_ms)}`;
    put(complete, whole.missing_count ? `${upTo}; the centre waits for ${whole.missing_count} readings` : `${upTo}; nothing is missing`);
    losses.replaceChildren(lost.length ? table(lost) : h("p", { class: "empty" }, "Nothing was lost."));
  }

  function table(lost) {
    const about = (loss) => `${words.time(loss.after_utc_ms)} to ${words.time(loss.before_utc_ms)}`;
    const many = (loss) => (loss.last_seq === null ? (loss.at_most === null ? "unknown" : `at most ${loss.at_most}`) : String(loss.last_seq - loss.first_seq + 1));
    return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Lost readings" }, h("table", {},
      h("thead", {}, h("tr", {}, ["When", "Readings", "Lane", "Why"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, lost.slice(0, 100).map((loss) => h("tr", {}, h("td", {}, about(loss)), h("td", { class: "number" }, many(loss)), h("td", {}, loss.lane), h("td", {}, REASONS[loss.reason] ?? words.kind(loss.reason)))))));
  }

  const move = (by) => { end = (end ?? window().to_ms) + by * length; draw(); };
  earlier.addEventListener("click", () => move(-0.5));
  later.addEventListener("click", () => move(0.5));
  newest.addEventListener("click", () => { end = null; draw(); });
  const off = live.on("vehicles", (names) => {
    if (!names.includes(device)) return;
    head();
    if (end === null && Date.now() - drawn > REFRESH_MS) draw();
  });
  const clock = setInterval(head, 1000);
  const slow = setInterval(() => extras().catch(() => {}), 15000);
  choices();
  head();
  extras().catch((error) => toast(error.message));
  draw();
  return { paint() { chart.paint(); map.paint(); }, end() { ended = true; busy?.abort(); off(); clearInterval(clock); clearInterval(slow); list.end(); chart.remove(); map.remove(); } };
}
