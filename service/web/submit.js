// New job: a form and the spec it writes, checked by the API itself while one types.

import { get, post } from "./api.js";
import { calm, h, say, show } from "./dom.js";
import { count, number } from "./format.js";
import { command } from "./parts.js";
import { START, specFields, withValue } from "./spec_fields.js";

const CHECK_MS = 350;
const SEEDS = /^\s*(\d+)\s*(?:-\s*(\d+)\s*)?$/;
const MOST_SEEDS = 50;

export async function open(_, query) {
  const view = { spec: await first(query.get("from")), models: [], bad: null };
  const fields = specFields((pointer, value) => edit(withValue(view.spec, pointer, value)));
  const json = h("textarea", {
    id: "spec",
    rows: 16,
    spellcheck: "false",
    class: "spec",
    "aria-describedby": "spec-problems",
  });
  const problems = h("div", { id: "spec-problems", role: "alert" });
  const verdict = h("p", { class: "quiet", role: "status" });
  const curl = h("div");
  const seeds = h("input", { id: "seeds", value: String(view.spec.seed ?? 0), autocomplete: "off" });
  const group = h("input", { id: "group", autocomplete: "off", placeholder: "none" });
  const send = h("button", { class: "primary", type: "submit" }, "Submit");
  const check = calm(checkNow, CHECK_MS);
  const form = h(
    "form",
    { class: "two", novalidate: true },
    h(
      "section",
      { class: "card", "aria-label": "Fields" },
      fields.node,
      h(
        "div",
        { class: "fields" },
        field("Seeds", seeds, "one job each: 0, 1-5 or 0,3,7"),
        field("Group", group, "a name to compare the jobs by"),
      ),
      verdict,
      problems,
      h("div", { class: "actions" }, send),
    ),
    h(
      "section",
      { class: "card", "aria-label": "Spec" },
      h("label", { for: "spec" }, "The spec: everything that can be asked for"),
      json,
      h("h2", { class: "gap" }, "The same from a terminal"),
      curl,
    ),
    h("datalist", { id: "models" }),
  );
  json.addEventListener("input", () => editText());
  for (const input of [seeds, group]) input.addEventListener("input", () => check());
  form.addEventListener("submit", submit);

  function edit(spec) {
    view.spec = spec;
    view.bad = null;
    if (document.activeElement !== json) json.value = JSON.stringify(spec, null, 2);
    fields.read(spec);
    show(
      curl,
      command(
        `curl --json '${JSON.stringify(spec)}' \\\n  -H "Authorization: Bearer $EEGQ_KEY" ${new URL("jobs", document.baseURI).href}`,
      ),
    );
    tellModel();
    check();
  }

  function editText() {
    try {
      edit(JSON.parse(json.value));
    } catch (error) {
      view.bad = `The spec is no JSON: ${error.message}`;
      tell([{ pointer: "", detail: view.bad }]);
    }
  }

  async function checkNow() {
    if (view.bad) return;
    try {
      const checked = await post("jobs?dry_run=true", view.spec);
      tell([]);
      const n = seedsOf(seeds.value).length;
      say(
        verdict,
        `In order: ${n === 1 ? "one job" : `${n} jobs`} from ${checked.sources.length} ${checked.sources.length === 1 ? "source" : "sources"}.`,
      );
    } catch (error) {
      tell(error.errors?.length ? error.errors : [{ pointer: "", detail: error.message }]);
    }
  }

  function tell(errors) {
    const left = fields.problems(errors);
    json.setAttribute("aria-invalid", String(left.length > 0));
    show(
      problems,
      left.map((error) =>
        h("p", { class: "problem" }, error.pointer && h("code", {}, error.pointer), " ", error.detail),
      ),
    );
    if (errors.length) say(verdict, "");
    send.disabled = errors.length > 0;
  }

  function tellModel() {
    const model = view.models.find((one) => one.name === view.spec.model?.name);
    fields.note("/model/name", model ? describe(model) : "");
  }

  async function submit(event) {
    event.preventDefault();
    send.disabled = true;
    try {
      const jobs = [];
      for (const seed of seedsOf(seeds.value))
        jobs.push(await post("jobs", withSeed(view.spec, seed, group.value.trim())));
      location.hash =
        jobs.length === 1
          ? `#/job/${jobs[0].id}`
          : `#/jobs${group.value.trim() ? `?tag=${encodeURIComponent(tagOf(group.value.trim()))}` : ""}`;
    } catch (error) {
      tell(error.errors?.length ? error.errors : [{ pointer: "", detail: error.message }]);
    }
  }

  edit(view.spec);
  fillChoices(fields, form.lastChild, view).then(
    () => edit(view.spec),
    () => {},
  );
  return {
    title: "New job",
    node: h("div", {}, h("div", { class: "title-row" }, h("h1", { tabindex: -1 }, "New job")), form),
    close: () => check.stop(),
  };
}

/** Another job's spec with what is no default, or a small one that works. */
async function first(from) {
  if (!from) return START;
  const { spec } = await get(`jobs/${from}`);
  return { ...spec, tags: spec.tags.filter((tag) => !tag.startsWith("group:")) };
}

async function fillChoices(fields, datalist, view) {
  const [models, datasets] = await Promise.all([get("models?works=true"), get("datasets")]);
  view.models = models.data;
  show(
    datalist,
    models.data.map((model) => h("option", { value: model.name }, describe(model))),
  );
  fields.options(
    "/dataset/name",
    datasets.data.map((dataset) => [dataset.name, `${dataset.name} (${dataset.releases.join(", ")})`]),
  );
}

function describe(model) {
  const size = model.n_params ? `${count(model.n_params)} parameters` : "";
  const pace = model.step_ms ? `${number(model.step_ms)} ms a step of 32 on a CPU` : "";
  return [size, pace, model.batch_failover ? "" : "moves as a whole job only"].filter(Boolean).join(", ");
}

/** "1-5", "0, 3, 7" or both, as `eegq submit --seeds` takes them. */
function seedsOf(text) {
  const seeds = text.split(",").flatMap((part) => {
    const found = SEEDS.exec(part);
    if (!found) throw new Error("Seeds: write them as 0, as 1-5 or as 0,3,7.");
    const from = Number(found[1]),
      to = Number(found[2] ?? found[1]);
    return Array.from({ length: Math.min(Math.max(to - from + 1, 0), MOST_SEEDS + 1) }, (_, i) => from + i);
  });
  if (!seeds.length || seeds.length > MOST_SEEDS)
    throw new Error(`Seeds: 1 to ${MOST_SEEDS} of them, the smaller one in front of the dash.`);
  return seeds;
}

const tagOf = (group) => `group:${group}`;
const withSeed = (spec, seed, group) => ({
  ...spec,
  seed,
  tags: [...(spec.tags ?? []), ...(group ? [tagOf(group)] : [])],
});

function field(label, control, hint) {
  return h(
    "div",
    { class: "field" },
    h("label", { for: control.id }, label),
    control,
    h("p", { class: "quiet small" }, hint),
  );
}
