// Compare: chosen jobs' curves over each other, where their specs differ, and mean and spread over seeds.

import { get } from "./api.js";
import { lineChart } from "./charts.js";
import { h, keyed, show } from "./dom.js";
import { number, shortId, taskName } from "./format.js";
import { differences, groupsOf } from "./groups.js";
import { card, empty, status, table } from "./parts.js";
import { setQuery } from "./router.js";

const COLOURS = ["series-1", "series-2", "series-3", "series-4", "series-5", "series-6", "series-7", "series-8"];
const MOST = 24,
  OFFERED = 100;

export async function open(_, query) {
  const offered = (await get(`jobs?limit=${OFFERED}`)).data;
  const tag = query.get("tag");
  const chosen = new Set(
    tag
      ? offered.filter((job) => job.tags.includes(tag)).map((job) => job.id)
      : (query.get("ids") ?? "").split(",").filter(Boolean),
  );
  const known = new Map(offered.map((job) => [job.id, job]));
  for (const id of chosen) if (!known.has(id)) known.set(id, await get(`jobs/${id}`));
  const out = h("div");
  const picker = pick([...known.values()], chosen, draw);
  const state = { charts: [] };

  async function draw() {
    setQuery(new URLSearchParams({ ids: [...chosen].join(",") }));
    state.charts.splice(0).forEach((chart) => chart.close());
    const jobs = [...chosen].map((id) => known.get(id)).slice(0, MOST);
    if (jobs.length < 2)
      return show(
        out,
        card(
          "Choose at least two jobs",
          h("p", { class: "quiet" }, "Mark them below, or by a tag, or in the table of jobs."),
        ),
      );
    const curves = await Promise.all(
      jobs.map(async (job) => (await get(`jobs/${job.id}/metrics?name=val_nrmse&max_points=500`)).data),
    );
    const groups = groupsOf(jobs);
    show(out, curveCard(jobs, curves, groups, state), groupCard(groups), differenceCard(jobs));
  }

  await draw();
  const node = h(
    "div",
    {},
    h("h1", { tabindex: -1, class: "gap-below" }, "Compare"),
    offered.length
      ? [out, picker]
      : h(
          "div",
          { class: "card" },
          empty(
            "Nothing to compare yet",
            h("p", {}, h("a", { href: "#/new" }, "Submit"), " two jobs, with seeds 1-5 and a group each."),
          ),
        ),
  );
  return { title: "Compare", node, close: () => state.charts.forEach((chart) => chart.close()) };
}

/** One colour a group, one line a job; where each stands alone, one colour a job. */
function curveCard(jobs, curves, groups, state) {
  const colourOf = (job) => COLOURS[groups.findIndex((group) => group.jobs.includes(job)) % COLOURS.length];
  const series = jobs.map((job) => ({ name: label(job, groups), colour: colourOf(job) }));
  const baseline = groups[0].baseline;
  const epochs = [...new Set(curves.flat().map((row) => row.epoch))].sort((a, b) => a - b);
  const columns = curves.map((rows) => {
    const at = new Map(rows.map((row) => [row.epoch, row.val_nrmse]));
    return epochs.map((epoch) => at.get(epoch) ?? null);
  });
  const chart = lineChart(
    "Validation NRMSE by epoch",
    [...series, { name: "predict the mean", colour: "ink-3", kind: "baseline" }],
    { height: 340 },
  );
  state.charts.push(chart);
  requestAnimationFrame(() => chart.update([epochs, ...columns, epochs.map(() => baseline)]));
  return card("Validation NRMSE", chart.node);
}

function label(job, groups) {
  const group = groups.find((one) => one.jobs.includes(job));
  return group.jobs.length > 1 || groups.length > 1
    ? `${group.name}, seed ${job.seed}`
    : `${job.spec.model.name} ${shortId(job.id)}`;
}

function groupCard(groups) {
  const best = groups.length > 1 ? Math.min(...groups.map((group) => group.mean ?? Infinity)) : null;
  return card(
    "Mean and spread over seeds",
    table(
      "Groups of jobs that differ in nothing but the seed",
      [
        {
          name: "Group",
          of: (g) => [
            h("i", { class: `swatch ${COLOURS[groups.indexOf(g) % COLOURS.length]}` }),
            " ",
            g.name,
            h("span", { class: "sub" }, g.jobs[0].spec.model.name),
          ],
        },
        { name: "Jobs", of: (g) => `${g.scores.length} of ${g.jobs.length}`, number: true },
        {
          name: "Mean NRMSE",
          of: (g) => h("span", { class: g.mean === best ? "good" : "" }, number(g.mean)),
          number: true,
        },
        { name: "Spread (SD)", of: (g) => number(g.spread), number: true },
        { name: "Best", of: (g) => number(g.min), number: true },
        { name: "Worst", of: (g) => number(g.max), number: true },
        { name: "Predict the mean", of: (g) => number(g.baseline), number: true },
      ],
      groups,
    ),
  );
}

function differenceCard(jobs) {
  const rows = differences(jobs);
  if (!rows.length) return card("Specs", h("p", { class: "quiet" }, "These specs differ in nothing but tags."));
  return card(
    "Where the specs differ",
    table(
      "Differences between specs",
      [
        { name: "Field", of: (row) => h("code", {}, row.pointer.slice(1).replaceAll("/", ".")) },
        ...jobs.map((job, i) => ({ name: shortId(job.id), of: (row) => h("code", {}, row.values[i] ?? "not set") })),
      ],
      rows,
    ),
  );
}

function pick(jobs, chosen, draw) {
  const tags = [...new Set(jobs.flatMap((job) => job.tags))];
  const body = h("tbody");
  const mark = (ids) => {
    chosen.clear();
    ids.forEach((id) => chosen.add(id));
    for (const box of body.querySelectorAll("input")) box.checked = chosen.has(box.value);
    draw();
  };
  keyed(
    body,
    jobs,
    (job) => job.id,
    (job) => row(job, chosen, draw),
    () => {},
  );
  const byTag = tags.map((tag) =>
    h(
      "button",
      { type: "button", on: { click: () => mark(jobs.filter((job) => job.tags.includes(tag)).map((job) => job.id)) } },
      tag,
    ),
  );
  const head = h(
    "thead",
    {},
    h(
      "tr",
      {},
      ["", "Job", "Status", "Best NRMSE"].map((name) =>
        h("th", { scope: "col" }, name || h("span", { class: "hidden" }, "Chosen")),
      ),
    ),
  );
  const grid = h(
    "div",
    { class: "table-box", tabindex: 0, role: "region", "aria-label": "Jobs to choose from" },
    h("table", {}, h("caption", { class: "hidden" }, "Jobs to choose from"), head, body),
  );
  return card(
    "Jobs",
    tags.length > 0 &&
      h("div", { class: "actions gap-below" }, h("span", { class: "quiet" }, "All with the tag"), byTag),
    grid,
  );
}

function row(job, chosen, draw) {
  const toggle = (event) => {
    if (event.target.checked) chosen.add(job.id);
    else chosen.delete(job.id);
    draw();
  };
  const box = h("input", {
    type: "checkbox",
    value: job.id,
    "aria-label": `Compare ${shortId(job.id)}`,
    on: { change: toggle },
  });
  box.checked = chosen.has(job.id);
  const name = [
    h("a", { href: `#/job/${job.id}` }, job.spec.model.name),
    h(
      "span",
      { class: "sub" },
      `${taskName(job.spec.task)} · seed ${job.seed} · ${shortId(job.id)} ${job.tags.join(" ")}`,
    ),
  ];
  return h(
    "tr",
    {},
    h("td", {}, box),
    h("td", {}, name),
    h("td", {}, status(job)),
    h("td", { class: "number" }, number(job.best?.value)),
  );
}
