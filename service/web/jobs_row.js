// One row of the table of jobs; its curve and its device bar are fetched when it comes into view.

import { get } from "./api.js";
import { h, say, show } from "./dom.js";
import { age, kindOf, moment, number, seconds, shortId, taskName } from "./format.js";
import { status, statusKey } from "./parts.js";
import { deviceBar, sparkline } from "./spark.js";

const COLUMNS = ["", "Status", "Job", "Progress", "Devices", "Best NRMSE", "Curve", "Age"];
const POINTS = 40;
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) entry.target.fetchParts?.();
});

export const HEAD = () =>
  h(
    "thead",
    {},
    h(
      "tr",
      {},
      COLUMNS.map((name) => h("th", { scope: "col" }, name || h("span", { class: "hidden" }, "Choose to compare"))),
    ),
  );

export function makeRow(job, choose) {
  const box = h("input", {
    type: "checkbox",
    "aria-label": `Choose ${shortId(job.id)} to compare`,
    on: { change: (event) => choose(job.id, event.target.checked) },
  });
  const cell = (name, ...content) => h("td", { "data-name": name }, content);
  const row = h(
    "tr",
    {},
    cell("Choose", box),
    cell("Status"),
    cell("Job", ...title(job)),
    cell("Progress"),
    cell("Devices"),
    cell("Best NRMSE"),
    cell("Curve"),
    cell("Age", h("time", { title: moment(job.created_at) })),
  );
  row.drawn = {};
  return row;
}

/** Touches only the cells whose content has changed. */
export function updateRow(row, job) {
  const [, state, , progress, , best, , time] = row.children;
  once(row, "status", statusKey(job), () => show(state, status(job)));
  once(row, "progress", JSON.stringify([job.progress, job.status]), () => show(progress, progressOf(job)));
  once(row, "best", job.best?.value, () => show(best, bestOf(job)));
  say(time.firstChild, age(job.created_at));
  if (row.drawn.parts === partsKey(job)) return;
  row.fetchParts = () => fetchParts(row, job);
  seen.unobserve(row);
  seen.observe(row);
}

function once(row, what, key, draw) {
  if (row.drawn[what] === key && what in row.drawn) return;
  row.drawn[what] = key;
  draw();
}

/** Only what can have changed: the curve with each evaluation, the bar with progress in coarse steps. */
const partsKey = (job) =>
  `${job.best?.epoch} ${job.progress?.epoch} ${job.status} ${job.recovery.batches_moved} ${job.attempts.length}`;

async function fetchParts(row, job) {
  if (row.drawn.parts === partsKey(job)) return;
  row.drawn.parts = partsKey(job);
  row.fetchParts = null;
  try {
    const [curve, steps] = await Promise.all([curveOf(job), stepsOf(job)]);
    show(row.children[6], sparkline(curve, job.best?.baseline));
    show(row.children[4], deviceBar(steps, job.progress?.steps));
  } catch {
    row.drawn.parts = null; // next time
  }
}

async function curveOf(job) {
  if (!job.best) return [];
  const { data } = await get(`jobs/${job.id}/metrics?name=val_nrmse&max_points=${POINTS}`);
  return data.map((row) => row.val_nrmse);
}

/** A job that never moved needs no ledger: all its steps are where it ran. */
async function stepsOf(job) {
  if (!job.attempts.length) return {};
  const devices = new Set(job.attempts.map((attempt) => attempt.device));
  if (devices.size === 1 && !job.recovery.batches_moved) return { [job.placement.device]: job.progress?.step ?? 0 };
  return (await get(`jobs/${job.id}/ledger?device=none`)).steps_by_device;
}

function title(job) {
  const { spec } = job;
  return [
    h("a", { href: `#/job/${job.id}`, class: "job-name" }, spec.model.name),
    h("span", { class: "sub" }, `${taskName(spec.task)} · ${spec.dataset.name} · `, h("code", {}, shortId(job.id))),
    job.tags.length
      ? h(
          "span",
          { class: "tags" },
          job.tags.map((tag) => h("span", { class: "tag" }, tag)),
        )
      : null,
  ];
}

function progressOf(job) {
  const { progress } = job;
  if (!progress) return h("span", { class: "quiet" }, job.status === "queued" ? `for ${kindName(job)}` : "–");
  const left =
    job.estimated_finish && job.status === "running"
      ? (Date.parse(job.estimated_finish) - Date.parse(job.updated_at)) / 1000
      : null;
  return [
    h("span", {}, `epoch ${progress.epoch} / ${progress.epochs}`),
    h("span", { class: "sub" }, left != null ? `${seconds(left)} left` : `${progress.step} steps`),
  ];
}

const kindName = (job) =>
  ({ auto: "either pool", gpu: "a GPU", cpu: "a CPU" })[job.placement.requested] ?? kindOf(job.placement.requested);

function bestOf(job) {
  if (!job.best) return h("span", { class: "quiet" }, "–");
  const { value, baseline, epoch } = job.best;
  const better = baseline != null && value < baseline;
  return [
    h("span", { class: better ? "good" : "" }, number(value)),
    h(
      "span",
      { class: "sub" },
      baseline == null ? `epoch ${epoch}` : `${better ? "below" : "not below"} ${number(baseline)}`,
    ),
  ];
}
