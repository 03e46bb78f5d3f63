/** Tensors as text: how a field is prefilled, and how what is in it becomes a part of a request. */

/**
 * @typedef {Object} Spec as the model's metadata has it
 * @property {string} name
 * @property {string} datatype
 * @property {number[]} shape -1 is a free dimension
 * @property {{labels?: string[]}} [parameters]
 */

/** More zeros than that are of no use to anybody. */
const MOST_ELEMENTS = 10_000;

/** @param {number[]} shape */
export const written = (shape) => `[${shape.join(", ")}]`;

/**
 * What may stand in a field, row by row: the data of an example, or else nothing but zeros, if they are not too many.
 *
 * @param {Spec} spec
 * @param {{shape: number[], data: any[]}} [example]
 */
export function prefilled(spec, example) {
  const shape = example?.shape ?? spec.shape.map((length) => (length < 0 ? 1 : length));
  const count = shape.reduce((product, length) => product * length, 1);
  if (count > MOST_ELEMENTS) return "";
  const data = example ? example.data.flat(Infinity) : Array(count).fill(nothing(spec.datatype));
  return indented(JSON.stringify(shape.length ? nested(data, shape) : data[0]));
}

function nothing(datatype) {
  if (datatype === "BYTES") return "";
  return datatype === "BOOL" ? false : 0;
}

/** `data`, whose last dimension varies fastest, as lists in lists. */
export function nested(data, shape) {
  if (shape.length <= 1) return data;
  const length = data.length / shape[0];
  return Array.from({ length: shape[0] }, (_, row) =>
    nested(data.slice(row * length, (row + 1) * length), shape.slice(1)),
  );
}

/**
 * The JSON of one input. The text itself is sent: a number keeps all its digits.
 *
 * @param {Spec} spec
 * @param {string} text of a field
 */
export function input(spec, text) {
  const value = JSON.parse(text); // throws a SyntaxError
  const data = Array.isArray(value) ? text : `[${text}]`;
  const { name, datatype } = spec;
  const head = JSON.stringify({ name, datatype, shape: shapeOf(value, spec.shape) });
  return `${head.slice(0, -1)},"data":${data.trim()}}`;
}

/** @param {Spec[]} specs @param {string[]} texts */
export function request(specs, texts) {
  return `{"inputs":[${specs.map((spec, position) => input(spec, texts[position])).join(",")}]}`;
}

/**
 * Lists in lists have a shape. One flat list fills what is promised, where at most one dimension is free.
 *
 * @param {any} value
 * @param {number[]} promised
 */
export function shapeOf(value, promised) {
  const shape = [];
  for (let inner = value; Array.isArray(inner); inner = inner[0]) shape.push(inner.length);
  const free = promised.filter((length) => length < 0).length;
  if (shape.length !== 1 || promised.length < 2 || free > 1) return shape;
  const known = promised.reduce((product, length) => (length < 0 ? product : product * length), 1);
  const rest = shape[0] / known;
  return Number.isInteger(rest) ? promised.map((length) => (length < 0 ? rest : length)) : shape;
}

/** JSON as people read it. Only the space between changes: a list of plain values stays on one line. */
export function indented(json) {
  const tokens = json.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  const broken = []; // for each list or object that is open: does it go over lines?
  const line = () => `\n${"  ".repeat(broken.filter(Boolean).length)}`;
  let text = "";
  tokens.forEach((token, position) => {
    const next = tokens[position + 1];
    if (token === "{" || token === "[") {
      broken.push(token === "{" ? next !== "}" : next === "{" || next === "[");
      text += broken.at(-1) ? token + line() : token;
    } else if (token === "}" || token === "]") {
      text += broken.pop() ? line() + token : token;
    } else if (token === ",") {
      text += broken.at(-1) ? token + line() : ", ";
    } else {
      text += token === ":" ? ": " : token;
    }
  });
  return text;
}
