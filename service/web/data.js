// Data: datasets a job may name, and what a look through their recordings has found.

import { get, isAway, post } from "./api.js";
import { h, show } from "./dom.js";
import { count, moment, number, seconds } from "./format.js";
import { icon } from "./icons.js";
import { action, asTable, card, empty, status, table } from "./parts.js";
import { barChart } from "./plots.js";
import { traces } from "./traces.js";

const ASK_MS = 1500,
  TRIED = 20;
const STATUS_ICON = { kept: "succeeded", excluded: "cancelled", failed: "failed" };

export async function open(_, query) {
  const { data: datasets } = await get("datasets");
  const report = h("div");
  const state = { closed: false };
  const list = datasets.length ? datasetTable(datasets, (name, task) => look(name, task, report, state)) : nothing();
  if (datasets.length) showFirst(datasets, query.get("name"), report, state);
  return {
    title: "Data",
    node: h("div", {}, h("h1", { tabindex: -1, class: "gap-below" }, "Data"), card("Datasets", list), report),
    close: () => (state.closed = true),
  };
}

function nothing() {
  return empty(
    "No dataset found",
    h(
      "p",
      { class: "quiet" },
      "Put BIDS folders below the service's data folder (EEGQ_DATA); they show up here by their names.",
    ),
  );
}

function datasetTable(datasets, look) {
  return table(
    "Datasets",
    [
      {
        name: "Name",
        of: (d) => [
          h("strong", {}, d.name),
          h("span", { class: "sub" }, d.registered ? "registered" : "found in the data folder"),
        ],
      },
      { name: "Releases", of: (d) => d.releases.join(", ") },
      { name: "Folders", of: (d) => h("span", { class: "quiet" }, d.sources.map((source) => source.path).join(", ")) },
      {
        name: "Preflight",
        of: (d) =>
          h(
            "span",
            { class: "actions" },
            action("for Challenge 1", () => look(d.name, "challenge1")),
            action("for Challenge 2", () => look(d.name, "challenge2")),
          ),
      },
    ],
    datasets,
  );
}

/** The report of the dataset asked for, else the first there is. */
async function showFirst(datasets, name, out, state) {
  for (const dataset of datasets.slice(0, TRIED)) {
    if (name && dataset.name !== name) continue;
    const found = await get(`datasets/${dataset.name}/preflight`).catch(() => null);
    if (found) return showLast(dataset.name, out, state);
  }
  show(out, unasked(name ?? "these recordings"));
}

function unasked(name) {
  return card(
    "Preflight",
    h(
      "p",
      { class: "quiet" },
      `Nobody has looked through ${name} yet. Ask for a preflight above: a worker reads every recording and says what is wrong with it.`,
    ),
  );
}

async function look(name, task, out, state) {
  await post(`datasets/${name}/preflight`, { task });
  await showLast(name, out, state);
}

async function showLast(name, out, state) {
  while (!state.closed) {
    let preflight;
    try {
      preflight = await get(`datasets/${name}/preflight`);
    } catch (error) {
      if (error.status !== 404)
        return isAway(error) ? null : show(out, card("Preflight", h("p", { class: "problem" }, error.message)));
      return show(out, unasked(name));
    }
    if (preflight.state === "done") return show(out, reportCards(preflight));
    if (preflight.state === "failed")
      return show(out, card(`Preflight of ${name}`, h("p", { class: "problem" }, preflight.error)));
    show(
      out,
      card(
        `Preflight of ${name}`,
        h(
          "p",
          { role: "status" },
          status({ status: preflight.state }),
          " ",
          preflight.state === "queued"
            ? ["waits for a worker that takes errands: ", h("code", {}, "python -m worker --pool errand")]
            : "A worker looks through the recordings …",
        ),
      ),
    );
    await new Promise((resolve) => setTimeout(resolve, ASK_MS));
  }
}

function reportCards({ dataset, report, updated_at: when, about }) {
  const { counts } = report;
  const tiles = [
    ["Recordings", counts.recordings],
    ["Kept", counts.kept],
    ["Excluded", counts.excluded],
    ["Failed", counts.failed],
    ["Subjects", counts.subjects],
    ["Windows", counts.windows],
  ];
  return [
    h("h2", { class: "section" }, `Preflight of ${dataset}, ${about.spec?.task ?? ""}, ${moment(when)}`),
    h(
      "dl",
      { class: "tiles" },
      tiles.map(([name, n]) => h("div", { class: "tile" }, h("dt", {}, name), h("dd", {}, count(n)))),
    ),
    report.warnings.map((text) => h("p", { class: "card warning" }, icon("fault"), " ", text)),
    h("div", { class: "two even" }, targetCard(report.target), channelCard(report.channels, report.preview)),
    previewCard(report.preview),
    findingsCard(report),
    recordingsCard(report.recordings),
  ];
}

function targetCard(target) {
  if (!target?.n) return card("Target", h("p", { class: "quiet" }, "No window is left, so there is no target."));
  const { edges, counts } = target.histogram;
  const bars = counts.map((value, i) => ({ name: `${number(edges[i])} to ${number(edges[i + 1])}`, value }));
  const numbers = asTable("Target", (caption) =>
    table(
      caption,
      [
        { name: target.name, of: (b) => b.name },
        { name: "Windows", of: (b) => count(b.value), number: true },
      ],
      bars,
    ),
  );
  return card(
    `Target: ${target.name.replaceAll("_", " ")}`,
    barChart(`Histogram of ${target.name}`, bars, { first: number(edges[0]), last: number(edges.at(-1)) }),
    h(
      "p",
      { class: "quiet small" },
      `${count(target.n)} windows, mean ${number(target.mean)}, SD ${number(target.sd)}`,
    ),
    numbers.node,
  );
}

function channelCard(channels, preview) {
  const sds = channels?.median_sd_uv ?? [];
  if (!sds.length) return card("Channels", h("p", { class: "quiet" }, "The recordings differ in their channels."));
  const bars = sds.map((value, i) => ({ name: `channel ${i + 1}`, value }));
  const numbers = asTable("Channels", (caption) =>
    table(
      caption,
      [
        { name: "Channel", of: (b) => b.name },
        { name: "SD, µV", of: (b) => number(b.value), number: true },
      ],
      bars,
    ),
  );
  const flat = Object.entries(channels.flat ?? {});
  return card(
    "Standard deviation by channel",
    barChart("Standard deviation by channel in µV", bars),
    h(
      "p",
      { class: "quiet small" },
      `µV, median over recordings, ${sds.length} channels. `,
      flat.length ? `Flat: ${flat.map(([name, n]) => `${name} (${n})`).join(", ")}` : "None is flat.",
    ),
    numbers.node,
  );
}

function previewCard(preview) {
  if (!preview?.signal) return null;
  return card(
    "One window",
    traces(preview),
    h(
      "p",
      { class: "quiet small" },
      `${preview.recording}, from ${seconds(preview.onset_s)}, target ${number(preview.target)}`,
    ),
  );
}

function findingsCard(report) {
  const rows = Object.entries(report.findings).flatMap(([check, by]) =>
    Object.entries(by).map(([severity, n]) => ({ check, severity, n })),
  );
  const drops = Object.entries(report.trial_drops).map(([why, n]) => ({ check: why, severity: "trial dropped", n }));
  if (!rows.length && !drops.length) return card("Findings", h("p", {}, "Nothing to remark."));
  return card(
    "Findings",
    table(
      "Findings",
      [
        { name: "What", of: (r) => r.check.replaceAll("_", " ") },
        { name: "How bad", of: (r) => r.severity },
        { name: "How often", of: (r) => count(r.n), number: true },
      ],
      [...rows, ...drops],
    ),
  );
}

function recordingsCard(recordings) {
  return card(
    "Recordings",
    table(
      "Recordings",
      [
        { name: "Recording", of: (r) => h("span", { class: "small" }, r.name) },
        {
          name: "State",
          of: (r) =>
            h(
              "span",
              { class: `status ${r.status === "kept" ? "succeeded" : r.status}` },
              icon(STATUS_ICON[r.status] ?? "fault"),
              r.status,
            ),
        },
        { name: "Length", of: (r) => seconds(r.duration_s), number: true },
        { name: "Trials", of: (r) => count(r.trials), number: true },
        { name: "Windows", of: (r) => count(r.windows), number: true },
        {
          name: "Findings",
          of: (r) => r.findings.map((f) => h("span", { class: "sub" }, f.message, f.remedy ? ` (${f.remedy})` : "")),
        },
      ],
      recordings,
    ),
  );
}
