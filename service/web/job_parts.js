// The quieter parts of a job's page: attempts, files, spec, the log's end, and why it failed.

import { address, text } from "./api.js";
import { h, say } from "./dom.js";
import { bytes, clock, reason, seconds } from "./format.js";
import { icon } from "./icons.js";
import { card, table } from "./parts.js";

const LOG_LINES = 200,
  LOG_MS = 3000;

export function failureCard(job) {
  const { error } = job;
  return h(
    "section",
    { class: "card alarm", role: "alert" },
    h("h2", {}, icon("fault"), ` Failed: ${reason(error.kind)}`),
    h("p", {}, error.message),
    error.hint && h("p", {}, h("strong", {}, "What to do: "), error.hint),
  );
}

export function attempts(job) {
  if (!job.attempts.length)
    return h(
      "p",
      { class: "quiet" },
      "None yet: the job waits for a worker. ",
      h("a", { href: "#/pools" }, "Who works?"),
    );
  const took = (a) => seconds(((a.ended_at ? Date.parse(a.ended_at) : Date.now()) - Date.parse(a.started_at)) / 1000);
  return table(
    "Attempts",
    [
      { name: "No.", of: (a) => a.number, number: true },
      { name: "Worker", of: (a) => a.worker },
      { name: "Device", of: (a) => h("span", { class: `device ${a.pool}` }, a.device) },
      { name: "From step", of: (a) => a.resumed_at_step ?? 0, number: true },
      { name: "Began", of: (a) => clock(a.started_at) },
      { name: "Took", of: took, number: true },
      { name: "Ended", of: (a) => a.outcome ?? "runs" },
      {
        name: "Why",
        of: (a) =>
          a.fault &&
          h(
            "span",
            { title: a.fault.message },
            reason(a.fault.kind),
            h("span", { class: "sub clip" }, a.fault.message),
          ),
      },
    ],
    job.attempts,
  );
}

export function files(job, artifacts) {
  const always = [
    ["metrics.csv", `jobs/${job.id}/metrics?format=csv&max_points=10000`],
    ["ledger.json", `jobs/${job.id}/ledger`],
  ];
  return h(
    "ul",
    { class: "files" },
    artifacts.map((file) => entry(file.name, `jobs/${job.id}/artifacts/${file.name}`, bytes(file.size_bytes))),
    always.map(([name, path]) => entry(name, path, "")),
  );
}

function entry(name, path, size) {
  return h(
    "li",
    {},
    h("a", { href: address(path), download: name }, icon("download"), name),
    h("span", { class: "quiet" }, size),
  );
}

export function specCard(job) {
  const json = JSON.stringify(job.spec, null, 2);
  const button = h("button", { class: "quiet-button", type: "button" }, icon("copy"), h("span", {}, "Copy"));
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(json);
    say(button.lastChild, "Copied");
  });
  return card(
    "Spec",
    button,
    h("pre", { class: "json", tabindex: 0, role: "region", "aria-label": "Spec as JSON" }, h("code", {}, json)),
  );
}

/** What the trainer printed last; read only while it is open. */
export function logTail(id) {
  const code = h("code");
  const pre = h("pre", { class: "json log", tabindex: 0, role: "region", "aria-label": "Log" }, code);
  const node = h("details", { class: "card" }, h("summary", {}, "Log"), pre);
  let timer = null;
  async function load() {
    say(code, (await text(`jobs/${id}/logs?tail=${LOG_LINES}`)) || "The trainer has printed nothing.");
  }
  const close = () => clearInterval(timer);
  node.addEventListener("toggle", () => {
    close();
    if (!node.open) return;
    load();
    timer = setInterval(() => document.hidden || load().catch(() => {}), LOG_MS);
  });
  return { node, close };
}
