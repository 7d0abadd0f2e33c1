// A job's figures at a glance.

import { h, say } from "./dom.js";
import { age, count, number, reason, seconds } from "./format.js";

const TILES = [
  [
    "Epoch",
    (job) => (job.progress ? `${job.progress.epoch} / ${job.progress.epochs}` : "–"),
    (job) => (job.progress ? `step ${count(job.progress.step)} of ${count(job.progress.steps)}` : "not begun"),
  ],
  [
    "Best NRMSE",
    (job) => number(job.best?.value),
    (job) => (job.best ? `epoch ${job.best.epoch}; the mean gives ${number(job.best.baseline)}` : "no evaluation yet"),
  ],
  ["On the GPU", (job) => seconds(job.durations.gpu_s), (job) => onPool(job, "gpu")],
  ["On the CPU", (job) => seconds(job.durations.cpu_s), (job) => onPool(job, "cpu")],
  [
    "Recovered",
    (job) => count(job.recovery.batches_moved + job.recovery.jobs_requeued),
    (job) =>
      job.recovery.last_reason
        ? `${job.recovery.batches_moved} batches, ${job.recovery.jobs_requeued} moves; last: ${reason(job.recovery.last_reason)}`
        : "no fault",
  ],
  ["Speed", (job) => (job.progress?.windows_per_s ? `${count(job.progress.windows_per_s)} /s` : "–"), () => "windows"],
  [(job) => (job.finished_at ? "Took" : "Left"), left, ends],
];

export function tiles() {
  const cells = TILES.map(() => [h("dt"), h("dd"), h("dd", { class: "sub" })]);
  return {
    node: h(
      "dl",
      { class: "tiles" },
      cells.map((cell) => h("div", { class: "tile" }, cell)),
    ),
    update(job) {
      TILES.forEach((texts, i) =>
        texts.forEach((text, j) => say(cells[i][j], typeof text === "string" ? text : text(job))),
      );
    },
  };
}

function onPool(job, pool) {
  const n = job.attempts.filter((attempt) => attempt.pool === pool).length;
  return n ? `${n} ${n === 1 ? "attempt" : "attempts"}` : "never there";
}

function left(job) {
  if (job.finished_at) return seconds((Date.parse(job.finished_at) - Date.parse(job.created_at)) / 1000);
  return job.estimated_finish ? seconds((Date.parse(job.estimated_finish) - Date.parse(job.updated_at)) / 1000) : "–";
}

function ends(job) {
  if (job.finished_at) return `ended ${age(job.finished_at)}, waited ${seconds(job.durations.queued_s)}`;
  return job.status === "queued" ? `waits since ${age(job.queued_at)}` : "by its speed of late";
}
