// Jobs: the table of all jobs with filters, kept up to date while somebody looks.

import { get, known } from "./api.js";
import { calm, h, keyed, say, show } from "./dom.js";
import { followAll } from "./live.js";
import { command, empty } from "./parts.js";
import { HEAD, makeRow, updateRow } from "./jobs_row.js";
import { setQuery } from "./router.js";

const STATES = ["", "running", "queued", "succeeded", "failed", "cancelled"];
const FIELDS = [
  ["model", "Model"],
  ["dataset", "Dataset"],
  ["tag", "Tag"],
];
const PAGE = 30,
  FRESH_MS = 1000,
  AGE_MS = 15_000;

export async function open(_, query) {
  const view = { filter: filterOf(query), limit: PAGE, jobs: [], chosen: new Set() };
  const rows = h("tbody");
  const none = h("div", { hidden: true });
  const told = h("span", { class: "quiet", role: "status" });
  const more = h("button", { type: "button", hidden: true, on: { click: loadMore } }, "Older jobs");
  const compare = h("a", { class: "button", hidden: true }, "Compare");
  const caption = h("caption", { class: "hidden" }, "Jobs, newest first");
  const grid = h("table", { class: "jobs" }, caption, HEAD(), rows);
  const table = h("div", { class: "card flush" }, grid, none);
  const node = h(
    "div",
    {},
    h(
      "div",
      { class: "title-row" },
      h("h1", { tabindex: -1 }, "Jobs"),
      told,
      h("span", { class: "spring" }),
      compare,
      h("a", { class: "button primary", href: "#/new" }, "New job"),
    ),
    filters(view.filter, refilter),
    table,
    h("div", { class: "below" }, more),
  );
  const soon = calm(load, FRESH_MS);

  async function load() {
    const { data: page } = await known(
      `jobs?${new URLSearchParams({ ...view.filter, limit: Math.min(view.limit, 100) })}`,
    );
    view.jobs = page.data;
    view.after = page.has_more ? page.after : null;
    draw();
  }

  async function loadMore() {
    const query = new URLSearchParams({ ...view.filter, limit: PAGE, after: view.after });
    const page = await get(`jobs?${query}`);
    view.limit += PAGE;
    view.jobs.push(...page.data);
    view.after = page.has_more ? page.after : null;
    draw();
  }

  function draw() {
    keyed(
      rows,
      view.jobs,
      (job) => job.id,
      (job) => makeRow(job, choose),
      updateRow,
    );
    grid.hidden = view.jobs.length === 0;
    none.hidden = view.jobs.length > 0;
    if (!view.jobs.length) show(none, nothing(view.filter, refilter));
    more.hidden = !view.after;
    const running = view.jobs.filter((job) => job.status === "running").length;
    say(told, view.jobs.length ? `${view.jobs.length}${view.after ? "+" : ""} shown, ${running} running` : "");
  }

  function choose(id, on) {
    if (on) view.chosen.add(id);
    else view.chosen.delete(id);
    compare.hidden = view.chosen.size === 0;
    compare.href = `#/compare?ids=${[...view.chosen].join(",")}`;
    say(compare, `Compare ${view.chosen.size}`);
  }

  function refilter(filter) {
    view.filter = filter;
    view.limit = PAGE;
    setQuery(new URLSearchParams(filter));
    return load();
  }

  await load();
  const stop = followAll(
    () => soon(),
    () => soon(),
  );
  const clock = setInterval(
    () => rows.childElementCount && view.jobs.forEach((job, i) => updateRow(rows.children[i], job)),
    AGE_MS,
  );
  return {
    title: "Jobs",
    node,
    close() {
      stop();
      soon.stop();
      clearInterval(clock);
    },
  };
}

function filterOf(query) {
  return Object.fromEntries(
    [...query].filter(([name, value]) => value && ["status", ...FIELDS.map(([f]) => f)].includes(name)),
  );
}

/** The states as buttons, the rest as fields; every change is in the address, so that it can be sent to somebody. */
function filters(filter, apply) {
  const current = { ...filter };
  const change = (name, value) => {
    if (value) current[name] = value;
    else delete current[name];
    for (const button of states.children)
      button.setAttribute("aria-pressed", String(button.value === (current.status ?? "")));
    apply({ ...current });
  };
  const states = h(
    "div",
    { class: "segmented", role: "group", "aria-label": "Status" },
    STATES.map((state) =>
      h(
        "button",
        {
          type: "button",
          value: state,
          "aria-pressed": String(state === (filter.status ?? "")),
          on: { click: () => change("status", state) },
        },
        state || "all",
      ),
    ),
  );
  const fields = FIELDS.map(([name, label]) =>
    h(
      "label",
      { class: "inline" },
      label,
      h("input", {
        type: "search",
        value: filter[name] ?? "",
        spellcheck: "false",
        on: { change: (event) => change(name, event.target.value.trim()) },
      }),
    ),
  );
  return h("div", { class: "filters" }, states, fields);
}

function nothing(filter, refilter) {
  if (Object.keys(filter).length) {
    return empty(
      "No job fits this filter",
      h(
        "p",
        {},
        h(
          "button",
          {
            type: "button",
            on: {
              click: () => {
                location.hash = "#/jobs";
                refilter({});
              },
            },
          },
          "Show all jobs",
        ),
      ),
    );
  }
  const curl = `curl --json '{"task": "challenge1", "dataset": "demo"}' \\\n  -H "Authorization: Bearer $EEGQ_KEY" ${new URL("jobs", document.baseURI).href}`;
  return empty(
    "No jobs yet",
    h("p", {}, "The first one is a line away:"),
    command(curl),
    h("p", {}, "or ", h("a", { href: "#/new" }, "fill in the form"), "."),
  );
}
