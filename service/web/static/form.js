/** "Try it": a request made of a model's signature, or of a drawing, and what comes back. */

import { ask, infer, predict } from "./api.js";
import { shown, spoken } from "./answer.js";
import { Canvas, thumbnail } from "./canvas.js";
import { announce, element } from "./dom.js";
import { downsample, kindOf } from "./picture.js";
import { best, scoresOf } from "./scores.js";
import { indented, input, prefilled, request, written } from "./tensors.js";

/** Milliseconds between two requests while somebody draws. */
const PAUSE = 80;

/**
 * @typedef {Object} Subject
 * @property {string} name
 * @property {string} version
 * @property {{inputs: import("./tensors.js").Spec[], outputs: import("./tensors.js").Spec[], parameters: any}} metadata
 * @property {{infer?: any, predict?: any}} examples requests that the model has answered already
 */

/** @param {Subject} subject */
export function tryIt(subject) {
  const asked = element("div", { class: "asked" });
  const answered = element("div", { class: "answered" }, nothingYet());
  const ways = waysOf(subject, answered);
  const choose = (way) => {
    asked.replaceChildren(way.make());
    answered.replaceChildren(nothingYet());
  };
  const chosen = ways.find(({ isFirst }) => isFirst) ?? ways[0];
  choose(chosen);
  return element(
    "section",
    { "aria-labelledby": "try-title" },
    element("h3", { id: "try-title" }, "Try it"),
    element(
      "fieldset",
      { class: "ways" },
      element("legend", { class: "unseen" }, "How to ask"),
      ...ways.map((way) =>
        element(
          "label",
          {},
          element("input", { type: "radio", name: "way", checked: way === chosen, change: () => choose(way) }),
          element("span", {}, way.title),
        ),
      ),
    ),
    element("div", { class: "try" }, asked, answered),
  );
}

const nothingYet = () => element("p", { class: "hint" }, "The answer will be here.");

/** The forms that suit the model; one that can be drawn for is drawn for first. */
function waysOf(subject, answered) {
  const example = subject.examples.infer?.inputs;
  const kind = kindOf(subject.metadata, example?.[0]);
  const ways = [
    { title: "Tensors", make: () => tensorForm(subject, answered) },
    { title: "Plain JSON", make: () => plainForm(subject, answered), isFirst: isTransformed(subject) },
  ];
  return kind ? [{ title: "Draw", make: () => drawing(subject, kind, answered), isFirst: true }, ...ways] : ways;
}

/** Then nobody here knows what its callers send, but for an example. */
const isTransformed = ({ metadata }) => "transform_digest" in metadata.parameters;

/** One field for each input. */
function tensorForm(subject, answered) {
  const { name, version, metadata, examples } = subject;
  const fields = metadata.inputs.map((spec, position) => {
    const example = examples.infer?.inputs.find((given) => given.name === spec.name);
    const hint = `${spec.datatype} ${written(spec.shape)}${spec.shape.includes(-1) ? ", -1 is as long as you like" : ""}`;
    return field(spec.name, hint, prefilled(spec, example), position);
  });
  return form(`POST ${infer(name, version)}`, fields, () => {
    const texts = fields.map((made) => checked(made, (text, position) => input(metadata.inputs[position], text), fields));
    return texts.includes(null) ? null : { path: infer(name, version), body: request(metadata.inputs, texts) };
  }, subject, answered);
}

/** The typed door: what a caller has, in rows or columns. */
function plainForm(subject, answered) {
  const { name, version, metadata, examples } = subject;
  const columns = () => Object.fromEntries(metadata.inputs.map((spec) => [spec.name, JSON.parse(prefilled(spec) || "[]")]));
  const example = examples.predict ?? (isTransformed(subject) ? { instances: [] } : { inputs: columns() });
  const body = field("Body", "JSON: instances are rows, inputs are columns", indented(JSON.stringify(example)));
  return form(`POST ${predict(name, version)}`, [body], () => {
    const text = checked(body, JSON.parse, [body]);
    return text === null ? null : { path: predict(name, version), body: text };
  }, subject, answered);
}

function field(name, hint, text, position = 0) {
  const id = `field-${position}`; // a name may have spaces in it
  return element(
    "div",
    { class: "field" },
    element("label", { for: id }, name),
    element("span", { class: "hint", id: `${id}-hint` }, hint),
    element("textarea", { id, rows: Math.min(10, text.split("\n").length + 2), placeholder: "JSON", spellcheck: false, "aria-describedby": `${id}-hint ${id}-fault` }, text),
    element("p", { class: "fault", id: `${id}-fault` }),
  );
}

/** The text of a field, or null after it has been said what is wrong with it. */
function checked(made, parse, fields) {
  const area = made.querySelector("textarea");
  const fault = made.querySelector(".fault");
  try {
    parse(area.value, fields.indexOf(made));
    fault.textContent = "";
    area.removeAttribute("aria-invalid");
    return area.value;
  } catch (error) {
    fault.textContent = `This is no JSON: ${error.message}`;
    area.setAttribute("aria-invalid", "true");
    area.focus();
    return null;
  }
}

function form(title, fields, requested, subject, answered) {
  const button = element("button", {}, "Send");
  const submit = async (event) => {
    event.preventDefault();
    const sent = requested();
    if (!sent) return;
    button.disabled = true;
    const answer = await send(sent, subject, answered);
    button.disabled = false;
    announce(answer ? spoken(answer) : "The service did not answer");
  };
  const shortcut = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.currentTarget.requestSubmit();
  };
  return element(
    "form",
    { submit, keydown: shortcut },
    element("p", { class: "path" }, element("code", {}, title)),
    ...fields,
    element("div", { class: "sending" }, button, element("span", { class: "hint" }, "or Ctrl+Enter in a field")),
  );
}

/** Asks while it is drawn, one request at a time: what is drawn meanwhile is what the next one is about. */
function drawing(subject, kind, answered) {
  const [spec] = subject.metadata.inputs;
  const path = infer(subject.name, subject.version);
  const seen = element("p", { class: "seen hint" });
  let latest = null;
  let isAsking = false;
  const canvas = new Canvas(kind.pen, (ink, side) => {
    latest = ink && downsample(ink, side, kind);
    if (!isAsking) predictAll();
  });
  return element("div", {}, element("p", { class: "path" }, element("code", {}, `POST ${path}`)), canvas.element, seen);

  async function predictAll() {
    isAsking = true;
    for (let pixels = undefined; pixels !== latest; ) {
      pixels = latest;
      await show(pixels);
      await new Promise((done) => setTimeout(done, PAUSE));
    }
    isAsking = false;
  }

  async function show(pixels) {
    if (!pixels) {
      seen.replaceChildren();
      answered.replaceChildren(nothingYet());
      return;
    }
    seen.replaceChildren(thumbnail(pixels, kind.size, kind.white), `is what the model gets: ${kind.size} by ${kind.size} pixels, 0 to ${kind.white}`);
    const shape = spec.shape.map((length) => Math.abs(length));
    const body = `{"inputs":[${JSON.stringify({ name: spec.name, datatype: spec.datatype, shape, data: pixels })}]}`;
    const answer = await send({ path, body }, subject, answered, true);
    if (answer?.scores) announce(best(answer.scores));
  }
}

/** Sends, and shows what comes back; null where nothing does. */
async function send(sent, { metadata }, answered, mayScale = false) {
  let answer;
  try {
    answer = await ask(sent.path, sent.body);
  } catch (error) {
    answered.replaceChildren(element("p", { class: "fault" }, `The service did not answer: ${error.message}`));
    return null;
  }
  const scores = answer.status === 200 ? scoresOf(metadata.outputs, JSON.parse(answer.text), mayScale) : null;
  answered.replaceChildren(...shown(answer, sent, scores));
  return { ...answer, scores };
}
