/** The service's API, by addresses relative to the page. The caller's key is kept here, and only in memory. */

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
 * @returns {Promise<Answer>}
 */
export async function ask(path, body) {
  const headers = key ? { "X-API-Key": key } : {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const started = performance.now();
  const answer = await fetch(path, { method: body === undefined ? "GET" : "POST", headers, body, cache: "no-store" });
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
  if (answer.status >= 400) throw new Problem(answer.status, sentenceOf(answer));
  return JSON.parse(answer.text);
}

/** Is it ready? Being not ready is an answer, too. */
export async function health() {
  const answer = await ask("v2/health/ready");
  if (![200, 503].includes(answer.status)) throw new Problem(answer.status, sentenceOf(answer));
  return JSON.parse(answer.text);
}

/** Of a model's version, for the names that stand in addresses. */
export const infer = (model, version) => `v2/models/${encodeURIComponent(model)}/versions/${version}/infer`;
export const predict = (model, version) => `v1/models/${encodeURIComponent(model)}/versions/${version}:predict`;
export const metadata = (model, version) => `v2/models/${encodeURIComponent(model)}/versions/${version}`;

function sentenceOf(answer) {
  try {
    return JSON.parse(answer.text).error;
  } catch {
    return `${answer.status} ${answer.reason}`; // whatever stands between has its own words
  }
}
