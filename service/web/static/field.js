/** A field for JSON: what it is called, what it takes, and what is wrong with what is in it. */

import { element } from "./dom.js";

const MOST_LINES = 10;

export class Field {
  #area;
  #fault;

  /** @param {number} position among the fields of a form; a name may have spaces in it, and an id must not */
  constructor(name, hint, text, position = 0) {
    const id = `field-${position}`;
    this.#area = element("textarea", {
      id,
      rows: Math.min(MOST_LINES, text.split("\n").length + 2),
      placeholder: "JSON",
      spellcheck: "false",
      "aria-describedby": `${id}-hint ${id}-fault`,
    });
    this.#area.value = text;
    this.#fault = element("p", { class: "fault", id: `${id}-fault` });
    this.element = element(
      "div",
      { class: "field" },
      element("label", { for: id }, name),
      element("span", { class: "hint", id: `${id}-hint` }, hint),
      this.#area,
      this.#fault,
    );
  }

  /** Its text, if it is JSON; null after it has been said that it is none. */
  read() {
    try {
      JSON.parse(this.#area.value);
    } catch (error) {
      this.#fault.textContent = `This is no JSON: ${error.message}`;
      this.#area.setAttribute("aria-invalid", "true");
      this.#area.focus();
      return null;
    }
    this.#fault.textContent = "";
    this.#area.removeAttribute("aria-invalid");
    return this.#area.value;
  }
}
