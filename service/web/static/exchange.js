/** One request and its answer. */

import { shown } from "./answer.js";
import { ask, documentOf } from "./api.js";
import { element } from "./dom.js";
import { scoresOf } from "./scores.js";

/**
 * Sends, and shows what comes back; null where nothing does.
 *
 * @param {{path: string, body: string}} sent
 * @param {import("./try.js").Subject} subject
 * @param {Element} answered where the answer goes
 * @param {boolean} [mayScale] whether numbers that are no probabilities may be shown as some
 */
export async function exchange(sent, { metadata }, answered, mayScale = false) {
  let answer;
  try {
    answer = await ask(sent.path, sent.body);
  } catch (error) {
    answered.replaceChildren(element("p", { class: "fault" }, `The service did not answer: ${error.message}`));
    return null;
  }
  const document = answer.status === 200 ? documentOf(answer) : null;
  const scores = document && scoresOf(metadata.outputs, document, mayScale);
  answered.replaceChildren(...shown(answer, sent, scores));
  return { ...answer, scores };
}
