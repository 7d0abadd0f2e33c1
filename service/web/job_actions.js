// What one can do with a job, by the state it is in.

import { del, post } from "./api.js";
import { h } from "./dom.js";
import { action } from "./parts.js";

/** `then` gets the job as the API gives it back. */
export function actions(job, then) {
  const call = (name, body) => async () => then(await post(`jobs/${job.id}/${name}`, body));
  const ended = job.finished_at !== null;
  const paused = job.phase === "paused" && job.status === "queued";
  return [
    !ended &&
      (paused
        ? action("Resume", call("resume"), { icon: "running" })
        : action("Pause", call("pause"), { icon: "paused" })),
    !ended && !job.cancel_requested && action("Cancel", call("cancel"), { icon: "cancelled", class: "danger" }),
    ended && action("Retry", async () => goTo(await post(`jobs/${job.id}/retry`)), {}),
    ended && job.best && action("More epochs", () => more(job), {}),
    h("a", { class: "button", href: `#/new?from=${job.id}` }, "Change and submit"),
    job.status === "succeeded" && h("a", { class: "button primary", href: `#/job/${job.id}/results` }, "Results"),
    ended &&
      action("Delete", () => forget(job), { class: "danger", confirm: "Delete this job and its files for good?" }),
  ];
}

async function more(job) {
  const asked = prompt("How many epochs more?", String(job.spec.training.epochs));
  if (asked) goTo(await post(`jobs/${job.id}/retry`, { epochs: `+${Number.parseInt(asked, 10)}` }));
}

async function forget(job) {
  await del(`jobs/${job.id}`);
  location.hash = "#/jobs";
}

function goTo(job) {
  location.hash = `#/job/${job.id}`;
}
