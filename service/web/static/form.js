/** A request made of a model's signature: tensors for `infer`, or plain JSON for `:predict`. */

import { spoken } from "./answer.js";
import { infer, predict } from "./api.js";
import { announce, element } from "./dom.js";
import { exchange } from "./exchange.js";
import { Field } from "./field.js";
import { indented, prefilled, request, written } from "./tensors.js";

/** Has it a transform? Then nobody here knows what its callers send, but for an example. */
export const isTransformed = ({ metadata }) => "transform_digest" in metadata.parameters;

/** One field for each input. @param {import("./try.js").Subject} subject @param {Element} answered */
export function tensorForm(subject, answered) {
  const { name, version, metadata, examples } = subject;
  const fields = metadata.inputs.map((spec, position) => {
    const example = examples.infer?.inputs.find((given) => given.name === spec.name);
    const free = spec.shape.includes(-1) ? ", -1 is as long as you like" : "";
    return new Field(spec.name, `${spec.datatype} ${written(spec.shape)}${free}`, prefilled(spec, example), position);
  });
  const body = (texts) => request(metadata.inputs, texts);
  return form(infer(name, version), fields, body, subject, answered);
}

/** What a caller has, in rows or columns. @param {import("./try.js").Subject} subject @param {Element} answered */
export function plainForm(subject, answered) {
  const { name, version, metadata, examples } = subject;
  const zeros = (spec) => [spec.name, JSON.parse(prefilled(spec) || "[]")];
  const columns = () => ({ inputs: Object.fromEntries(metadata.inputs.map(zeros)) });
  const example = examples.predict ?? (isTransformed(subject) ? { instances: [] } : columns());
  const hint = "JSON: instances are rows, inputs are columns";
  const field = new Field("Body", hint, indented(JSON.stringify(example)));
  return form(predict(name, version), [field], ([text]) => text, subject, answered);
}

/** `body` makes a request's body of the texts of all fields. */
function form(path, fields, body, subject, answered) {
  const button = element("button", {}, "Send");
  const submit = async (event) => {
    event.preventDefault();
    const texts = fields.map((field) => field.read());
    if (texts.includes(null)) return;
    button.disabled = true;
    const answer = await exchange({ path, body: body(texts) }, subject, answered);
    button.disabled = false;
    announce(answer ? spoken(answer) : "The service did not answer");
  };
  const shortcut = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.currentTarget.requestSubmit();
  };
  return element(
    "form",
    { submit, keydown: shortcut },
    element("p", { class: "path" }, element("code", {}, `POST ${path}`)),
    ...fields.map((field) => field.element),
    element("div", { class: "sending" }, button, element("span", { class: "hint" }, "or Ctrl+Enter in a field")),
  );
}
