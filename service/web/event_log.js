// What happened to a job, newest first, in words.

import { h, keyed } from "./dom.js";
import { clock, count, moment, reason, seconds } from "./format.js";
import { icon } from "./icons.js";

const WORDS = {
  submitted: () => "Submitted",
  claimed: (d) =>
    `Attempt ${d.number} begins: ${d.worker} on ${d.device}${d.resumed_at ? `, from step ${count(d.resumed_at)}` : ""}`,
  phase: (d) =>
    d.recordings ? `Preprocessing: ${d.recordings_done} of ${d.recordings} recordings` : `Phase: ${d.phase}`,
  started: (d) => (d.step ? `Goes on from step ${count(d.step)}` : `Trains ${count(d.parameters)} parameters`),
  fault: (d) => `Fault at step ${count(d.step)}: ${reason(d.kind)} on ${d.device ?? "its device"}`,
  handed_off: (d) => `Step ${count(d.step)} handed to the CPU pool`,
  batch_returned: (d) =>
    `Step ${count(d.step)} ${d.ok ? `is back from ${d.device}` : "could not be computed there"} after ${seconds(d.seconds)}`,
  requeued: (d) => `To the ${d.pool.toUpperCase()} pool: ${isOrder(d) ? d.fault.message : reason(d.fault?.kind)}`,
  warning: (d) => d.message ?? "Warning",
  cancel_requested: () => "Cancel was asked for",
  paused: () => "Paused",
  resumed: () => "Goes on",
  succeeded: () => "Succeeded",
  failed: (d) => `Failed: ${reason(d.kind)}`,
  cancelled: () => "Cancelled",
};
const ICONS = {
  fault: "fault",
  requeued: "fault",
  warning: "fault",
  succeeded: "succeeded",
  failed: "failed",
  cancelled: "cancelled",
  paused: "paused",
};
const SHOWN = 200;
/** Nothing failed: the worker stops, or a GPU is free again. */
const isOrder = (data) => data.fault?.kind === "stopped";

export function eventLog() {
  const list = h("ol", { class: "event-log", tabindex: 0, "aria-label": "Events, newest first" });
  return {
    node: list,
    update(events) {
      const rows = merged(events).slice(-SHOWN).reverse();
      keyed(
        list,
        rows,
        (event) => event.id ?? String(event.seq),
        make,
        () => {},
      );
    },
  };
}

/** Of the reports about recordings only the newest one in a row, and no phase twice. */
function merged(events) {
  return events.filter((event, i) => {
    const next = events[i + 1];
    return !(event.type === "phase" && next?.type === "phase" && next.data.phase === event.data.phase);
  });
}

function make(event) {
  const order = event.type === "requeued" && isOrder(event.data);
  const more = event.data.message ?? (order ? null : event.data.fault?.message);
  const name = order ? null : ICONS[event.type];
  return h(
    "li",
    { class: event.type },
    h("time", { title: moment(event.at) }, clock(event.at)),
    h(
      "span",
      { class: "what" },
      name && icon(name),
      h("span", {}, (WORDS[event.type] ?? (() => event.type))(event.data)),
      more && event.type !== "warning" && h("span", { class: "sub" }, more),
    ),
  );
}
