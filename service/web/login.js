// The door: a key once, a cookie that scripts cannot read from then on.

import { post } from "./api.js";
import { h, say } from "./dom.js";

export function login(then) {
  const key = h("input", {
    id: "key",
    type: "password",
    autocomplete: "current-password",
    required: true,
    spellcheck: "false",
  });
  const problem = h("p", { class: "problem", role: "alert" });
  const form = h(
    "form",
    { class: "card login" },
    h("img", { src: "web/icon.svg", alt: "", width: 48, height: 48 }),
    h("h1", {}, "eegq"),
    h("p", { class: "quiet" }, "Trains EEG models from a queue. What fails on a GPU goes on on the CPU."),
    h("label", { for: "key" }, "API key"),
    key,
    problem,
    h("button", { class: "primary", type: "submit" }, "Log in"),
    h(
      "p",
      { class: "quiet small" },
      "The service says at its start in which file the keys are. ",
      "Beside a local one: ",
      h("code", {}, "cat .eegq/keys.json"),
    ),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await post("session", { key: key.value });
      then();
    } catch (error) {
      say(problem, error.status === 401 ? "This key is not known." : error.message);
      key.select();
    }
  });
  setTimeout(() => key.focus());
  return h("main", { class: "door" }, form);
}
