// A window of EEG: its channels below each other, one scale for all.

import { h, svg } from "./dom.js";
import { number } from "./format.js";
import { asTable, table } from "./parts.js";

const WIDTH = 1000,
  ROW = 34;

export function traces({ signal, ch_names: names, sfreq }) {
  const peak = Math.max(...signal.map((row) => Math.max(...row.map(Math.abs)))) || 1;
  const height = ROW * signal.length;
  const lines = signal.map((row, c) =>
    svg("path", { class: "trace", "vector-effect": "non-scaling-stroke", d: path(row, c, peak) }),
  );
  const labels = h(
    "div",
    { class: "trace-names" },
    names.map((name) => h("span", {}, name)),
  );
  const picture = svg(
    "svg",
    {
      viewBox: `0 0 ${WIDTH} ${height}`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": `${names.length} channels over ${number(signal[0].length / sfreq)} s, at most ${number(peak)} µV`,
    },
    lines,
  );
  const numbers = asTable("One window, µV", (caption) =>
    table(
      caption,
      [
        { name: "s", of: (i) => number(i / sfreq), number: true },
        ...names.map((name, c) => ({ name, of: (i) => number(signal[c][i]), number: true })),
      ],
      signal[0].map((_, i) => i),
    ),
  );
  return h("div", {}, h("div", { class: "traces" }, labels, picture), numbers.node);
}

function path(row, c, peak) {
  const x = (i) => ((i / (row.length - 1)) * WIDTH).toFixed(1);
  const y = (value) => (ROW * (c + 0.5) - (value / peak) * ROW * 0.9).toFixed(1);
  return row.map((value, i) => `${i ? "L" : "M"}${x(i)} ${y(value)}`).join("");
}
