// Addresses behind the #: which page they mean, and the change from one to the next.

import { isAway } from "./api.js";
import { connection } from "./connection.js";
import { h, show } from "./dom.js";
import { failure } from "./parts.js";

const routes = [];

/** `open(params, query)` gives {title, node, close}; it may be async. */
export function route(pattern, open) {
  const names = [];
  const source = pattern.replace(/:(\w+)/g, (_, name) => (names.push(name), "([^/]+)"));
  routes.push({ expression: new RegExp(`^${source}$`), names, open });
}

/** Changes the query of the address without a new entry in the history, and without opening the page anew. */
export function setQuery(query) {
  const path = location.hash.slice(1).split("?")[0] || "/jobs";
  history.replaceState(null, "", `#${path}${query.size ? `?${query}` : ""}`);
}

export function start(main) {
  let page = null,
    turn = 0;

  async function open() {
    const mine = ++turn;
    page?.close?.();
    page = null;
    const [path, search = ""] = (location.hash.slice(1) || "/jobs").split("?");
    const next = await find(path, new URLSearchParams(search));
    if (mine !== turn) return next.close?.(); // another address was opened meanwhile
    page = next;
    document.title = `${next.title} · eegq`;
    show(main, next.node);
    markCurrent(path);
    if (mine > 1) main.querySelector("h1")?.focus();
  }

  addEventListener("hashchange", open);
  connection.addEventListener("back", () => page?.failed && open());
  open();
}

async function find(path, query) {
  for (const { expression, names, open } of routes) {
    const found = expression.exec(path);
    if (!found) continue;
    const params = Object.fromEntries(names.map((name, i) => [name, decodeURIComponent(found[i + 1])]));
    try {
      return await open(params, query);
    } catch (error) {
      return { title: "Not shown", node: failure(error), failed: isAway(error) };
    }
  }
  return {
    title: "No such page",
    node: failure(new Error(`There is no page ${path}.`), h("a", { href: "#/jobs" }, "To the jobs")),
  };
}

function markCurrent(path) {
  for (const link of document.querySelectorAll("nav a[href^='#']")) {
    const here =
      path === link.hash.slice(1) ||
      path.startsWith(`${link.hash.slice(1)}/`) ||
      path.startsWith(`${link.hash.slice(1).replace(/s$/, "")}/`);
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}
