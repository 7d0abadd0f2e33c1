// A job's spec as fields of a form: each reads and writes one place of the spec, named by its JSON pointer.

import { h, say } from "./dom.js";

export const FIELDS = [
  {
    pointer: "/task",
    label: "Task",
    options: [
      ["challenge1", "Challenge 1: response time"],
      ["challenge2", "Challenge 2: externalizing"],
    ],
  },
  { pointer: "/dataset/name", label: "Dataset", options: [] },
  { pointer: "/model/name", label: "Model", list: "models", note: true },
  { pointer: "/training/epochs", label: "Epochs", number: true, default: 20 },
  { pointer: "/training/batch_size", label: "Batch size", number: true, default: 128 },
  { pointer: "/training/lr", label: "Learning rate", number: true, hint: "left empty: as the task has it" },
  {
    pointer: "/placement",
    label: "Runs on",
    options: [
      ["auto", "either pool"],
      ["gpu", "GPU"],
      ["cpu", "CPU"],
    ],
    default: "auto",
  },
  {
    pointer: "/failover",
    label: "When the GPU fails",
    default: "batch_and_job",
    options: [
      ["batch_and_job", "move the batch or the job"],
      ["job", "move the job"],
      ["never", "stay on the GPU pool"],
    ],
  },
];
export const START = {
  task: "challenge1",
  dataset: { name: "demo" },
  model: { name: "SCCNet" },
  training: { epochs: 20, batch_size: 128 },
};

/** A model or dataset may be given by its name alone. */
export function at(spec, pointer) {
  return keys(pointer).reduce(
    (value, key) => (key === "name" && typeof value === "string" ? value : value?.[key]),
    spec,
  );
}

/** The spec with another value there; `undefined` takes the place out. */
export function withValue(spec, pointer, value) {
  const [key, ...rest] = keys(pointer);
  const copy = { ...(typeof spec === "object" ? spec : {}) };
  if (rest.length) copy[key] = withValue(copy[key] ?? {}, `/${rest.join("/")}`, value);
  else if (value === undefined) delete copy[key];
  else copy[key] = value;
  return copy;
}

/** {node, read(spec), problems(errors), options(pointer, options), note(pointer, text)}; `change(pointer, value)` on input. */
export function specFields(change) {
  const cells = new Map(FIELDS.map((field) => [field.pointer, cell(field, change)]));
  return {
    node: h(
      "div",
      { class: "fields" },
      [...cells.values()].map((one) => one.node),
    ),
    read(spec) {
      for (const field of FIELDS) {
        const { control } = cells.get(field.pointer);
        const value = at(spec, field.pointer) ?? field.default ?? "";
        if (document.activeElement !== control && control.value !== String(value)) control.value = value;
      }
    },
    /** Shows each error at its field; those that belong to none are given back. */
    problems(errors) {
      const left = new Set(errors);
      for (const [pointer, { control, problem }] of cells) {
        const own = errors.filter((error) => belongs(error.pointer, pointer));
        own.forEach((error) => left.delete(error));
        say(problem, own.map((error) => error.detail).join(" "));
        control.setAttribute("aria-invalid", String(own.length > 0));
      }
      return [...left];
    },
    options(pointer, options) {
      const { control } = cells.get(pointer);
      const value = control.value;
      control.replaceChildren(...options.map(([key, name]) => h("option", { value: key }, name)));
      control.value = value;
    },
    note: (pointer, text) => say(cells.get(pointer).note, text),
  };
}

function cell(field, change) {
  const id = `field${field.pointer.replaceAll("/", "-")}`;
  const problem = h("p", { class: "problem", id: `${id}-problem`, role: "alert" });
  const note = h("p", { class: "quiet small" }, field.hint ?? "");
  const props = { id, "aria-describedby": `${id}-problem`, name: field.pointer };
  const control = field.options
    ? h(
        "select",
        props,
        field.options.map(([key, name]) => h("option", { value: key }, name)),
      )
    : h("input", {
        ...props,
        list: field.list,
        inputmode: field.number && "decimal",
        spellcheck: "false",
        autocomplete: "off",
      });
  control.addEventListener("input", () => change(field.pointer, parsed(field, control.value.trim())));
  return {
    node: h("div", { class: "field" }, h("label", { for: id }, field.label), control, note, problem),
    control,
    problem,
    note,
  };
}

/** What is no number goes to the API as it is, which says so. */
function parsed(field, text) {
  if (text === "") return undefined;
  return field.number && Number.isFinite(Number(text)) ? Number(text) : text;
}

/** "/dataset" is an error of the field "/dataset/name", and "/task/literal[...]" one of "/task". */
const belongs = (error, field) => error === field || error.startsWith(`${field}/`) || field.startsWith(`${error}/`);

const keys = (pointer) => pointer.slice(1).split("/");
