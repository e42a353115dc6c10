// The page: who looks, which view, light or dark.

import * as api from "./api.js";
import { h, put, toast } from "./dom.js";
import { fleet } from "./fleet.js";
import * as live from "./live.js";
import * as words from "./words.js";

const main = document.getElementById("main");
let me = null;
let view = null;
let turn = 0;
const open = new Map();

function go(device) {
  location.hash = `#/vehicle/${device}`;
}

const VIEWS = {
  fleet: async () => fleet(main, { me, go }),
  vehicle: async (device) => (await import("./vehicle.js")).vehicle(main, { me, device }),
  alerts: async () => (await import("./alerts.js")).alerts(main, { me }),
  health: async () => (await import("./health.js")).health(main),
};

async function route() {
  const [, name = "fleet", rest = ""] = location.hash.split("/");
  const make = VIEWS[name] ?? VIEWS.fleet;
  const current = ++turn;
  view?.end();
  view = null;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = name === "vehicle" ? `${rest} – Fleet` : `Fleet – ${name}`;
  if (name !== "fleet") main.replaceChildren(h("p", { class: "empty" }, "One moment"));
  try {
    const made = await make(rest);
    if (current === turn) view = made;
    else made?.end();
  } catch (error) {
    if (current === turn) main.replaceChildren(h("p", { class: "empty" }, error.message), h("p", { class: "empty" }, h("a", { href: "#/fleet" }, "Back to the fleet")));
  }
}

function login() {
  const name = h("input", { id: "login-name", name: "name", autocomplete: "username", required: true, maxlength: "64" });
  const password = h("input", { id: "login-password", name: "password", type: "password", autocomplete: "current-password", required: true, maxlength: "1024" });
  const wrong = h("p", { class: "wrong", role: "alert" });
  const form = h("form", { class: "login" }, h("h1", {}, "Log in"), h("label", { for: "login-name" }, "Name"), name, h("label", { for: "login-password" }, "Password"), password, h("button", { class: "primary" }, "Log in"), wrong);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await api.post("login", { name: name.value, password: password.value });
      await start();
    } catch (error) {
      put(wrong, error.message);
    }
  });
  main.replaceChildren(form);
  put(document.getElementById("live"), "not logged in");
}

// How many alerts are open and not acknowledged stands beside the view's name.
function count(item) {
  const isOpen = (item.state === "raised" || item.state === "escalated") && item.acknowledged_by === null && !item.collapsed_into;
  if (isOpen) open.set(item.id, item.severity);
  else open.delete(item.id);
  show();
}

function show() {
  const element = document.getElementById("open-count");
  put(element, open.size ? `${open.size > 999 ? "999+" : open.size}` : "");
  const worst = Math.max(0, ...[...open.values()].map(words.rank));
  element.dataset.state = ["fine", "diagnostic", "warning", "critical"][worst];
}

async function recount() {
  const answer = await api.get("alerts", { open: "true", acknowledged: "false", limit: 1000 });
  open.clear();
  for (const item of answer.alerts) if (!item.collapsed_into) open.set(item.id, item.severity);
  show();
}

async function start() {
  me = await api.me();
  document.getElementById("logout").hidden = !me.can_log_out;
  if (!me.name) return login();
  await live.load().catch((error) => toast(error.message));
  const routed = route();
  live.connect();
  await routed;
  recount().catch(() => {});
}

function theme(choice) {
  if (choice) document.documentElement.dataset.theme = choice;
  view?.paint?.();
}

const system = matchMedia("(prefers-color-scheme: dark)");
document.getElementById("theme").addEventListener("click", () => {
  const dark = (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  localStorage.setItem("theme", dark ? "light" : "dark");
  theme(dark ? "light" : "dark");
});
system.addEventListener("change", () => theme(null));
document.getElementById("logout").addEventListener("click", async () => {
  await api.post("logout").catch(() => {});
  location.reload();
});
theme(localStorage.getItem("theme"));
addEventListener("hashchange", route);
live.on("alert", count);
live.on("hello", () => recount().catch(() => {}));
live.on("reset", () => recount().catch(() => {}));
start().catch((error) => main.replaceChildren(h("p", { class: "empty" }, `The centre does not answer: ${error.message}`)));
