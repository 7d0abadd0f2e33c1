// Small parts that several pages show: a status, a problem, an empty state, a line to copy, a table.

import { h, say } from "./dom.js";
import { icon } from "./icons.js";

/** Icon, word and colour; a running job's phase stands beside the word. */
export function status(job) {
  const state = job.phase === "paused" ? "paused" : job.status;
  const phase = job.status === "running" && job.phase ? h("span", { class: "phase" }, job.phase) : null;
  const asked = job.cancel_requested && job.status === "running" ? h("span", { class: "phase" }, "cancelling") : phase;
  return h("span", { class: `status ${state}` }, icon(state), h("span", {}, state), asked);
}

export const statusKey = (job) => `${job.status} ${job.phase} ${job.cancel_requested}`;

export function failure(error, more = null) {
  return h(
    "section",
    { class: "card empty", role: "alert" },
    h("h1", { tabindex: -1 }, error.status === 404 ? "Not found" : "This could not be shown"),
    h("p", {}, error.message),
    error.hint && h("p", { class: "quiet" }, error.hint),
    error.requestId && h("p", { class: "quiet small" }, `request ${error.requestId}`),
    more,
  );
}

export function empty(title, ...children) {
  return h("div", { class: "empty" }, h("h2", {}, title), ...children);
}

/** A command, and a button that copies it. */
export function command(text) {
  const button = h(
    "button",
    { class: "quiet-button", type: "button", "aria-label": "Copy the command" },
    icon("copy"),
    h("span", {}, "Copy"),
  );
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    say(button.lastChild, "Copied");
    setTimeout(() => say(button.lastChild, "Copy"), 1500);
  });
  return h("div", { class: "command" }, h("pre", { tabindex: 0 }, h("code", {}, text)), button);
}

/** columns: [{name, of(row), number}]. */
export function table(caption, columns, rows, options = {}) {
  const head = columns.map((c) => h("th", { scope: "col", class: c.number && "number" }, c.name));
  const body = rows.map((row) =>
    h(
      "tr",
      {},
      columns.map((c) => h("td", { class: c.number && "number" }, c.of(row) ?? "–")),
    ),
  );
  return h(
    "div",
    { class: `table-box ${options.class ?? ""}`, tabindex: 0, role: "region", "aria-label": caption },
    h(
      "table",
      {},
      h("caption", { class: options.caption ? "" : "hidden" }, caption),
      h("thead", {}, h("tr", {}, head)),
      h("tbody", {}, body),
    ),
  );
}

/** "View as table" below a plot; the table is made when it is opened, and anew at each `refresh`. */
export function asTable(caption, make) {
  const box = h("div", {});
  const node = h("details", { class: "as-table" }, h("summary", {}, "View as table"), box);
  const refresh = () => node.open && box.replaceChildren(make(caption));
  node.addEventListener("toggle", refresh);
  return { node, refresh };
}

export function card(title, ...children) {
  return h("section", { class: "card" }, h("h2", {}, title), ...children);
}

/** A button that says what it does while it does it, and what went wrong. */
export function action(label, task, options = {}) {
  const problem = h("span", { class: "problem", role: "alert" });
  const button = h(
    "button",
    { type: "button", class: options.class ?? "" },
    options.icon && icon(options.icon),
    h("span", {}, label),
  );
  button.addEventListener("click", async () => {
    if (options.confirm && !confirm(options.confirm)) return;
    button.disabled = true;
    say(problem, "");
    try {
      await task();
    } catch (error) {
      say(problem, error.hint ? `${error.message} (${error.hint})` : error.message);
    } finally {
      button.disabled = false;
    }
  });
  return h("span", { class: "action" }, button, problem);
}
