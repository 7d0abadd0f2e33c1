// Results of a job that succeeded: predicted against true, residuals, error by subject, beside predicting the mean.

import { get, text } from "./api.js";
import { parse } from "./csv.js";
import { h } from "./dom.js";
import { count, many, number, shortId, taskName } from "./format.js";
import { asTable, card, empty, table } from "./parts.js";
import { barChart, histogram, scatter } from "./plots.js";

const SHOWN = 1000,
  SLOTS = 12;

export async function open({ id }) {
  const job = await get(`jobs/${id}`);
  const head = [
    h(
      "p",
      { class: "crumbs" },
      h("a", { href: "#/jobs" }, "Jobs"),
      " / ",
      h("a", { href: `#/job/${id}` }, shortId(id)),
      " / Results",
    ),
    h("h1", { tabindex: -1 }, `${job.spec.model.name}, results`),
    h(
      "p",
      { class: "quiet lead gap" },
      `${taskName(job.spec.task)} · ${job.spec.dataset.name} · validation set, weights of epoch ${job.best?.epoch ?? "–"}`,
    ),
  ];
  if (job.status !== "succeeded")
    return {
      title: "Results",
      node: h(
        "div",
        {},
        head,
        h(
          "div",
          { class: "card" },
          empty("No results yet", h("p", {}, `The job is ${job.status}; predictions are written when it succeeds.`)),
        ),
      ),
    };
  const file = (name) => `jobs/${id}/artifacts/${name}`;
  const [predictions, subjects, scores, model] = await Promise.all([
    text(file("predictions.csv")).then(parse),
    text(file("subjects.csv")).then(parse),
    get(file("scores.json")),
    get(file("model.json")),
  ]);
  const plot = scatterCard(predictions, model.training_mean, unitOf(job));
  const node = h(
    "div",
    {},
    head,
    figures(scores, predictions, subjects),
    h("div", { class: "two even" }, plot.node, residuals(predictions, unitOf(job))),
    bySubject(subjects, rmse(predictions)),
  );
  return { title: "Results", node, close: plot.close };
}

function figures(scores, predictions, subjects) {
  const baseline = Object.entries(scores.baselines ?? {});
  const tiles = [
    [
      "NRMSE",
      number(scores.value),
      scores.beats_the_mean ? "better than predicting the mean" : "not better than the mean",
    ],
    ...baseline.map(([name, value]) => [
      `Baseline: ${name.replaceAll("_", " ")}`,
      number(value?.nrmse ?? value),
      "NRMSE",
    ]),
    ["Windows", count(predictions.length), `of ${many(subjects.length, "subject")}`],
  ];
  return h(
    "dl",
    { class: "tiles" },
    tiles.map(([name, value, sub]) =>
      h("div", { class: "tile" }, h("dt", {}, name), h("dd", {}, value), h("dd", { class: "sub" }, sub)),
    ),
  );
}

function scatterCard(rows, mean, unit) {
  const points = rows.map((row) => [row.target, row.prediction]);
  const plot = scatter(
    `Predicted against true for ${rows.length} windows; the training mean is ${number(mean)}`,
    points,
    { x: `true (${unit})`, y: `predicted (${unit})`, mean },
  );
  const numbers = asTable("Predictions", (caption) =>
    table(
      `${caption}, the first ${SHOWN}`,
      [
        { name: "Subject", of: (r) => r.subject },
        { name: "Onset, s", of: (r) => number(r.onset_s), number: true },
        { name: "True", of: (r) => number(r.target), number: true },
        { name: "Predicted", of: (r) => number(r.prediction), number: true },
      ],
      rows.slice(0, SHOWN),
    ),
  );
  const legend = h("p", { class: "quiet small" }, "Full line: ideal. Dashed: predicting the training mean.");
  return { node: card("Predicted against true", plot.node, legend, numbers.node), close: plot.close };
}

function residuals(rows, unit) {
  const values = rows.map((row) => row.prediction - row.target);
  const bars = histogram(values, binsFor(values.length));
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const numbers = asTable("Residuals", (caption) =>
    table(
      caption,
      [
        { name: `Predicted − true (${unit})`, of: (b) => b.name },
        { name: "Windows", of: (b) => count(b.value), number: true },
      ],
      bars,
    ),
  );
  return card(
    "Residuals",
    barChart(`Histogram of residuals, mean ${number(mean)} ${unit}`, bars, {
      first: number(bars[0].from),
      last: bars.at(-1).name.split(" to ")[1],
    }),
    h("p", { class: "quiet small" }, `Predicted − true, ${unit}; mean ${number(mean)}.`),
    numbers.node,
  );
}

function bySubject(rows, overall) {
  const sorted = rows.toSorted((a, b) => b.rmse - a.rmse);
  const bars = sorted.map((row) => ({ name: row.subject, value: row.rmse }));
  const numbers = asTable("Error by subject", (caption) =>
    table(
      caption,
      [
        { name: "Subject", of: (r) => r.subject },
        { name: "Windows", of: (r) => count(r.n_windows), number: true },
        { name: "RMSE", of: (r) => number(r.rmse), number: true },
        { name: "Mean true", of: (r) => number(r.target_mean), number: true },
        { name: "Mean predicted", of: (r) => number(r.prediction_mean), number: true },
      ],
      sorted,
    ),
  );
  const chart = barChart(`RMSE of ${rows.length} subjects, the worst first`, bars, {
    mark: overall,
    markName: "all windows:",
    slots: SLOTS,
  });
  return card("Error by subject, the worst first", chart, numbers.node);
}

const binsFor = (n) => Math.round(Math.min(41, Math.max(9, 2 * Math.sqrt(n))));
const rmse = (rows) => Math.sqrt(rows.reduce((sum, row) => sum + (row.prediction - row.target) ** 2, 0) / rows.length);
const unitOf = (job) => (job.spec.task === "challenge1" || job.spec.task.target === "response_time" ? "s" : "score");
