// A job's story as bars, pins and links along an axis: by training step, or by the clock. Pure; draws nothing.

import { count, many, reason, seconds } from "./format.js";

const CLOCK_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400];
const TRAINS = new Set(["training", "evaluating", "recovering"]);

/** Where each step was computed: exact, from the ledger. The axis goes on to the last step that is planned. */
export function bySteps(story, job) {
  const lane = laneOf(story);
  const bars = story.runs.map((run) => ({
    lane: lane(run.device),
    from: run.first,
    to: run.last + 1,
    tone: run.superseded ? "void" : run.reason ? "moved" : "solid",
    title:
      `${steps(run)} on ${run.device}, attempt ${run.attempt}` +
      (run.reason ? `, because: ${reason(run.reason)}` : "") +
      (run.superseded ? "; computed again later" : ""),
  }));
  const pins = [...story.batches, ...story.moves].map((event) => pin(event, lane(event.from), event.step));
  const links = [
    ...story.batches.filter((b) => b.to && b.to !== b.from).map((b) => link(b, lane, b.step + 0.5, b.step + 0.5)),
    ...story.moves.filter((m) => m.to && m.to !== m.from).map((m) => link(m, lane, m.resumedStep, m.resumedStep)),
  ];
  const last = story.runs.reduce((most, run) => Math.max(most, run.last + 1), job.progress?.steps || 1);
  return { bars, pins, links, from: 0, to: last, tick: count, round: decimal, unit: "training step" };
}

/** What each device did for the job when: loading and preparing pale, training solid. `now` ends what goes on. */
export function byTime(story, job, events, now) {
  const lane = laneOf(story);
  const begin = Date.parse(job.created_at);
  const end = job.finished_at ? Date.parse(job.finished_at) : now;
  const x = (moment) => (Date.parse(moment) - begin) / 1000;
  const span = Math.max((end - begin) / 1000, 1);
  const bars = job.attempts.flatMap((attempt) =>
    phases(attempt, events, x, span).map((phase) => ({
      lane: lane(attempt.device),
      from: phase.from,
      to: phase.to,
      tone: TRAINS.has(phase.name) ? "solid" : "pale",
      title: `${phase.name}, attempt ${attempt.number}, ${seconds(phase.to - phase.from)}`,
    })),
  );
  for (const batch of story.batches.filter((b) => b.handedAt && b.to)) {
    bars.push({
      lane: lane(batch.to),
      from: x(batch.handedAt),
      to: batch.returnedAt ? x(batch.returnedAt) : span,
      tone: "moved",
      title: `step ${batch.step}: ${reason(batch.kind)}`,
    });
  }
  const timed = [...story.batches, ...story.moves].filter((event) => event.faultAt);
  const pins = timed.map((event) => pin(event, lane(event.from), x(event.faultAt)));
  const links = timed
    .filter((event) => event.to && event.to !== event.from)
    .map((event) =>
      link(event, lane, x(event.handedAt ?? event.faultAt), event.returnedAt ? x(event.returnedAt) : span),
    );
  return { bars, pins, links, from: 0, to: span, tick: clockTick, round: ofClock, unit: "since submitted" };
}

function phases(attempt, events, x, span) {
  const from = x(attempt.started_at),
    to = attempt.ended_at ? x(attempt.ended_at) : span;
  const marks = events
    .filter((event) => event.type === "phase" && x(event.at) >= from && x(event.at) <= to)
    .map((event) => ({ name: event.data.phase, from: x(event.at) }));
  const found = [{ name: "starting", from }];
  for (const mark of marks) if (mark.name !== found.at(-1).name) found.push(mark);
  return found.map((phase, i) => ({ ...phase, to: found[i + 1]?.from ?? to }));
}

function laneOf(story) {
  const index = new Map(story.lanes.map((lane, i) => [lane.device, i]));
  return (device) => index.get(device) ?? 0;
}

/** The next round distance between two ticks. */
function decimal(raw) {
  const size = 10 ** Math.floor(Math.log10(raw));
  return Math.max(
    1,
    [1, 2, 5, 10].map((f) => f * size).find((step) => step >= raw),
  );
}

const ofClock = (raw) => CLOCK_S.find((step) => step >= raw) ?? decimal(raw / 86_400) * 86_400;

const clockTick = (s) =>
  s === 0
    ? "0"
    : seconds(s)
        .replace(/ 00 (s|min)$/, "")
        .replace(/\.0 s$/, " s");

const pin = (event, lane, x) => ({ lane, x, event, tone: event.kind === "stopped" ? "calm" : "fault" });

const link = (event, lane, from, to) => ({ fromLane: lane(event.from), toLane: lane(event.to), from, to, event });

const steps = (run) =>
  run.first === run.last ? `step ${count(run.first)}` : `steps ${count(run.first)}–${count(run.last)}`;

export const label = (event) => (event.back ? "back to the GPU" : reason(event.kind));

/** One event in one sentence, for the line below the picture, the table and the ear. */
export function sentence(event) {
  const what = reason(event.kind);
  if (event.type === "batch") {
    const to = event.to ? `computed on ${event.to}` : "on its way to the CPU pool";
    const back = event.seconds != null ? `, back after ${seconds(event.seconds)}` : "";
    return `Step ${count(event.step)}: ${what}${event.from ? ` on ${event.from}` : ""}; ${to}${back}.`;
  }
  if (event.type === "end") return `Attempt ${event.attempt} ended at step ${count(event.step)}: ${what}.`;
  if (event.back)
    return `Attempt ${event.attempt} gave the job back at step ${count(event.step)}: on to ${event.to}, which works again.`;
  const repeated =
    event.to && event.step > event.resumedStep
      ? `, ${many(event.step - event.resumedStep, "step")} computed again`
      : "";
  const to = event.to ? `went on on ${event.to} from step ${count(event.resumedStep)}${repeated}` : "waits to go on";
  return `Attempt ${event.attempt} on ${event.from}: ${what}; ${to}.`;
}
