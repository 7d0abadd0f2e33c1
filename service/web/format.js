// Numbers, times and names as a person reads them.

const DAY_S = 86_400;
const REASONS = {
  out_of_memory: "out of memory",
  non_finite: "not finite",
  kernel_failed: "kernel failed",
  context_lost: "context lost",
  device_lost: "device lost",
  hardware: "hardware fault",
  unsupported: "card not supported",
  wrong_result: "wrong result",
  hang: "hung",
  killed: "trainer died",
  host_memory: "host out of memory",
  stopped: "worker told to stop",
  worker_lost: "worker lost",
  storage: "storage",
  spec: "spec refused",
  data: "data",
  user_code: "user code",
  diverged: "diverged",
  internal: "internal error",
  poison: "crashed too often",
};

export const reason = (kind) => REASONS[kind] ?? (kind ?? "").replaceAll("_", " ");

export function seconds(value) {
  if (value == null || !Number.isFinite(value)) return "–";
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 90) return `${Math.round(value)} s`;
  if (value < 5400) return `${Math.floor(value / 60)} min ${String(Math.round(value % 60)).padStart(2, "0")} s`;
  if (value < 2 * DAY_S)
    return `${Math.floor(value / 3600)} h ${String(Math.floor((value % 3600) / 60)).padStart(2, "0")} min`;
  return `${Math.floor(value / DAY_S)} days`;
}

/** "just now", "4 min", "3 h", "2 days": how long ago. */
export function age(moment, now = Date.now()) {
  const s = (now - Date.parse(moment)) / 1000;
  if (s < 5) return "just now";
  if (s < 60) return `${Math.floor(s)} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < DAY_S) return `${Math.floor(s / 3600)} h ago`;
  return `${Math.floor(s / DAY_S)} d ago`;
}

export const clock = (moment) => new Date(moment).toLocaleTimeString([], { hour12: false });
export const moment = (text) => (text ? new Date(text).toLocaleString([], { hour12: false }) : "–");
export const count = (n) => (n == null ? "–" : Math.round(n).toLocaleString("en"));
export const many = (n, one, more = `${one}s`) => `${count(n)} ${n === 1 ? one : more}`;

/** Four significant digits, without an exponent where one can do without it. */
export function number(value) {
  if (value == null || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e-4 && size < 1e6 ? String(Number(value.toPrecision(4))) : value.toExponential(2);
}

export function bytes(n) {
  if (n < 1024) return `${n} B`;
  if (n < 1024 ** 2) return `${(n / 1024).toFixed(1)} kB`;
  if (n < 1024 ** 3) return `${(n / 1024 ** 2).toFixed(1)} MB`;
  return `${(n / 1024 ** 3).toFixed(2)} GB`;
}

export const taskName = (task) =>
  typeof task === "string" ? task.replace("challenge", "Challenge ") : `${task.kind} windows, ${task.target}`;

/** Every accelerator is a GPU to a reader; its own name stays beside. */
export const kindOf = (device) => (device === "cpu" || device?.startsWith("cpu") ? "cpu" : "gpu");
export const shortId = (id) => id.replace("job_", "").slice(0, 8);
