// The device timeline: which steps ran on which device, the faults, the hand-offs and the returns.
// Draws what timeline_shapes gives; knows neither the API nor events.

import { h, say, svg } from "./dom.js";
import { clock, count, reason, seconds } from "./format.js";
import { asTable, card, table } from "./parts.js";
import { bySteps, byTime, sentence } from "./timeline_shapes.js";
import { tell } from "./timeline_story.js";

const LANE = 30, GAP = 34, TOP = 40, AXIS = 30, RIGHT = 14;
const BAR_MIN = 3, PIN = 13;

/** {node, update(job, runs, events)}. */
export function timeline() {
  const view = { mode: "steps", chosen: null, job: null, runs: [], events: [] };
  const picture = h("div", { class: "timeline-picture" });
  const detail = h("p", { class: "timeline-detail", "aria-live": "polite" });
  const legend = h("div", { class: "legend" });
  const rows = asTable("Where every run of steps was computed", (caption) => ledgerTable(caption, view.runs));
  const events = asTable("Faults and moves", (caption) => eventTable(caption, view.story));
  events.node.querySelector("summary").textContent = "View faults and moves as table";
  rows.node.querySelector("summary").textContent = "View steps as table";
  const modes = modeButtons(view, draw);
  const node = card("Device timeline", modes, legend, picture, detail, h("div", { class: "tables" }, events.node, rows.node));
  node.classList.add("timeline");

  function draw() {
    if (!view.job || !picture.clientWidth) return;
    view.story = tell(view.job, view.runs, view.events);
    const shapes = view.mode === "steps" ? bySteps(view.story, view.job) : byTime(view.story, view.job, view.events, Date.now());
    const focused = document.activeElement?.dataset?.pin;
    picture.replaceChildren(drawing(view, shapes, picture.clientWidth, choose));
    if (focused) picture.querySelector(`[data-pin="${focused}"]`)?.focus();
    legend.replaceChildren(...legendOf(view.story));
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
    const words = event ? [sentence(event), event.message, event.hint && `Hint: ${event.hint}.`].filter(Boolean).join(" ") : summary(view);
    say(detail, words);
  }

  new ResizeObserver(draw).observe(picture);
  return {
    node,
    update(job, runs, events) {
      Object.assign(view, { job, runs, events });
      draw();
    },
    tick: () => view.mode === "time" && draw(),
  };
}

function drawing(view, shapes, width, choose) {
  const { lanes } = view.story;
  const left = width < 560 ? 12 : 128;
  const height = TOP + lanes.length * LANE + (lanes.length - 1) * GAP + AXIS;
  const x = (value) => left + ((value - shapes.from) / (shapes.to - shapes.from)) * (width - left - RIGHT);
  const y = (lane) => TOP + lane * (LANE + GAP);
  const root = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": `Device timeline by ${shapes.unit}. ${summary(view)}` });
  root.append(hatching(), ...axis(shapes, x, height, width));
  lanes.forEach((lane, i) => root.append(...laneParts(lane, y(i), left, width)));
  root.append(...shapes.bars.map((bar) => barOf(bar, lanes[bar.lane], x, y)));
  root.append(...shapes.links.map((link) => linkOf(link, x, y)));
  root.append(pinsOf(view, shapes.pins, x, y, width, choose));
  return root;
}

function laneParts(lane, top, left, width) {
  const narrow = left < 100;
  const name = svg("text", { x: narrow ? left : left - 12, y: narrow ? top - 6 : top + 13, class: "lane-name", "text-anchor": narrow ? "start" : "end" },
    narrow ? `${lane.device} · ${count(lane.steps)} steps` : lane.device); // prettier-ignore
  const steps = !narrow && svg("text", { x: left - 12, y: top + 27, class: "lane-steps", "text-anchor": "end" }, `${count(lane.steps)} steps`);
  const track = svg("rect", { x: left, y: top, width: width - left - RIGHT, height: LANE, rx: 5, class: "track" });
  return [track, name, steps].filter(Boolean);
}

function barOf(bar, lane, x, y) {
  const from = x(bar.from), wide = Math.max(x(bar.to) - from, BAR_MIN);
  return svg("rect", { x: from, y: y(bar.lane), width: wide, height: LANE, rx: wide > 8 ? 3 : 1, class: `bar ${lane.kind} ${bar.tone}` },
    svg("title", {}, bar.title)); // prettier-ignore
}

/** From one lane's edge to the other's; a batch goes there and comes back. */
function linkOf(link, x, y) {
  const down = link.toLane > link.fromLane;
  const start = y(link.fromLane) + (down ? LANE : 0), end = y(link.toLane) + (down ? 0 : LANE);
  const a = x(link.from), b = Math.max(x(link.to), a);
  const middle = (start + end) / 2;
  const path = `M${a} ${start}C${a} ${middle} ${b} ${middle} ${b} ${end}`;
  return svg("path", { d: path, class: `link ${link.event.type} ${link.event.back ? "back" : ""}` });
}

function pinsOf(view, pins, x, y, width, choose) {
  const group = svg("g", {});
  const sorted = pins.toSorted((a, b) => a.x - b.x);
  sorted.forEach((pin, i) => {
    const at = x(pin.x), top = y(pin.lane) - PIN - 4;
    const room = Math.min(x(sorted[i + 1]?.x ?? Infinity), width) - at;
    group.append(pinOf(view, pin, at, top, room, choose));
  });
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const all = [...group.children], next = all[all.indexOf(document.activeElement) + step];
    if (!step || !next) return;
    event.preventDefault();
    next.focus();
  });
  const current = group.querySelector(".chosen") ?? group.firstChild;
  current?.setAttribute("tabindex", 0);
  return group;
}

function pinOf(view, pin, at, top, room, choose) {
  const { event } = pin, key = pinKey(event), label = reason(event.kind);
  const shape = pin.tone === "fault" ? `M0 0H${PIN}L${PIN / 2} ${PIN}Z` : `M0 0h${PIN}v${PIN * 0.6}h-${PIN}Z`;
  const text = room > label.length * 6.2 + 12 && svg("text", { x: PIN / 2 + 11, y: 9, class: "pin-name" }, label);
  const node = svg("g", {
    class: `pin ${pin.tone} ${key === view.chosen ? "chosen" : ""}`, transform: `translate(${at - PIN / 2} ${top})`,
    role: "button", tabindex: -1, "aria-label": sentence(event), "data-pin": key, "data-kind": event.kind, "data-step": event.step,
    on: { focus: () => choose(event), pointerenter: () => choose(event), click: () => choose(event) },
  }, svg("path", { d: shape }), text, svg("title", {}, sentence(event))); // prettier-ignore
  return node;
}

function axis(shapes, x, height, width) {
  const n = Math.max(2, Math.floor(width / 130)), base = height - AXIS + 16;
  const values = ticks(shapes.from, shapes.to, n);
  const marks = values.map((value) => svg("text", { x: x(value), y: base, class: "tick", "text-anchor": value === shapes.from ? "start" : "middle" }, shapes.tick(value)));
  const lines = values.map((value) => svg("line", { x1: x(value), x2: x(value), y1: TOP - 6, y2: height - AXIS + 4, class: "grid" }));
  const unit = svg("text", { x: width - RIGHT, y: base, class: "tick unit", "text-anchor": "end" }, shapes.unit);
  return [...lines, ...marks, unit];
}

/** Round numbers, none so near to the end that it runs into the unit's name. */
function ticks(from, to, n) {
  const raw = (to - from) / n, size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((f) => f * size).find((s) => s >= raw);
  const found = [];
  for (let value = from; value < to - (to - from) / 6; value += step) found.push(value);
  return found;
}

function hatching() {
  const line = svg("path", { d: "M0 6 6 0", class: "hatch" });
  return svg("defs", {}, svg("pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse" }, line));
}

function legendOf(story) {
  const entries = [["gpu solid", "GPU"], ["cpu solid", "CPU"], ["moved", "batch handed over"], ["void", "computed again later"]];
  const shown = entries.filter(([tone]) => tone !== "void" || story.runs.some((run) => run.superseded));
  return shown.map(([tone, name]) => h("span", {}, h("i", { class: `swatch ${tone}` }), name));
}

function summary({ story, job }) {
  if (!story?.runs.length) return job?.attempts.length ? "No step is committed yet." : "It waits for a worker.";
  const split = story.lanes.filter((lane) => lane.steps).map((lane) => `${count(lane.steps)} on ${lane.device}`).join(", ");
  const n = story.batches.length, m = story.moves.length;
  if (!n && !m) return `Steps: ${split}. No fault so far.`;
  return `Steps: ${split}. ${n} ${n === 1 ? "batch was" : "batches were"} handed over, the job changed place ${m} ${m === 1 ? "time" : "times"}. Choose a mark for its reason.`;
}

function modeButtons(view, draw) {
  const buttons = [["steps", "By step"], ["time", "By time"]].map(([mode, name]) =>
    h("button", { type: "button", "aria-pressed": String(mode === view.mode), on: { click: () => set(mode) }, "data-mode": mode }, name));
  function set(mode) {
    view.mode = mode;
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    draw();
  }
  return h("div", { class: "segmented", role: "group", "aria-label": "Axis" }, buttons);
}

function ledgerTable(caption, runs) {
  return table(caption, [
    { name: "Steps", of: (r) => (r.first === r.last ? count(r.first) : `${count(r.first)}–${count(r.last)}`), number: true },
    { name: "Device", of: (r) => r.device },
    { name: "Attempt", of: (r) => r.attempt, number: true },
    { name: "Why it moved", of: (r) => (r.reason ? reason(r.reason) : "") },
    { name: "Counts", of: (r) => (r.superseded ? "no, computed again" : "yes") },
  ], runs); // prettier-ignore
}

function eventTable(caption, story) {
  const all = [...story.batches, ...story.moves].sort((a, b) => a.step - b.step);
  return table(caption, [
    { name: "Step", of: (e) => count(e.step), number: true },
    { name: "Reason", of: (e) => reason(e.kind) },
    { name: "From", of: (e) => e.from },
    { name: "To", of: (e) => e.to },
    { name: "At", of: (e) => e.faultAt && clock(e.faultAt) },
    { name: "Away for", of: (e) => e.seconds != null && seconds(e.seconds), number: true },
    { name: "Message", of: (e) => e.message },
  ], all); // prettier-ignore
}

const pinKey = (event) => `${event.type}-${event.type === "batch" ? event.step : event.attempt}`;
