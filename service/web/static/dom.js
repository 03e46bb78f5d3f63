/** What the page is made of. */

/**
 * An element. Functions among the attributes listen to the event that they are named by, true is an attribute without
 * a value, and false or undefined none.
 *
 * @param {string} tag
 * @param {Object<string, string | number | boolean | Function | undefined>} attributes
 * @param {...(Node | string)} children
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (typeof value === "boolean") made.toggleAttribute(name, value);
    else if (value !== undefined) made.setAttribute(name, String(value));
  }
  made.append(...children);
  return made;
}

/** The one element with that id. */
export const the = (id) => document.getElementById(id);

/** What shall be read aloud to whoever does not see it change. */
export function announce(sentence) {
  if (the("announcer").textContent !== sentence) the("announcer").textContent = sentence;
}

/** A table with a caption, a head and rows of texts or nodes. */
export function table(caption, head, rows) {
  return element(
    "table",
    {},
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...head.map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))))),
  );
}

/** A piece of text that may be long: it scrolls by itself, with the keyboard, too. */
export function listing(name, text) {
  return element("pre", { tabindex: 0, role: "group", "aria-label": name }, text);
}
