// Two pictures that fit into a table's row: a curve, and where the work was done.

import { h, svg } from "./dom.js";
import { count, kindOf, number } from "./format.js";

const WIDTH = 96,
  HEIGHT = 26,
  PAD = 3;

/** A curve of the values, its baseline dashed, its last value as a dot. */
export function sparkline(values, baseline) {
  const known = values.filter(Number.isFinite);
  if (known.length < 2) return h("span", { class: "quiet" }, "–");
  const all = Number.isFinite(baseline) ? [...known, baseline] : known;
  const low = Math.min(...all),
    high = Math.max(...all);
  const x = (i) => PAD + (i / (known.length - 1)) * (WIDTH - 2 * PAD);
  const y = (value) => HEIGHT - PAD - ((value - low) / (high - low || 1)) * (HEIGHT - 2 * PAD);
  const line = known.map((value, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const label = `validation NRMSE from ${number(known[0])} to ${number(known.at(-1))}`;
  return svg(
    "svg",
    {
      class: "spark",
      width: WIDTH,
      height: HEIGHT,
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      role: "img",
      "aria-label": label,
    },
    Number.isFinite(baseline) &&
      svg("line", { x1: 0, x2: WIDTH, y1: y(baseline), y2: y(baseline), class: "spark-base" }),
    svg("path", { d: line, class: "spark-line" }),
    svg("circle", { cx: x(known.length - 1), cy: y(known.at(-1)), r: 2.4, class: "spark-dot" }),
  );
}

/** {device: steps} as one bar of shares, in words beside it. */
export function deviceBar(steps, total) {
  const entries = Object.entries(steps)
    .filter(([, n]) => n > 0)
    .sort(([a], [b]) => kindOf(b).localeCompare(kindOf(a)));
  const done = entries.reduce((sum, [, n]) => sum + n, 0);
  const whole = Math.max(total ?? 0, done, 1);
  let at = 0;
  const parts = entries.map(([device, n]) => {
    const part = svg(
      "rect",
      { x: at, width: Math.max((n / whole) * 100, 2), height: 8, class: `bar ${kindOf(device)} solid` },
      svg("title", {}, `${count(n)} steps on ${device}`),
    );
    at += (n / whole) * 100;
    return part;
  });
  const words = entries.map(([device, n]) => `${count(n)} ${kindOf(device).toUpperCase()}`).join(" · ");
  return h(
    "span",
    { class: "device-bar" },
    svg(
      "svg",
      { viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", { width: 100, height: 8, class: "track" }),
      parts,
    ),
    h("span", {}, words || "no step yet"),
  );
}
