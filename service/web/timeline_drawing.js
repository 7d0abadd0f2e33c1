// The device timeline as SVG: a lane a device, bars of steps, links between lanes, marks for faults that can be focused.
// Draws the shapes of timeline_shapes; knows no job.

import { svg } from "./dom.js";
import { count } from "./format.js";
import { label, sentence } from "./timeline_shapes.js";

const LANE = 30,
  GAP = 34,
  TOP = 40,
  AXIS = 30,
  RIGHT = 14,
  NARROW = 560,
  NAME = 16;
const BAR_MIN = 3,
  PIN = 13,
  LETTER = 6.4;

export const pinKey = (event) => `${event.type}-${event.type === "batch" ? event.step : event.attempt}`;

/** One picture, `width` pixels wide. `choose` is called with the event of a mark that is pointed at or focused. */
export function drawing(story, shapes, width, { chosen, choose, about }) {
  const { lanes } = story;
  const narrow = width < NARROW,
    left = narrow ? 12 : 128,
    gap = GAP + (narrow ? NAME : 0);
  const top = TOP + (narrow ? NAME : 0);
  const height = top + lanes.length * LANE + (lanes.length - 1) * gap + AXIS;
  const x = (value) => left + ((value - shapes.from) / (shapes.to - shapes.from)) * (width - left - RIGHT);
  const y = (lane) => top + lane * (LANE + gap);
  const root = svg("svg", {
    width,
    height,
    viewBox: `0 0 ${width} ${height}`,
    role: "group",
    "aria-label": `Device timeline by ${shapes.unit}. ${about}`,
  });
  root.append(hatching(), ...axis(shapes, x, top, height, width));
  lanes.forEach((_, i) =>
    root.append(svg("rect", { x: left, y: y(i), width: width - left - RIGHT, height: LANE, rx: 5, class: "track" })),
  );
  root.append(...merged(shapes.bars, x).map((bar) => barOf(bar, lanes[bar.lane], x, y)));
  root.append(...apart(shapes.links, x).map((link) => linkOf(link, x, y)));
  lanes.forEach((lane, i) => root.append(...laneName(lane, y(i), left, narrow)));
  root.append(pinsOf(shapes.pins, x, y, width, chosen, choose));
  return root;
}

function laneName(lane, top, left, narrow) {
  const name = svg(
    "text",
    {
      x: narrow ? left : left - 12,
      y: narrow ? top - PIN - 9 : top + 13,
      class: "lane-name",
      "text-anchor": narrow ? "start" : "end",
    },
    narrow ? `${lane.device} · ${count(lane.steps)} steps` : lane.device,
  );
  const steps =
    !narrow &&
    svg("text", { x: left - 12, y: top + 27, class: "lane-steps", "text-anchor": "end" }, `${count(lane.steps)} steps`);
  return [name, steps].filter(Boolean);
}

/** Neighbours of one kind that a pixel cannot tell apart become one: a ledger may have many thousand rows. */
function merged(bars, x) {
  const last = new Map(),
    result = [];
  for (const bar of bars) {
    const key = `${bar.lane} ${bar.tone}`,
      near = last.get(key);
    if (near && x(bar.from) - x(near.to) < 1 && x(bar.from) >= x(near.from) && x(bar.to) - x(bar.from) < BAR_MIN) {
      near.to = Math.max(near.to, bar.to);
      near.title = `${near.title.split("; and more")[0]}; and more`;
    } else result.push(last.set(key, { ...bar }).get(key));
  }
  return result;
}

function barOf(bar, lane, x, y) {
  const from = x(bar.from),
    wide = Math.max(x(bar.to) - from, BAR_MIN);
  return svg(
    "rect",
    { x: from, y: y(bar.lane), width: wide, height: LANE, rx: wide > 8 ? 3 : 1, class: `bar ${lane.kind} ${bar.tone}` },
    svg("title", {}, bar.title),
  );
}

/** Of links that would lie on each other only the first. */
function apart(links, x) {
  const seen = new Set();
  return links.filter((link) => {
    const key = [link.fromLane, link.toLane, Math.round(x(link.from) / 2), Math.round(x(link.to) / 2)].join();
    return !seen.has(key) && seen.add(key);
  });
}

/** From one lane's edge to the other's; a batch goes there and comes back. */
function linkOf(link, x, y) {
  const down = link.toLane > link.fromLane;
  const start = y(link.fromLane) + (down ? LANE : 0),
    end = y(link.toLane) + (down ? 0 : LANE);
  const a = x(link.from),
    b = Math.max(x(link.to), a);
  const middle = (start + end) / 2;
  const path = `M${a} ${start}C${a} ${middle} ${b} ${middle} ${b} ${end}`;
  return svg("path", { d: path, class: `link ${link.event.type} ${link.event.back ? "back" : ""}` });
}

function pinsOf(pins, x, y, width, chosen, choose) {
  const group = svg("g", {});
  const sorted = clusters(pins, x);
  sorted.forEach((pin, i) => {
    const at = x(pin.x),
      top = y(pin.lane) - PIN - 4;
    const next = sorted.slice(i + 1).find((other) => other.lane === pin.lane);
    const room = Math.min(next ? x(next.x) : Infinity, width) - at;
    group.append(pinOf(pin, at, top, room, chosen, choose));
  });
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const all = [...group.children],
      next = all[all.indexOf(document.activeElement) + step];
    if (!step || !next) return;
    event.preventDefault();
    next.focus();
  });
  const current = group.querySelector(".chosen") ?? group.firstChild;
  current?.setAttribute("tabindex", 0);
  return group;
}

/** In the order of their places; those of a kind that would lie on each other are one, with their number. */
function clusters(pins, x) {
  const result = [];
  for (const pin of pins.toSorted((a, b) => a.x - b.x)) {
    const near = result.findLast((other) => other.lane === pin.lane && other.event.kind === pin.event.kind);
    if (near && x(pin.x) - x(near.x) < PIN - 3) near.n += 1;
    else result.push({ ...pin, n: 1 });
  }
  return result;
}

function pinOf(pin, at, top, room, chosen, choose) {
  const { event } = pin,
    key = pinKey(event),
    name = label(event) + (pin.n > 1 ? ` × ${pin.n}` : "");
  const shape = pin.tone === "fault" ? `M0 0H${PIN}L${PIN / 2} ${PIN}Z` : `M${PIN / 2} ${PIN - 9}a4 4 0 1 1-.01 0Z`;
  const text = room > name.length * LETTER + 12 && svg("text", { x: PIN / 2 + 11, y: 9, class: "pin-name" }, name);
  const node = svg(
    "g",
    {
      class: `pin ${pin.tone} ${key === chosen ? "chosen" : ""}`,
      transform: `translate(${at - PIN / 2} ${top})`,
      role: "button",
      tabindex: -1,
      "aria-label": sentence(event) + (pin.n > 1 ? ` And ${pin.n - 1} more here.` : ""),
      "data-pin": key,
      "data-kind": event.kind,
      "data-step": event.step,
      on: { focus: () => choose(event), pointerenter: () => choose(event), click: () => choose(event) },
    },
    svg("path", { d: shape }),
    text,
    svg("title", {}, sentence(event)),
  );
  return node;
}

function axis(shapes, x, top, height, width) {
  const n = Math.max(2, Math.floor(width / 130)),
    base = height - AXIS + 16;
  const step = shapes.round((shapes.to - shapes.from) / n);
  const room = width - RIGHT - (shapes.unit.length + 9) * LETTER;
  const values = Array.from({ length: n + 1 }, (_, i) => shapes.from + i * step).filter((value) => x(value) < room);
  const marks = values.map((value) =>
    svg(
      "text",
      { x: x(value), y: base, class: "tick", "text-anchor": value === shapes.from ? "start" : "middle" },
      shapes.tick(value),
    ),
  );
  const lines = values.map((value) =>
    svg("line", { x1: x(value), x2: x(value), y1: top - 6, y2: height - AXIS + 4, class: "grid" }),
  );
  const unit = svg("text", { x: width - RIGHT, y: base, class: "tick unit", "text-anchor": "end" }, shapes.unit);
  return [...lines, ...marks, unit];
}

function hatching() {
  const line = svg("path", { d: "M0 6 6 0", class: "hatch" });
  return svg("defs", {}, svg("pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse" }, line));
}
