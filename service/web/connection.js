// Whether the service and its Redis answer, and the banner that says so with the age of what is shown.

import { h, say } from "./dom.js";
import { seconds } from "./format.js";

const ASK_AGAIN_MS = 1000;
const MESSAGES = {
  redis: "Redis is away: running jobs go on, nothing can be submitted or changed.",
  service: "The service does not answer.",
};

class Connection extends EventTarget {
  away = null;
  goodAt = Date.now();
  #timer = null;

  works() {
    this.goodAt = Date.now();
    if (this.away) this.#change(null);
  }

  lost(what) {
    if (this.away !== what) this.#change(what);
  }

  /** 503 speaks of Redis only where /readyz agrees: a full stream or an unlisted data folder is a 503 too. */
  async #ask() {
    try {
      const ready = await (await fetch(new URL("readyz", document.baseURI))).json();
      if (ready.redis) this.works();
      else this.lost("redis");
    } catch {
      this.lost("service");
    }
  }

  #change(what) {
    const back = this.away && !what;
    this.away = what;
    clearInterval(this.#timer);
    if (what) this.#timer = setInterval(() => this.#ask(), ASK_AGAIN_MS);
    this.dispatchEvent(new CustomEvent("change"));
    if (back) this.dispatchEvent(new CustomEvent("back"));
  }
}

export const connection = new Connection();

export function banner() {
  const words = h("strong"),
    since = h("span");
  const node = h("div", { class: "banner", role: "status", hidden: true }, words, " ", since);
  let timer = null;
  const tick = () => say(since, `What you see was known ${seconds((Date.now() - connection.goodAt) / 1000)} ago.`);
  connection.addEventListener("change", () => {
    node.hidden = !connection.away;
    clearInterval(timer);
    if (!connection.away) return;
    say(words, MESSAGES[connection.away]);
    tick();
    timer = setInterval(tick, 1000);
  });
  return node;
}
