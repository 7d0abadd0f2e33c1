// The few pictures this dashboard has, drawn as strokes in the colour of the text around them.

import { svg } from "./dom.js";

const PATHS = {
  queued: ["M8 4.5V8l2.5 1.5", "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12Z"],
  running: ["M5.5 3.5v9l7-4.5Z"],
  succeeded: ["M3 8.5 6.5 12 13 4.5"],
  failed: ["M4 4l8 8", "M12 4l-8 8"],
  cancelled: ["M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12Z", "M4 4l8 8"],
  paused: ["M5.5 3.5v9", "M10.5 3.5v9"],
  fault: ["M8 2 14.5 13.5h-13Z", "M8 6.5v3.2", "M8 11.6v.2"],
  healthy: ["M8 13.5C3.5 10.5 2 8.3 2 6a3 3 0 0 1 6-1 3 3 0 0 1 6 1c0 2.3-1.5 4.5-6 7.5Z"],
  download: ["M8 2v8.5", "M4.5 7.5 8 11l3.5-3.5", "M3 14h10"],
  copy: ["M5.5 5.5h8v8h-8Z", "M10.5 5.5v-3h-8v8h3"],
  back: ["M13 8H3", "M7 4 3 8l4 4"],
  theme: ["M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12Z", "M8 2v12", "M8 5l4-1.5M8 8h6M8 11l4 1.5"],
  plus: ["M8 3v10", "M3 8h10"],
};

/** A decoration: the word beside it says the same. */
export function icon(name) {
  const paths = (PATHS[name] ?? PATHS.queued).map((d) => svg("path", { d }));
  return svg("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false" }, paths);
}
