// Pictures of many points or bars, drawn once: a scatter on canvas, bars as SVG.

import { h, svg } from "./dom.js";
import { number } from "./format.js";
import { colour } from "./theme.js";

const PAD = { left: 56, right: 12, top: 10, bottom: 40 };
const BAR_HEIGHT = 220;

/** Points [[x, y]] with the ideal line y = x and the level that predicting the mean gives. */
export function scatter(label, points, { x, y, mean }) {
  const canvas = h("canvas", { role: "img", "aria-label": label });
  const box = h("div", { class: "scatter" }, canvas);
  const [low, high] = ends([...points.flat(), mean]);
  const room = (high - low || 1) * 0.05;
  const draw = () =>
    box.clientWidth && paint(canvas, box.clientWidth, points, { x, y, mean, low: low - room, high: high + room });
  new ResizeObserver(draw).observe(box);
  document.addEventListener("eegq:theme", draw);
  return { node: box, close: () => document.removeEventListener("eegq:theme", draw) };
}

function paint(canvas, width, points, frame) {
  const height = Math.min(width, 420),
    ratio = devicePixelRatio;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const ctx = canvas.getContext("2d");
  ctx.scale(ratio, ratio);
  const scale = (value) => (value - frame.low) / (frame.high - frame.low);
  const px = (value) => PAD.left + scale(value) * (width - PAD.left - PAD.right);
  const py = (value) => height - PAD.bottom - scale(value) * (height - PAD.top - PAD.bottom);
  ruler(ctx, frame, px, py, width, height);
  ctx.fillStyle = colour("accent");
  ctx.globalAlpha = Math.max(0.12, Math.min(0.75, 300 / points.length));
  for (const [a, b] of points) {
    ctx.beginPath();
    ctx.arc(px(a), py(b), points.length > 5000 ? 1.5 : 3, 0, 2 * Math.PI);
    ctx.fill();
  }
  ctx.globalAlpha = 1;
  line(ctx, colour("ink-2"), [], [px(frame.low), py(frame.low)], [px(frame.high), py(frame.high)]);
  line(ctx, colour("warn"), [6, 4], [px(frame.low), py(frame.mean)], [px(frame.high), py(frame.mean)]);
}

function ruler(ctx, frame, px, py, width, height) {
  ctx.font = "12px system-ui, sans-serif";
  ctx.textAlign = "center";
  const step = niceStep((frame.high - frame.low) / 5);
  for (let value = Math.ceil(frame.low / step) * step; value < frame.high; value += step) {
    line(ctx, colour("line"), [], [px(value), PAD.top], [px(value), height - PAD.bottom]);
    line(ctx, colour("line"), [], [PAD.left, py(value)], [width - PAD.right, py(value)]);
    ctx.fillStyle = colour("ink-2");
    ctx.fillText(number(value), px(value), height - PAD.bottom + 16);
    ctx.textAlign = "right";
    ctx.fillText(number(value), PAD.left - 8, py(value) + 4);
    ctx.textAlign = "center";
  }
  ctx.fillText(frame.x, (PAD.left + width) / 2, height - 6);
  ctx.save();
  ctx.translate(12, (height - PAD.bottom) / 2);
  ctx.rotate(-Math.PI / 2);
  ctx.fillText(frame.y, 0, 0);
  ctx.restore();
}

function line(ctx, stroke, dash, [x1, y1], [x2, y2]) {
  ctx.strokeStyle = stroke;
  ctx.setLineDash(dash);
  ctx.beginPath();
  ctx.moveTo(x1, y1);
  ctx.lineTo(x2, y2);
  ctx.stroke();
  ctx.setLineDash([]);
}

/** bars: [{name, value}] side by side; `mark` is a level across them, with its name; fewer bars than `slots` stay slim. */
export function barChart(label, bars, { mark, markName, first, last, slots = bars.length } = {}) {
  const high = Math.max(...bars.map((bar) => bar.value), mark ?? 0) || 1;
  const wide = 1000 / Math.max(bars.length, slots),
    y = (value) => BAR_HEIGHT - (value / high) * (BAR_HEIGHT - 8);
  const rects = bars.map((bar, i) =>
    svg(
      "rect",
      {
        x: i * wide + wide * 0.08,
        width: wide * 0.84,
        y: y(bar.value),
        height: BAR_HEIGHT - y(bar.value),
        class: "plot-bar",
      },
      svg("title", {}, `${bar.name}: ${number(bar.value)}`),
    ),
  );
  const level =
    mark != null &&
    svg("line", {
      x1: 0,
      x2: 1000,
      y1: y(mark),
      y2: y(mark),
      class: "plot-mark",
      "vector-effect": "non-scaling-stroke",
    });
  return h(
    "div",
    { class: "bar-chart" },
    h("span", { class: "quiet small" }, number(high)),
    svg(
      "svg",
      { viewBox: `0 0 1000 ${BAR_HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
      rects,
      level,
    ),
    h(
      "div",
      { class: "ends quiet small" },
      h("span", {}, first ?? bars[0]?.name),
      mark != null && h("span", { class: "mark-name" }, `${markName} ${number(mark)}`),
      bars.length >= slots && h("span", {}, last ?? bars.at(-1)?.name),
    ),
  );
}

/** Values in `n` bins of equal width, as bars. */
export function histogram(values, n) {
  const [low, high] = ends(values),
    size = (high - low || 1) / n;
  const counts = new Array(n).fill(0);
  for (const value of values) counts[Math.min(n - 1, Math.floor((value - low) / size))]++;
  return counts.map((value, i) => ({
    name: `${number(low + i * size)} to ${number(low + (i + 1) * size)}`,
    value,
    from: low + i * size,
  }));
}

/** Smallest and largest; spreading a long list into Math.min would overflow the stack. */
function ends(values) {
  return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
}

function niceStep(raw) {
  const size = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((f) => f * size).find((step) => step >= raw);
}
