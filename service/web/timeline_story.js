// What happened to a job, told from its ledger, attempts and events: who computed which steps, and why they moved.
// Pure values in and out.

import { kindOf } from "./format.js";

/** {lanes, runs, batches, moves}: devices; ledger rows; single steps computed elsewhere; whole jobs that changed place. */
export function tell(job, runs, events) {
  return { lanes: lanes(job, runs), runs, batches: batches(runs, events), moves: moves(job, runs, events) };
}

/** One lane a device, accelerators on top, with its live steps; those of the pools asked for where none is known. */
function lanes(job, runs) {
  const steps = new Map();
  for (const attempt of job.attempts) steps.set(attempt.device, 0);
  for (const run of runs) {
    const live = run.superseded ? 0 : run.last - run.first + 1;
    steps.set(run.device, (steps.get(run.device) ?? 0) + live);
  }
  for (const kind of ["gpu", "cpu"]) {
    const wanted = job.placement.requested === kind || job.placement.requested === "auto";
    if (wanted && ![...steps.keys()].some((device) => kindOf(device) === kind)) steps.set(kind, 0);
  }
  const found = [...steps].map(([device, n]) => ({ device, kind: kindOf(device), steps: n }));
  return found.sort((a, b) => b.kind.localeCompare(a.kind) || a.device.localeCompare(b.device));
}

/** One entry a failed batch: its fault, where it went, when it was back. The ledger alone is enough for old jobs. */
function batches(runs, events) {
  const found = new Map();
  const at = (step) => found.get(step) ?? found.set(step, { type: "batch", step }).get(step);
  const before = new Map(); // attempt -> the device of the steps in front, which is where a failed one was tried
  for (const run of runs) {
    if (run.reason)
      Object.assign(at(run.first), {
        kind: run.reason,
        from: before.get(run.attempt),
        to: run.device,
        superseded: run.superseded,
      });
    else before.set(run.attempt, run.device);
  }
  for (const { type, at: when, data } of events) {
    if (type === "fault" && data.step != null) {
      Object.assign(at(data.step), {
        kind: data.kind,
        from: data.device,
        message: data.message,
        hint: data.hint,
        faultAt: when,
      });
    } else if (type === "handed_off") Object.assign(at(data.step), { kind: data.reason, handedAt: when });
    else if (type === "batch_returned") {
      Object.assign(at(data.step), {
        to: data.device,
        returnedAt: when,
        ok: data.ok,
        seconds: data.seconds,
        stepS: data.step_s,
      });
    }
  }
  return [...found.values()].sort((a, b) => a.step - b.step);
}

/** One entry a time that an attempt ended and the job went on, here or elsewhere. */
function moves(job, runs, events) {
  const failed = events.filter((event) => event.type === "failed").at(-1);
  const list = [];
  for (const [i, attempt] of job.attempts.entries()) {
    const next = job.attempts[i + 1];
    const ended = attempt.outcome && !["succeeded", "cancelled"].includes(attempt.outcome);
    if (!ended) continue;
    const last = runs.reduce((most, run) => (run.attempt === attempt.number ? Math.max(most, run.last) : most), -1);
    const fault = attempt.fault ?? job.error ?? {};
    list.push({
      type: attempt.outcome === "failed" ? "end" : "move",
      attempt: attempt.number,
      step: last < 0 ? (attempt.resumed_at_step ?? 0) : last + 1,
      kind: fault.kind ?? "worker_lost",
      message: fault.message ?? failed?.data.message,
      hint: fault.hint,
      from: attempt.device,
      to: next?.device ?? null,
      resumedStep: next?.resumed_at_step ?? (next ? 0 : null),
      faultAt: attempt.ended_at,
      returnedAt: next?.started_at ?? null,
      back: !!next && kindOf(attempt.device) === "cpu" && kindOf(next.device) === "gpu",
    });
  }
  return list;
}
