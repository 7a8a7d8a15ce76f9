// The server's door: the token, requests, and what went wrong in words.

const KEY = "parallel_ml.token";
const PATIENCE_MS = 20000;
let token = null;

/** What the server refused, or that there is none (status 0). */
export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Take the token of the address, which keeps none then, else the one of this tab. */
export function findToken() {
  const found = /^#token=([A-Za-z0-9._~-]+)$/.exec(location.hash);
  if (found) {
    keepToken(found[1]);
    history.replaceState(null, "", location.pathname);
  }
  token ??= kept();
  return token !== null;
}

/** Use a token, in this tab alone; null is to forget it. */
export function keepToken(given) {
  token = given;
  try {
    if (given === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, given);
  } catch {
    // a browser that keeps nothing: the token holds until the page is loaded anew
  }
}

function kept() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** Return the address of a run, or of what belongs to it. */
export function runPath(run, ...rest) {
  return ["/api/v1/runs", run, ...rest].map((part, place) => (place ? encodeURIComponent(part) : part)).join("/");
}

/** Send a request and return the response. Throws a Problem. */
export async function request(path, { method = "GET", body, headers = {}, signal } = {}) {
  const sent = { Authorization: `Bearer ${token ?? ""}`, ...headers };
  if (body !== undefined) sent["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method, headers: sent, signal, cache: "no-store", credentials: "omit", redirect: "error",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    throw new Problem(0, String(error?.message ?? error));
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

/** Return what a GET answers, as JSON. Throws a Problem. */
export const get = (path) => exchange(path, {});

/** Send JSON and return the answer. Throws a Problem. */
export const post = (path, body) => exchange(path, { method: "POST", body });

async function exchange(path, options) {
  const response = await request(path, { ...options, signal: AbortSignal.timeout(PATIENCE_MS) });
  try {
    return await response.json();
  } catch (error) {
    throw new Problem(0, String(error?.message ?? error));
  }
}

async function problemOf(response) {
  let told = {};
  try {
    told = await response.json();
  } catch {
    // a proxy's page: its status says enough
  }
  const parts = [told?.detail ?? response.statusText, told?.hint].filter(Boolean);
  return new Problem(response.status, parts.join("; "));
}
