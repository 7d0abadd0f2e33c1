// Leaderboard: the best validation scores of each challenge beside their baselines, and the best pair.

import { get, post } from "./api.js";
import { h } from "./dom.js";
import { number, shortId, taskName } from "./format.js";
import { icon } from "./icons.js";
import { action, card, table } from "./parts.js";

const ASK_MS = 1000;

export async function open() {
  const { challenges, best_pair: pair } = await get("leaderboard");
  const boards = Object.entries(challenges).map(([name, entries]) => card(taskName(name), board(name, entries)));
  return {
    title: "Leaderboard",
    node: h("div", {}, h("h1", { tabindex: -1, class: "gap-below" }, "Leaderboard"), pairCard(pair), boards),
  };
}

function board(name, entries) {
  if (!entries.length)
    return h(
      "p",
      { class: "quiet" },
      "No job of this challenge has succeeded yet. ",
      h("a", { href: "#/new" }, "Submit one"),
      ".",
    );
  const baseline = (kind) => (e) => number(e.baselines?.[kind]?.nrmse ?? e.baselines?.[kind]);
  return table(
    taskName(name),
    [
      { name: "Place", of: (e) => entries.indexOf(e) + 1, number: true },
      {
        name: "Model",
        of: (e) => [
          h("a", { href: `#/job/${e.job_id}` }, e.model),
          h("span", { class: "sub" }, `${e.dataset} · seed ${e.seed} · by ${e.owner} · ${shortId(e.job_id)}`),
        ],
      },
      { name: "NRMSE", of: (e) => h("strong", {}, number(e.nrmse)), number: true },
      { name: "Predict the mean", of: baseline("training_mean"), number: true },
      {
        name: "Beats it",
        of: (e) =>
          e.beats_the_mean == null
            ? "–"
            : h(
                "span",
                { class: `status ${e.beats_the_mean ? "succeeded" : "failed"}` },
                icon(e.beats_the_mean ? "succeeded" : "failed"),
                e.beats_the_mean ? "yes" : "no",
              ),
      },
      { name: "Held out", of: (e) => heldOut(e.validation) },
    ],
    entries,
  );
}

function heldOut(split) {
  if (split.by === "subject") return `${Math.round(split.fraction * 100)} % of subjects`;
  if (split.by === "release") return `release ${split.releases.join(", ")}`;
  return `fold ${split.fold} of ${split.folds}`;
}

function pairCard(pair) {
  if (!pair)
    return card(
      "Best pair",
      h(
        "p",
        { class: "quiet" },
        "A pair needs one job of each challenge: 0.3 × Challenge 1 + 0.7 × Challenge 2, lower is better.",
      ),
    );
  const link = (id) => h("a", { href: `#/job/${id}` }, shortId(id));
  const done = h("p", { role: "status" });
  return card(
    "Best pair",
    h("p", { class: "figure" }, number(pair.overall)),
    h(
      "p",
      { class: "quiet" },
      "0.3 × Challenge 1 (",
      link(pair.challenge1),
      ") + 0.7 × Challenge 2 (",
      link(pair.challenge2),
      "); lower is better.",
    ),
    action("Build submission.zip", () => build(pair, done), { icon: "download" }),
    done,
  );
}

async function build({ challenge1, challenge2 }, told) {
  let submission = await post("submissions", { challenge1, challenge2 });
  told.textContent = "A worker builds it and tries it out …";
  while (!["done", "failed"].includes(submission.state)) {
    await new Promise((resolve) => setTimeout(resolve, ASK_MS));
    submission = await get(`submissions/${submission.id}`);
  }
  if (submission.state === "failed") throw new Error(submission.error);
  told.replaceChildren(
    "Tried out. ",
    h(
      "a",
      { href: submission.urls.zip.replace(/^\//, ""), download: "submission.zip" },
      icon("download"),
      " submission.zip",
    ),
  );
}
