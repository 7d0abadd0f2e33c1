// The device timeline: which steps ran on which device, the faults, the hand-offs and the returns.
// The view: what is shown and chosen, its words and its tables; timeline_drawing draws, timeline_story knows what happened.

import { h, say } from "./dom.js";
import { clock, count, reason, seconds } from "./format.js";
import { asTable, card, table } from "./parts.js";
import { drawing, pinKey } from "./timeline_drawing.js";
import { bySteps, byTime, sentence } from "./timeline_shapes.js";
import { tell } from "./timeline_story.js";

const ROWS = 2000; // of a table; ledger.json holds all

/** {node, update(job, runs, events)}. */
export function timeline() {
  const view = { mode: "steps", chosen: null, job: null, runs: [], events: [] };
  const picture = h("div", { class: "timeline-picture" });
  const about = h("p", { class: "quiet" }),
    detail = h("p", { class: "timeline-detail", "aria-live": "polite" });
  const legend = h("div", { class: "legend" });
  const rows = asTable("Where every run of steps was computed", (caption) =>
    ledgerTable(caption, view.runs.slice(-ROWS)),
  );
  const events = asTable("Faults and moves", (caption) => eventTable(caption, view.story));
  events.node.querySelector("summary").textContent = "View faults and moves as table";
  rows.node.querySelector("summary").textContent = "View steps as table";
  const modes = modeButtons(view, draw);
  let frame = 0; // several changes at once are drawn once
  const node = card(
    "Device timeline",
    modes,
    legend,
    picture,
    about,
    detail,
    h("div", { class: "tables" }, events.node, rows.node),
  );
  node.classList.add("timeline");

  function draw() {
    frame = 0;
    if (!view.job || !picture.clientWidth) return;
    view.story = tell(view.job, view.runs, view.events);
    const shapes =
      view.mode === "steps" ? bySteps(view.story, view.job) : byTime(view.story, view.job, view.events, Date.now());
    const focused = document.activeElement?.dataset?.pin;
    picture.replaceChildren(
      drawing(view.story, shapes, picture.clientWidth, { chosen: view.chosen, choose, about: summary(view) }),
    );
    if (focused) picture.querySelector(`[data-pin="${focused}"]`)?.focus();
    legend.replaceChildren(...legendOf(view));
    tellChosen();
    rows.refresh();
    events.refresh();
  }

  function choose(event) {
    view.chosen = pinKey(event);
    for (const pin of picture.querySelectorAll(".pin")) pin.classList.toggle("chosen", pin.dataset.pin === view.chosen);
    tellChosen();
  }

  function tellChosen() {
    const all = [...view.story.batches, ...view.story.moves];
    const event = all.find((one) => pinKey(one) === view.chosen);
    say(about, summary(view));
    say(
      detail,
      event ? [sentence(event), event.message, event.hint && `Hint: ${event.hint}.`].filter(Boolean).join(" ") : "",
    );
  }

  new ResizeObserver(draw).observe(picture);
  return {
    node,
    update(job, runs, events) {
      Object.assign(view, { job, runs, events });
      frame ||= requestAnimationFrame(draw);
    },
    tick: () => view.mode === "time" && draw(),
  };
}

function legendOf({ story, mode }) {
  const again = mode === "steps" && story.runs.some((run) => run.superseded);
  const entries = [
    ["gpu solid", "GPU"],
    ["cpu solid", "CPU"],
    mode === "time" && ["pale", "getting ready"],
    story.batches.length > 0 && ["moved", "batch handed over"],
    again && ["void", "computed again later"],
  ];
  return entries.filter(Boolean).map(([tone, name]) => h("span", {}, h("i", { class: `swatch ${tone}` }), name));
}

function summary({ story, job }) {
  if (!story?.runs.length) return job?.attempts.length ? "No step is committed yet." : "It waits for a worker.";
  const split = story.lanes
    .filter((lane) => lane.steps)
    .map((lane) => `${count(lane.steps)} on ${lane.device}`)
    .join(", ");
  const n = story.batches.length,
    m = story.moves.length;
  if (!n && !m) return `Steps: ${split}. No fault so far.`;
  return `Steps: ${split}. ${n} ${n === 1 ? "batch was" : "batches were"} handed over, the job changed place ${m} ${m === 1 ? "time" : "times"}. Choose a mark for its reason.`;
}

function modeButtons(view, draw) {
  const buttons = [
    ["steps", "By step"],
    ["time", "By time"],
  ].map(([mode, name]) =>
    h(
      "button",
      { type: "button", "aria-pressed": String(mode === view.mode), on: { click: () => set(mode) }, "data-mode": mode },
      name,
    ),
  );
  function set(mode) {
    view.mode = mode;
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    draw();
  }
  return h("div", { class: "segmented", role: "group", "aria-label": "Axis" }, buttons);
}

function ledgerTable(caption, runs) {
  return table(
    caption,
    [
      {
        name: "Steps",
        of: (r) => (r.first === r.last ? count(r.first) : `${count(r.first)}–${count(r.last)}`),
        number: true,
      },
      { name: "Device", of: (r) => r.device },
      { name: "Attempt", of: (r) => r.attempt, number: true },
      { name: "Why it moved", of: (r) => (r.reason ? reason(r.reason) : "") },
      { name: "Counts", of: (r) => (r.superseded ? "no, computed again" : "yes") },
    ],
    runs,
  );
}

function eventTable(caption, story) {
  const all = [...story.batches, ...story.moves].sort((a, b) => a.step - b.step).slice(-ROWS);
  return table(
    caption,
    [
      { name: "Step", of: (e) => count(e.step), number: true },
      { name: "Reason", of: (e) => reason(e.kind) },
      { name: "From", of: (e) => e.from },
      { name: "To", of: (e) => e.to },
      { name: "At", of: (e) => e.faultAt && clock(e.faultAt) },
      { name: "Away for", of: (e) => e.seconds != null && seconds(e.seconds), number: true },
      { name: "Message", of: (e) => e.message },
    ],
    all,
  );
}
