// Pools & devices: what waits, who works, and whom we trust to.

import { get, known, post } from "./api.js";
import { h, show } from "./dom.js";
import { age, many, moment, number, seconds } from "./format.js";
import { icon } from "./icons.js";
import { action, asTable, card, empty, table } from "./parts.js";

const REFRESH_MS = 2000,
  LATE_S = 15,
  KEPT = 900,
  LATELY = 100,
  MINUTE_S = 60;
const TRUST = {
  healthy: "healthy",
  suspect: "fault",
  quarantined: "failed",
  unsupported: "cancelled",
  paused: "paused",
};
const ORDER = ["gpu", "cpu", "auto"];
const history = []; // of this tab: the API keeps no past

export async function open() {
  const pools = h("div", { class: "pool-row" }),
    workers = h("div"),
    devices = h("div");
  const depth = await depthChart();
  const cards = new Map();
  const waits = h("p", { class: "quiet" });
  tellWaits(waits);

  async function load() {
    const [p, d] = await Promise.all([known("pools"), known("devices")]);
    if (!p.stale)
      history.push({ at: p.at, depths: Object.fromEntries(p.data.data.map((pool) => [pool.pool, pool.depth])) });
    if (history.length > KEPT) history.shift();
    show(
      pools,
      ORDER.map((name) => poolCard(p.data.data.find((pool) => pool.pool === name))),
    );
    show(workers, workerTable(p.data.data.flatMap((pool) => pool.workers)));
    drawDevices(d.data.data);
    depth.update(history);
  }

  /** Kept while they are the same, so that a list of tests that was opened stays open. */
  function drawDevices(list) {
    if (!list.length)
      return show(
        devices,
        empty(
          "No device yet",
          h(
            "p",
            { class: "quiet" },
            "A GPU worker tests its device before it takes a job; what it found will stand here.",
          ),
        ),
      );
    for (const device of list) {
      const key = JSON.stringify(device);
      if (cards.get(device.device)?.key !== key)
        cards.set(device.device, { key, node: deviceCard(device, load, cards.get(device.device)?.node) });
    }
    show(
      devices,
      list.map((device) => cards.get(device.device).node),
    );
  }

  await load();
  const timer = setInterval(() => document.hidden || load().catch(() => {}), REFRESH_MS);
  const node = h(
    "div",
    {},
    h("h1", { tabindex: -1, class: "gap-below" }, "Pools & devices"),
    pools,
    card("Waiting jobs, while this page is open", waits, depth.node),
    card("Workers", workers),
    card("Devices", devices),
  );
  return {
    title: "Pools & devices",
    node,
    close() {
      clearInterval(timer);
      depth.close();
    },
  };
}

/** Of the jobs that began lately; those that wait on are in the pools above. */
async function tellWaits(node) {
  const { data } = await get(`jobs?limit=${LATELY}`);
  const waits = data
    .filter((job) => job.started_at)
    .map((job) => job.durations.queued_s)
    .sort((a, b) => a - b);
  const at = (q) => seconds(waits[Math.min(waits.length - 1, Math.floor(q * waits.length))]);
  if (waits.length)
    node.append(
      `Of the last ${many(waits.length, "job")}, half waited less than ${at(0.5)} in all, and 95 % less than ${at(0.95)}.`,
    );
}

async function depthChart() {
  const { lineChart } = await import("./charts.js");
  const chart = lineChart(
    "Waiting jobs",
    [
      { name: "GPU", colour: "gpu" },
      { name: "CPU", colour: "cpu" },
      { name: "either", colour: "ink-3" },
    ],
    { height: 170, x: "seconds ago", xRange: (_, from) => [Math.min(from ?? 0, -MINUTE_S), 0] },
  );
  return {
    ...chart,
    update(entries) {
      const now = entries.at(-1)?.at ?? 0;
      chart.update([
        entries.map((entry) => Math.round((entry.at - now) / 1000)),
        ...["gpu", "cpu", "auto"].map((pool) => entries.map((entry) => entry.depths[pool] ?? null)),
      ]);
    },
  };
}

function poolCard(pool) {
  const names = { gpu: "GPU pool", cpu: "CPU pool", auto: "Either pool" };
  const ready = pool.workers.filter((worker) => worker.ready).length;
  return h(
    "section",
    { class: "card pool", "aria-label": names[pool.pool] },
    h("h2", {}, h("span", { class: `device ${pool.pool}` }, names[pool.pool])),
    h("p", { class: "figure" }, String(pool.depth)),
    h("p", { class: "quiet" }, pool.depth ? `waiting, the oldest for ${seconds(pool.oldest_s)}` : "nothing waits"),
    pool.pool !== "auto" && h("p", {}, `${many(ready, "worker")} ready, ${pool.running} running`),
    pool.advice &&
      h(
        "p",
        { class: "advice" },
        icon("fault"),
        " ",
        pool.advice.split("`").map((text, i) => (i % 2 ? h("code", {}, text) : text)),
      ),
  );
}

function workerTable(workers) {
  if (!workers.length)
    return empty(
      "No worker",
      h("p", { class: "quiet" }, "Jobs wait until one comes: ", h("code", {}, "python -m worker --pool cpu")),
    );
  const late = (worker) => (Date.now() - Date.parse(worker.seen_at)) / 1000 > LATE_S;
  return table(
    "Workers",
    [
      { name: "Worker", of: (w) => w.name },
      { name: "Pool", of: (w) => h("span", { class: `device ${w.pool}` }, w.pool.toUpperCase()) },
      { name: "State", of: (w) => state(w, late(w)) },
      { name: "Heartbeat", of: (w) => h("span", { title: moment(w.seen_at) }, age(w.seen_at)) },
      { name: "Device", of: (w) => w.info?.device },
      { name: "Takes", of: (w) => w.info?.takes },
      { name: "Readings", of: (w) => readings(w.info?.readings) },
    ],
    workers,
  );
}

function state(worker, late) {
  const [name, word] = late
    ? ["failed", "late"]
    : worker.ready
      ? ["succeeded", "ready"]
      : ["queued", worker.info?.takes !== "jobs" ? `for ${worker.info?.takes}` : "busy or testing"];
  return h("span", { class: `status ${name}` }, icon(name), word);
}

const readings = (all) =>
  Object.entries(all ?? {})
    .filter(([, v]) => typeof v === "number")
    .map(([k, v]) => `${k.replaceAll("_", " ")} ${number(v)}`)
    .join(", ");

function deviceCard(device, load, old) {
  const change = (what) => async () => {
    await post(`devices/${encodeURIComponent(device.device)}/${what}`);
    await load();
  };
  const tests = asTable(`Tests of ${device.device}`, () => testTable(device));
  const failed = device.tests.filter((test) => test.test && test.ok === false).length;
  tests.node.querySelector("summary").textContent = `${many(device.tests.length, "test")}, ${failed} failed`;
  tests.node.open = old?.querySelector("details")?.open ?? false;
  return h(
    "article",
    { class: "device-card" },
    h(
      "h3",
      {},
      device.device,
      " ",
      h("span", { class: `status ${device.health}` }, icon(TRUST[device.health] ?? "fault"), device.health),
    ),
    device.reason && h("p", { class: "quiet clip-3" }, device.reason),
    h(
      "p",
      { class: "quiet small" },
      `since ${moment(device.since)}`,
      device.retest_at && `; tested again ${moment(device.retest_at)}`,
      device.opened > 0 && `; closed off ${many(device.opened, "time")}`,
      device.needs_a_person && "; a person must look",
    ),
    h(
      "div",
      { class: "actions" },
      device.health !== "paused" && action("Pause", change("pause"), { icon: "paused" }),
      device.health !== "healthy" &&
        action(device.health === "paused" ? "Resume" : "Clear", change("clear"), { icon: "succeeded" }),
    ),
    tests.node,
  );
}

function testTable(device) {
  return table(
    `Tests of ${device.device}`,
    [
      { name: "Test", of: (t) => (t.test ?? `can: ${t.capability}`).replaceAll("_", " ") },
      {
        name: "Result",
        of: (t) =>
          h(
            "span",
            { class: `status ${t.ok ? "succeeded" : t.capability ? "queued" : "failed"}` },
            icon(t.ok ? "succeeded" : "failed"),
            t.ok ? "passed" : t.capability ? "cannot" : "failed",
          ),
      },
      { name: "Detail", of: (t) => t.detail },
      { name: "Took", of: (t) => seconds(t.seconds), number: true },
    ],
    device.tests,
  );
}
