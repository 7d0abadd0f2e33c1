// Server-sent events, followed while somebody looks: a hidden tab lets go of its connection and catches up later.

import { address } from "./api.js";
import { connection } from "./connection.js";

const TYPES = [
  "submitted",
  "claimed",
  "phase",
  "hello",
  "started",
  "progress",
  "metrics",
  "fault",
  "handed_off",
  "batch_returned",
  "warning",
  "requeued",
  "cancel_requested",
  "paused",
  "resumed",
  "succeeded",
  "failed",
  "cancelled",
  "deleted",
];
export const FINAL = new Set(["succeeded", "failed", "cancelled", "deleted"]);

/** Every event of every job, as {job, type}; `catchUp` after each gap. Returns what ends it. */
export const followAll = (hear, catchUp) =>
  follow(
    () => "events",
    hear,
    catchUp,
    () => false,
  );

/** One job's events after `start`; ends by itself with the job. `catchUp` after each gap: only progress can be missing. */
export function followJob(jobId, start, hear, catchUp) {
  let last = start;
  const path = () => `jobs/${jobId}/events${last ? `?after=${last}` : ""}`;
  const heard = (event) => {
    if (event.id) last = event.id;
    hear(event);
  };
  return follow(path, heard, catchUp, (event) => FINAL.has(event.type));
}

function follow(path, hear, catchUp, isLast) {
  let source = null,
    ended = false,
    gap = false;

  function open() {
    if (source || ended || document.hidden) return;
    source = new EventSource(address(path()));
    for (const type of TYPES) source.addEventListener(type, take);
    source.addEventListener("unavailable", () => connection.lost("redis"));
    source.addEventListener("available", () => {
      connection.works();
      catchUp();
    });
    source.addEventListener("open", () => {
      if (gap) catchUp();
      gap = false;
    });
    source.addEventListener("error", () => (gap = true));
  }

  function take(message) {
    const event = JSON.parse(message.data);
    hear(event);
    if (isLast(event)) stop();
  }

  function close() {
    source?.close();
    source = null;
  }

  function look() {
    if (document.hidden) {
      gap = true;
      close();
    } else open();
  }

  /** The browser gives up on an answer that is no stream (a restart behind a proxy): begin again. */
  function again() {
    if (source?.readyState === EventSource.CLOSED) {
      close();
      open();
    }
  }

  function stop() {
    ended = true;
    close();
    document.removeEventListener("visibilitychange", look);
    connection.removeEventListener("back", again);
  }

  document.addEventListener("visibilitychange", look);
  connection.addEventListener("back", again);
  open();
  return stop;
}
