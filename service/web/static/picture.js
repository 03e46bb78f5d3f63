/** What is drawn becomes what a model was trained on: a small grey picture, cropped and centred. */

/**
 * @typedef {Object} Kind of picture that a model takes
 * @property {number} size pixels of each side
 * @property {number} margin pixels that stay empty around what is drawn
 * @property {number} white the value of full ink
 * @property {number} pen its width beside the drawing's height, as in what such models were trained on
 */

/** Points of each side of a pixel that are looked at. */
const POINTS = 8;
const SIDES = { 64: 8, 784: 28 };
const MOST_CLASSES = 62; // digits and letters

/**
 * The kind of picture that may be drawn for a model; null where its one input is none, or its outputs are no classes.
 *
 * @param {{inputs: import("./tensors.js").Spec[], outputs: import("./tensors.js").Spec[]}} metadata
 * @param {{data: any[]}} [example] an input that tells how bright white is
 * @returns {Kind | null}
 */
export function kindOf({ inputs, outputs }, example) {
  const [{ datatype, shape } = {}] = inputs;
  const size = SIDES[shape?.slice(1).reduce((product, length) => product * length, 1)];
  const isSquare = shape?.length === 2 || shape?.filter((length) => length === size).length === 2;
  const isOne = inputs.length === 1 && datatype === "FP32" && (shape[0] === -1 || shape[0] === 1);
  if (!isOne || !size || !isSquare || !outputs.some(hasClasses)) return null;
  const brightest = Math.max(0, ...(example?.data.flat(Infinity) ?? []));
  const white = brightest > 16 ? 255 : brightest > 1 ? 16 : brightest > 0 || size > 8 ? 1 : 16;
  return size > 8 ? { size, white, margin: 4, pen: 0.11 } : { size, white, margin: 0, pen: 0.16 };
}

const hasClasses = ({ datatype, shape }) =>
  /^FP/.test(datatype) && shape.length === 2 && shape[1] > 1 && shape[1] <= MOST_CLASSES;

/**
 * @param {Float32Array} ink 0 to 1, `side` times `side`, row by row
 * @param {number} side
 * @param {Kind} kind
 * @returns {number[]} row by row, rounded to what a label of it would say; all 0 where nothing is drawn
 */
export function downsample(ink, side, { size, margin, white }) {
  const box = bounds(ink, side);
  if (!box) return Array(size * size).fill(0);
  const scale = Math.max(box.right - box.left, box.bottom - box.top) / (size - 2 * margin);
  const left = (box.left + box.right - scale * size) / 2;
  const top = (box.top + box.bottom - scale * size) / 2;
  const digits = white > 1 ? 0 : 3;
  return Array.from({ length: size * size }, (_, pixel) => {
    const grey = average(ink, side, left + (pixel % size) * scale, top + Math.floor(pixel / size) * scale, scale);
    return Number((white * grey).toFixed(digits));
  });
}

/** The smallest box around all ink; null where there is none. */
function bounds(ink, side) {
  let [left, top, right, bottom] = [side, side, 0, 0];
  ink.forEach((grey, position) => {
    if (grey < 0.5) return;
    const [x, y] = [position % side, Math.floor(position / side)];
    left = Math.min(left, x);
    right = Math.max(right, x + 1);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y + 1);
  });
  return right ? { left, top, right, bottom } : null;
}

function average(ink, side, left, top, length) {
  let sum = 0;
  for (let point = 0; point < POINTS * POINTS; point++) {
    const x = Math.floor(left + (((point % POINTS) + 0.5) / POINTS) * length);
    const y = Math.floor(top + ((Math.floor(point / POINTS) + 0.5) / POINTS) * length);
    if (x >= 0 && x < side && y >= 0 && y < side) sum += ink[y * side + x];
  }
  return sum / (POINTS * POINTS);
}
