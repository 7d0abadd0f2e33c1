// The dashboard's beginning: who is here, the frame around every page, and the table of pages.

import { del, forgetEverything, get } from "./api.js";
import { banner } from "./connection.js";
import { h, say, show } from "./dom.js";
import { icon } from "./icons.js";
import { login } from "./login.js";
import { route, start } from "./router.js";
import { followTheme, nextTheme } from "./theme.js";

const page = (file) => async (params, query) => (await import(file)).open(params, query);
route("/jobs", page("./jobs.js"));
route("/new", page("./submit.js"));
route("/job/:id", page("./job.js"));
route("/job/:id/results", page("./results.js"));
route("/compare", page("./compare.js"));
route("/leaderboard", page("./leaderboard.js"));
route("/data", page("./data.js"));
route("/pools", page("./pools.js"));

const NAV = [
  ["#/jobs", "Jobs"],
  ["#/compare", "Compare"],
  ["#/leaderboard", "Leaderboard"],
  ["#/data", "Data"],
  ["#/pools", "Pools & devices"],
  ["docs", "API"],
];
const body = document.getElementById("app");
const main = h("main", { id: "main", tabindex: -1 });
let entered = false;

followTheme();
document.addEventListener("eegq:unauthenticated", () => entered && ask());
enter();

async function enter() {
  const session = await who();
  if (session.keys_needed && !session.name) return ask();
  entered = true;
  show(body, frame(session), banner(), main);
  start(main);
}

/** While the service is away nobody can be asked who this is: the pages show what they still know. */
async function who() {
  try {
    return await get("session");
  } catch {
    return { name: "?", keys_needed: true, scopes: [] };
  }
}

function ask() {
  entered = false;
  show(
    body,
    login(() => location.reload()),
  );
}

function frame(session) {
  const links = NAV.map(([href, name]) => h("a", { href }, name));
  const theme = h(
    "button",
    { class: "quiet-button", type: "button" },
    icon("theme"),
    h("span", { class: "theme-name" }),
  );
  const tell = (name) => {
    say(theme.lastChild, name);
    theme.setAttribute("aria-label", `Colours: ${name}. Change`);
  };
  tell(followTheme());
  theme.addEventListener("click", () => tell(nextTheme()));
  const leave =
    session.keys_needed &&
    h("button", { class: "quiet-button", type: "button", on: { click: logout } }, `Log out ${session.name}`);
  return h(
    "header",
    { class: "top" },
    h("a", { class: "skip", href: "#main", on: { click: toMain } }, "Skip to content"),
    h(
      "a",
      { class: "brand", href: "#/jobs" },
      h("img", { src: "web/icon.svg", alt: "", width: 24, height: 24 }),
      "eegq",
    ),
    h("nav", { "aria-label": "Pages" }, links),
    h("div", { class: "tools" }, theme, leave),
  );
}

function toMain(event) {
  event.preventDefault();
  main.focus();
}

async function logout() {
  await del("session");
  forgetEverything();
  location.reload();
}
