/** The OpenAPI document, for the two pages that others wrote. Where it takes a key, that is asked for first. */

import { Problem, read, useKey } from "./api.js";
import { element, the } from "./dom.js";

/** What a header may hold. */
const ASCII = { pattern: "\\s*[!-~]+\\s*", title: "letters, digits and signs of ASCII" };
/** More items than that are in no sample. */
const MOST_ITEMS = 10;

/** Shows `show(document, key)` as soon as there is a document. */
export async function withDocument(show, key = "") {
  try {
    const document = readable(await read("openapi.json"));
    the("ask").replaceChildren();
    show(document, key);
  } catch (problem) {
    const needsKey = problem instanceof Problem && [401, 403].includes(problem.status);
    the("ask").replaceChildren(needsKey ? asking(problem, show) : complaint(problem));
  }
}

/** Both pages make samples of schemas: one of all numbers of a photograph would keep the browser busy for minutes. */
function readable(document) {
  const isLong = (name, value) => name === "minItems" && value > MOST_ITEMS;
  return JSON.parse(JSON.stringify(document), (name, value) => (isLong(name, value) ? undefined : value));
}

const complaint = ({ message }) => element("p", { role: "alert" }, message);

function asking(problem, show) {
  const field = element("input", { id: "key-field", type: "password", autocomplete: "off", required: true, ...ASCII });
  const submit = (event) => {
    event.preventDefault();
    useKey(field.value.trim());
    withDocument(show, field.value.trim());
  };
  return element(
    "form",
    { class: "panel", submit },
    complaint(problem),
    element("label", { for: "key-field" }, "API key "),
    field,
    element("button", {}, "Use it"),
  );
}
