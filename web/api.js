// The public interface of the gateway, and the tokens that open it. Tokens stay in this tab: sessionStorage, and the
// Authorization header; never a URL, never a cookie.

const KEY = "holdfast-tokens";
const TOKEN = /^hf_[a-z0-9]{4,16}_[A-Za-z0-9_-]{43}$/;

/** A refusal as the gateway words it: title, detail, remedy, request id. */
export class Problem extends Error {
  constructor(status, body, retryAfter = null) {
    super(body.detail ? `${body.title}: ${body.detail}` : body.title);
    this.status = status;
    this.title = body.title;
    this.detail = body.detail ?? "";
    this.remedy = body.remedy ?? "";
    this.requestId = body.request_id ?? null;
    this.retryAfter = retryAfter;
  }

  /** From an answer and its body's text, whether or not it is a problem document. */
  static of(status, statusText, text, headers) {
    let body = null;
    try { body = JSON.parse(text); } catch { /* not JSON: told as it is */ }
    if (!body || typeof body.title !== "string") body = { title: `${status} ${statusText}`.trim(), detail: text.slice(0, 500) };
    return new Problem(status, { request_id: headers?.get("x-request-id"), ...body }, headers?.get("retry-after") ?? null);
  }
}

/** The tokens of this tab: [text]. */
export function tokens() {
  try {
    const found = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
    return Array.isArray(found) ? found.filter((one) => typeof one === "string") : [];
  } catch {
    return [];
  }
}

/** Why `text` is no token, in words; null where it may be one. */
export function tokenProblem(text) {
  if (!text) return "token is empty: paste what `holdfast token new` printed";
  if (text.startsWith("sha256:")) return "token is its hash, which belongs into the stack code: paste the line that starts with hf_";
  return TOKEN.test(text) ? null : "token has another form: hf_, an id, _ and 43 characters, as `holdfast token new` prints it";
}

export function addToken(text) {
  sessionStorage.setItem(KEY, JSON.stringify([...new Set([...tokens(), text])]));
  opened.clear();
}

export function removeToken(text) {
  sessionStorage.setItem(KEY, JSON.stringify(tokens().filter((one) => one !== text)));
  opened.clear();
}

/** The part of a token that names it, for people. */
export const tokenName = (text) => text.split("_")[1] ?? "?";

const opened = new Map(); // endpoint → token that is known to open it

/** Headers that open `endpoint`: the token known for it, else the first. */
export function authorization(endpoint) {
  const token = tokenFor(endpoint);
  return token ? { authorization: `Bearer ${token}` } : {};
}

export const tokenFor = (endpoint) => opened.get(endpoint) ?? tokens()[0] ?? null;

async function json(path, headers = {}, options = {}) {
  const response = await fetch(path, { headers, cache: "no-cache", ...options });
  const text = await response.text();
  if (!response.ok) throw Problem.of(response.status, response.statusText, text, response.headers);
  return JSON.parse(text);
}

/** All endpoints that this tab's tokens open, and the public ones, by name. Learns which token opens which. */
export async function endpoints() {
  const found = new Map();
  const open = (await json("/v1/endpoints")).endpoints;
  for (const one of open) found.set(one.name, one);
  for (const token of tokens()) {
    const listed = await json("/v1/endpoints", { authorization: `Bearer ${token}` });
    for (const one of listed.endpoints) {
      if (!found.has(one.name)) opened.set(one.name, token);
      found.set(one.name, one);
    }
  }
  return [...found.values()].sort((a, b) => a.name.localeCompare(b.name));
}

/** One endpoint. Tries every token before it gives up with the last refusal. */
export async function endpoint(name, signal) {
  const path = `/v1/endpoints/${encodeURIComponent(name)}`;
  const known = opened.get(name);
  const candidates = [...new Set([...(known ? [known] : []), ...tokens(), null])]; // the known one may open no longer
  let refusal = null;
  for (const token of candidates) {
    try {
      const found = await json(path, token ? { authorization: `Bearer ${token}` } : {}, { signal });
      if (token && found.visibility !== "public") opened.set(name, token);
      return found;
    } catch (error) {
      if (!(error instanceof Problem) || ![401, 403].includes(error.status)) throw error;
      refusal ??= error;
    }
  }
  throw refusal;
}

let templatesAsked = null;
/** The catalogue; empty where this gateway has none. Asked for once. */
export function templates() {
  templatesAsked ??= json("/v1/templates").then((found) => found.templates, (error) => {
    templatesAsked = null;
    if (error instanceof Problem && error.status === 404) return [];
    throw error;
  });
  return templatesAsked;
}

const described = new Map();
/** One template in full. */
export function template(name) {
  if (!described.has(name)) {
    described.set(name, json(`/v1/templates/${encodeURIComponent(name)}`).catch((error) => {
      described.delete(name);
      throw error;
    }));
  }
  return described.get(name);
}

/** The state of a submitted request; the gateway holds the question up to `wait` seconds. */
export const job = (id, name, wait, signal) => json(`/requests/${encodeURIComponent(id)}?wait=${wait}`, authorization(name), { signal });

export const cancelJob = (id, name) => fetch(`/requests/${encodeURIComponent(id)}`, { method: "DELETE", headers: authorization(name) });

/** The OpenAPI document of the gateway itself. */
export const gatewayInterface = () => json("/openapi.json");

/** A document about one endpoint, opened with whichever token opens the endpoint. */
async function about(name, part, signal) {
  if (!opened.has(name)) await endpoint(name, signal);
  return json(`/v1/endpoints/${encodeURIComponent(name)}/${part}`, authorization(name), { signal });
}

/** The container's own OpenAPI document. Refused with 404 where it told none. */
export const containerInterface = (name) => about(name, "openapi.json");

/** What happened to an endpoint's replicas, oldest first. */
export const events = (name, signal) => about(name, "events", signal).then((found) => found.events);

/** The last lines of its replicas: {container, replicas: [{replica, text}]}. Only with a token. */
export const logs = (name, signal) => about(name, "logs?tail=100", signal);

/** The price table that the component library works with. */
export const prices = () => json("/page/prices.json");
