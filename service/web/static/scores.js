/** The scores of classes in an answer, as bars with their numbers beside them. */

import { element } from "./dom.js";

const MOST_CLASSES = 1000;
const MOST_BARS = 10;

/** @typedef {{labels: string[], shares: number[]}} Scores */

/**
 * Of the first row of the first output that has some; null where none has.
 *
 * @param {import("./tensors.js").Spec[]} specs the outputs that the model promises
 * @param {any} document an answer of infer or of :predict
 * @param {boolean} mayScale whether numbers that are no probabilities may become some
 * @returns {Scores | null}
 */
export function scoresOf(specs, document, mayScale = false) {
  for (const spec of specs) {
    const row = firstRow(spec, document, specs.length === 1);
    if (!row) continue;
    const labels = spec.parameters?.labels ?? row.map((_, position) => String(position));
    if (areShares(row)) return { labels, shares: row };
    if (mayScale) return { labels, shares: softmax(row) };
  }
  return null;
}

/** @param {Scores} scores */
export function best({ labels, shares }) {
  const position = shares.indexOf(Math.max(...shares));
  return `${labels[position]}: ${percent(shares[position])}`;
}

/** Of many classes only the best are shown, the best first. */
export function bars({ labels, shares }) {
  let order = shares.map((_, position) => position);
  if (order.length > MOST_BARS) order = order.sort((one, other) => shares[other] - shares[one]).slice(0, MOST_BARS);
  const highest = Math.max(...shares);
  return element("ol", { class: "bars", "aria-label": "Scores of the classes" }, ...order.map(bar));

  function bar(position) {
    const share = shares[position];
    const length = element("span", { class: "length" });
    length.style.inlineSize = `${100 * share}%`;
    return element(
      "li",
      { class: share === highest ? "best" : "" },
      element("span", { class: "label" }, labels[position]),
      element("span", { class: "track", "aria-hidden": "true" }, length),
      element("span", { class: "share" }, percent(share)),
    );
  }
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function firstRow(spec, document, isOnly) {
  if (!/^FP/.test(spec.datatype)) return null;
  const outputs = Array.isArray(document.outputs) ? document.outputs : []; // columns are told otherwise
  const output = outputs.find((told) => told?.name === spec.name);
  const prediction = document.predictions?.[0];
  const row = output ? rowOf(output) : isOnly && Array.isArray(prediction) ? prediction : prediction?.[spec.name];
  const isRow = Array.isArray(row) && row.length > 1 && row.length <= MOST_CLASSES;
  return isRow && row.every(Number.isFinite) ? row : null;
}

/** All dimensions but the last are 1 for one row; of several rows the first is taken. */
const rowOf = ({ shape, data }) => (shape.length > 1 ? data.flat(Infinity).slice(0, shape.at(-1)) : null);

function areShares(row) {
  const sum = row.reduce((total, share) => total + share, 0);
  return row.every((share) => share >= 0) && Math.abs(sum - 1) < 0.01;
}

function softmax(row) {
  const highest = Math.max(...row);
  const powers = row.map((value) => Math.exp(value - highest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}
