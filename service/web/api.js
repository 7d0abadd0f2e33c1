// The API, as this page calls it: JSON in, JSON out, problems as exceptions, and what was last known.
// Knows addresses relative to the page, so that a prefix in front of the service does no harm.

import { connection } from "./connection.js";

const REMEMBERED = "eegq:";

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `status ${status}`);
    this.status = status;
    this.hint = body.hint ?? null;
    this.errors = body.errors ?? [];
    this.requestId = body.request_id ?? null;
  }
}

export const address = (path) => new URL(path, document.baseURI).href;

export const get = (path) => call("GET", path);
export const post = (path, body, headers = {}) => call("POST", path, body, headers);
export const del = (path) => call("DELETE", path);

export async function text(path) {
  return (await request("GET", path)).text();
}

/** GET that remembers its answer for this tab: {data, at}; while the service or Redis is away, the last one. */
export async function known(path, read = get) {
  try {
    const data = await read(path);
    const entry = { data, at: Date.now() };
    remember(path, entry);
    return entry;
  } catch (error) {
    const entry = isAway(error) && recall(path);
    if (!entry) throw error;
    return { ...entry, stale: true };
  }
}

/** Every page of a list, up to `limit` rows, as one. */
export async function all(path, limit = 10_000) {
  const rows = [];
  let after = null;
  do {
    const page = await get(path + (after ? `${path.includes("?") ? "&" : "?"}after=${after}` : ""));
    rows.push(...page.data);
    after = page.after;
    if (!page.has_more) break;
  } while (rows.length < limit);
  return { data: rows, after };
}

export const isAway = (error) => !(error instanceof Problem) || error.status === 503;

export function forgetEverything() {
  for (const key of Object.keys(sessionStorage)) if (key.startsWith(REMEMBERED)) sessionStorage.removeItem(key);
}

async function call(method, path, body, headers) {
  const response = await request(method, path, body, headers);
  return response.status === 204 ? null : response.json();
}

async function request(method, path, body, headers = {}) {
  const init = { method, headers: { ...headers } };
  if (body !== undefined) {
    init.headers["Content-Type"] = "application/json";
    init.body = typeof body === "string" ? body : JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(address(path), init);
  } catch (error) {
    connection.lost("service");
    throw error;
  }
  if (response.ok) {
    connection.works();
    return response;
  }
  const problem = new Problem(response.status, await response.json().catch(() => ({})));
  if (response.status === 503) connection.lost("redis", problem.message);
  if (response.status === 401) document.dispatchEvent(new CustomEvent("eegq:unauthenticated"));
  throw problem;
}

function remember(path, entry) {
  try {
    sessionStorage.setItem(REMEMBERED + path, JSON.stringify(entry));
  } catch {
    forgetEverything(); // the browser's room is used up
  }
}

function recall(path) {
  const kept = sessionStorage.getItem(REMEMBERED + path);
  return kept ? JSON.parse(kept) : null;
}
