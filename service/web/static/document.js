/** The OpenAPI document, for the two pages that others wrote. Where it takes a key, that is asked for first. */

import { read, useKey } from "./api.js";
import { element, the } from "./dom.js";

/** Shows `show(document, key)` as soon as there is a document. */
export async function withDocument(show, key = "") {
  try {
    const document = await read("openapi.json");
    the("ask").replaceChildren();
    show(document, key);
  } catch (problem) {
    the("ask").replaceChildren(asking(problem, show));
  }
}

function asking(problem, show) {
  const field = element("input", { id: "key-field", type: "password", autocomplete: "off", required: true });
  const submit = (event) => {
    event.preventDefault();
    useKey(field.value.trim());
    withDocument(show, field.value.trim());
  };
  return element(
    "form",
    { class: "panel", submit },
    element("p", { role: "alert" }, problem.message),
    element("label", { for: "key-field" }, "API key "),
    field,
    element("button", {}, "Use it"),
  );
}
