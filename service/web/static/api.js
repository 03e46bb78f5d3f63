/** The service's API, by addresses relative to the page. The caller's key is kept here, and only in memory. */

/** Milliseconds. Who does not say by then how it is, is not well. */
const PATIENCE = 10_000;

let key = "";

/** @param {string} text from now on sent with every request */
export function useKey(text) {
  key = text;
}

export const hasKey = () => key !== "";

/** An answer that is no success, in the service's own words. */
export class Problem extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

/**
 * @typedef {Object} Answer
 * @property {number} status
 * @property {string} reason the status in words
 * @property {string} text the body
 * @property {number} milliseconds from here to there and back
 * @property {string} timing the service's own times: `decode;dur=0.1, ...`
 */

/**
 * Whatever the status is. With a body the request is a POST.
 *
 * @param {string} path
 * @param {string} [body] JSON
 * @param {AbortSignal} [signal]
 * @returns {Promise<Answer>}
 */
export async function ask(path, body, signal) {
  const headers = key ? { "X-API-Key": key } : {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const started = performance.now();
  const method = body === undefined ? "GET" : "POST";
  const answer = await fetch(path, { method, headers, body, signal, cache: "no-store" });
  const text = await answer.text();
  return {
    status: answer.status,
    reason: answer.statusText,
    text,
    milliseconds: performance.now() - started,
    timing: answer.headers.get("server-timing") ?? "",
  };
}

/** The document that a path answers with. Throws a Problem, or what `fetch` throws where nobody answers. */
export async function read(path, body) {
  const answer = await ask(path, body);
  const document = documentOf(answer);
  if (answer.status >= 400 || document === null) throw new Problem(answer.status, sentenceOf(answer));
  return document;
}

/** Is it ready? Being not ready is an answer, too, whoever gives it. Throws a TypeError where nobody does. */
export async function health() {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new TypeError("no answer in time")), PATIENCE);
  try {
    const answer = await ask("v2/health/ready", undefined, late.signal);
    const state = documentOf(answer);
    return Array.isArray(state?.reasons) ? state : { ready: false, reasons: [sentenceOf(answer)] };
  } finally {
    clearTimeout(timer);
  }
}

/** Null where the body is no JSON: a proxy, and not the service, has written it. */
export function documentOf({ text }) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Of a model's version, for the names that stand in addresses. */
export const infer = (model, version) => `v2/models/${encodeURIComponent(model)}/versions/${version}/infer`;
export const predict = (model, version) => `v1/models/${encodeURIComponent(model)}/versions/${version}:predict`;
export const metadata = (model, version) => `v2/models/${encodeURIComponent(model)}/versions/${version}`;

function sentenceOf(answer) {
  return documentOf(answer)?.error ?? `What stands before the service answers ${answer.status} ${answer.reason}`;
}
