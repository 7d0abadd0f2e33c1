// Line charts on uPlot in the page's own colours, each with its numbers as a table.

import { h } from "./dom.js";
import { count, number } from "./format.js";
import { asTable, table } from "./parts.js";
import { colour } from "./theme.js";
import uPlot from "./vendor/uPlot.esm.js";

const DASH = { line: [], baseline: [6, 4], faint: [2, 3] };
const DOTS_UP_TO = 40;
const HEIGHT = 260,
  LEGEND = 36;
const WHOLE = [1, 2, 5].flatMap((n) => [0, 1, 2, 3, 4].map((power) => n * 10 ** power)).sort((a, b) => a - b);

/** series: [{name, colour, kind}] of the columns that `update([xs, ...ys])` gets. */
export function lineChart(title, series, options = {}) {
  const box = h("div", { class: "chart", role: "img", "aria-label": title });
  box.style.minHeight = `${(options.height ?? HEIGHT) + LEGEND}px`;
  const rows = asTable(title, (caption) => numbers(caption, series, data, options));
  let plot = null,
    data = [[]],
    marks = [];

  function make() {
    plot?.destroy();
    plot = null;
    if (!box.clientWidth || !data[0].length) return;
    plot = new uPlot(
      settings(box.clientWidth, series, options, () => marks, data),
      data,
      box,
    );
  }

  function resize() {
    if (!plot) make();
    else if (plot.width !== box.clientWidth) plot.setSize({ width: box.clientWidth, height: plot.height });
  }

  new ResizeObserver(resize).observe(box);
  const restyle = () => box.isConnected && make();
  document.addEventListener("eegq:theme", restyle);
  return {
    node: h("div", {}, box, rows.node),
    update(columns, at = []) {
      marks = at;
      const grew = plot && columns[0].length > DOTS_UP_TO !== data[0].length > DOTS_UP_TO;
      data = columns;
      if (plot && !grew) plot.setData(columns);
      else make();
      box.setAttribute("aria-label", `${title}: ${spoken(series, columns)}`);
      rows.refresh();
    },
    close() {
      document.removeEventListener("eegq:theme", restyle);
      plot?.destroy();
    },
  };
}

function settings(width, series, options, marks, data) {
  const ink = colour("ink-2"),
    grid = colour("line");
  const ruler = {
    stroke: ink,
    grid: { stroke: grid, width: 1 },
    ticks: { stroke: grid, width: 1 },
    font: "12px system-ui, sans-serif",
  };
  const few = data[0].length <= DOTS_UP_TO;
  return {
    width,
    height: options.height ?? HEIGHT,
    scales: { x: { time: false, range: options.xRange }, y: { range: padded } },
    axes: [
      {
        ...ruler,
        label: options.x ?? "epoch",
        labelSize: 20,
        labelFont: "12px system-ui, sans-serif",
        incrs: WHOLE,
        values: (_, ticks) => ticks.map(count),
      },
      { ...ruler, size: 58, values: (_, ticks) => ticks.map(number) },
    ],
    cursor: { drag: { x: true, y: false }, points: { size: 7 } },
    legend: { live: true },
    series: [
      { label: options.x ?? "epoch", value: (u, v, _, at) => count(at == null ? u.data[0].at(-1) : v) },
      ...series.map((one) => ({
        label: one.name,
        stroke: () => colour(one.colour),
        width: one.kind === "faint" ? 1.5 : 2,
        dash: DASH[one.kind ?? "line"],
        points: { show: few && (one.kind ?? "line") === "line", size: 5 },
        spanGaps: true,
        value: (u, v, s, at) => number(at == null ? last(u.data[s]) : v),
      })),
    ],
    hooks: { drawClear: [(u) => drawMarks(u, marks())] },
  };
}

/** Where the job met a fault: a thin line across the curve. */
function drawMarks(u, marks) {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.strokeStyle = colour("fault");
  ctx.globalAlpha = 0.35;
  ctx.lineWidth = devicePixelRatio;
  for (const mark of marks) {
    const at = u.valToPos(mark, "x", true);
    if (at < bbox.left || at > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(at, bbox.top);
    ctx.lineTo(at, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

/** What the legend shows while nobody points at the chart. */
const last = (values) => values.findLast((value) => value != null);

function padded(_, min, max) {
  if (min == null) return [0, 1];
  const room = (max - min || Math.abs(max) || 1) * 0.08;
  return [min - room, max + room];
}

function numbers(caption, series, data, options) {
  const columns = [
    { name: options.x ?? "epoch", of: (i) => data[0][i], number: true },
    ...series.map((one, s) => ({ name: one.name, of: (i) => number(data[s + 1]?.[i]), number: true })),
  ];
  return table(
    caption,
    columns,
    data[0].map((_, i) => i),
  );
}

function spoken(series, columns) {
  const last = columns[0].length - 1;
  if (last < 0) return "no value yet";
  return series.map((one, i) => `${one.name} ${number(columns[i + 1][last])}`).join(", ") + `, at ${columns[0][last]}`;
}
