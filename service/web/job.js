// One job: tiles, learning curve, device timeline, what happened, attempts, spec, files; live until it ends.

import { all, get, isAway, known } from "./api.js";
import { lineChart } from "./charts.js";
import { calm, h, show } from "./dom.js";
import { eventLog } from "./event_log.js";
import { shortId, taskName } from "./format.js";
import { actions } from "./job_actions.js";
import { attempts, failureCard, files, logTail, specCard } from "./job_parts.js";
import { FINAL, followJob } from "./live.js";
import { card, status, statusKey } from "./parts.js";
import { tiles } from "./tiles.js";
import { timeline } from "./timeline.js";

const STORY = [
  "submitted",
  "claimed",
  "phase",
  "started",
  "fault",
  "handed_off",
  "batch_returned",
  "warning",
  "requeued",
  "cancel_requested",
  "paused",
  "resumed",
  "succeeded",
  "failed",
  "cancelled",
];
const JOB_MS = 700,
  LEDGER_MS = 500,
  FILES_MS = 3000,
  TICK_MS = 1000;
const CURVES = [
  { name: "validation NRMSE", column: "val_nrmse", colour: "accent" },
  { name: "training loss", column: "train_loss", colour: "ink-3", kind: "faint" },
  { name: "predict the mean", column: "baseline", colour: "warn", kind: "baseline" },
];

export async function open({ id }) {
  const view = await first(id);
  const parts = {
    status: h("span", { role: "status" }),
    actions: h("div", { class: "actions" }),
    failure: h("div"),
    tiles: tiles(),
    chart: lineChart("Learning curve", CURVES),
    timeline: timeline(),
    log: eventLog(),
    attempts: h("div"),
    files: h("div"),
    tail: logTail(id),
  };
  const node = page(view, parts);
  const job = calm(async () => draw(view, parts, "job", (await known(`jobs/${id}`)).data), JOB_MS);
  const ledger = calm(async () => draw(view, parts, "runs", (await get(`jobs/${id}/ledger`)).data), LEDGER_MS);
  const filesSoon = calm(
    async () => show(parts.files, files(view.job, (await get(`jobs/${id}/artifacts`)).data)),
    FILES_MS,
  );

  function hear(event) {
    if (event.type === "deleted") return (location.hash = "#/jobs");
    job();
    if (event.type === "metrics") view.rows.push(event.data);
    else if (event.type !== "progress" && event.type !== "hello") view.events.push(event);
    if (event.type !== "phase") ledger();
    if (["metrics", "fault", "handed_off", "batch_returned", "requeued", "claimed"].includes(event.type))
      draw(view, parts);
    if (FINAL.has(event.type)) [job, ledger, filesSoon].forEach((soon) => soon(0));
  }

  draw(view, parts, "job", view.job);
  filesSoon(0);
  const stop =
    view.job.finished_at && !view.stale
      ? () => {}
      : followJob(id, view.after, hear, () => [job, ledger].forEach((soon) => soon()));
  const tick = setInterval(() => !view.job.finished_at && parts.timeline.tick(), TICK_MS);
  return {
    title: `${view.job.spec.model.name} ${shortId(id)}`,
    node,
    close() {
      stop();
      clearInterval(tick);
      parts.chart.close();
      parts.tail.close();
      [job, ledger, filesSoon].forEach((soon) => soon.stop());
    },
  };
}

/** Everything there is so far; what happens later than `after` comes as events. */
async function first(id) {
  const types = STORY.map((type) => `type=${type}`).join("&");
  const { data: job, stale } = await known(`jobs/${id}`);
  const [events, metrics, ledger] = await Promise.all(
    [
      known(`jobs/${id}/events?limit=1000&${types}`, all),
      known(`jobs/${id}/metrics?max_points=2000`),
      known(`jobs/${id}/ledger`),
    ].map((answer) => answer.catch(orNothing)),
  );
  return {
    job,
    stale,
    events: events.data.data,
    after: events.data.after,
    rows: metrics.data.data,
    runs: ledger.data.data,
  };
}

function orNothing(error) {
  if (!isAway(error)) throw error;
  return { data: { data: [], after: null } };
}

function draw(view, parts, what, value) {
  if (what) view[what] = value;
  const { job, events, rows, runs } = view;
  if (what === "job") drawJob(view, parts);
  parts.timeline.update(job, runs, events);
  parts.log.update(events);
  const points = onePerStep(rows);
  if (points.length !== view.points) {
    view.points = points.length;
    const perEpoch = job.progress?.epochs ? job.progress.steps / job.progress.epochs : 1;
    const faults = events
      .filter((event) => event.type === "fault" && event.data.step != null)
      .map((event) => event.data.step / perEpoch);
    parts.chart.update(
      [points.map((row) => row.epoch), ...CURVES.map((curve) => points.map((row) => row[curve.column] ?? null))],
      faults,
    );
  }
}

function drawJob(view, parts) {
  const { job } = view;
  if (view.drawn !== statusKey(job)) {
    view.drawn = statusKey(job);
    show(parts.status, status(job));
    show(
      parts.actions,
      actions(job, (changed) => draw(view, parts, "job", changed)),
    );
    show(parts.failure, job.error && failureCard(job));
  }
  parts.tiles.update(job);
  show(parts.attempts, attempts(job));
}

/** An attempt that resumed evaluates again: the later row stands. */
function onePerStep(rows) {
  return [...new Map(rows.map((row) => [row.step, row])).values()].sort((a, b) => a.step - b.step);
}

function page(view, parts) {
  const { job } = view;
  const { spec } = job;
  return h(
    "div",
    { class: "job-page" },
    h("p", { class: "crumbs" }, h("a", { href: "#/jobs" }, "Jobs"), " / ", h("code", {}, job.id)),
    h(
      "div",
      { class: "title-row" },
      h("h1", { tabindex: -1 }, spec.model.name),
      parts.status,
      h("span", { class: "spring" }),
      parts.actions,
    ),
    h(
      "p",
      { class: "quiet lead" },
      `${taskName(spec.task)} · ${spec.dataset.name} · seed ${job.seed} · by ${job.owner}`,
      job.parent_id && [" · again from ", h("a", { href: `#/job/${job.parent_id}` }, shortId(job.parent_id))],
    ),
    parts.failure,
    parts.tiles.node,
    parts.timeline.node,
    h("div", { class: "two" }, card("Learning curve", parts.chart.node), card("What happened", parts.log.node)),
    card("Attempts", parts.attempts),
    h("div", { class: "two" }, card("Files", parts.files), specCard(job)),
    parts.tail.node,
  );
}
