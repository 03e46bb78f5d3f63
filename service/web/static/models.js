/** What the repository holds: the list, and one version of one model. */

import { element, table } from "./dom.js";
import { written } from "./tensors.js";

/**
 * @typedef {Object} Entry of the repository's index
 * @property {string} name
 * @property {string} [version] missing where a whole model is unavailable
 * @property {"READY" | "UNAVAILABLE"} state
 * @property {string} reason
 */

/** The part of the page's address that names a version. @param {Entry} entry */
export const fragment = ({ name, version }) => `#/${encodeURIComponent(name)}${version ? `/${version}` : ""}`;

/** @param {Entry[]} entries @param {Entry} [chosen] */
export function list(entries, chosen) {
  if (!entries.length) return [element("li", { class: "hint" }, "The repository is empty.")];
  return entries.map((entry) =>
    element(
      "li",
      {},
      element(
        "a",
        { href: fragment(entry), "aria-current": entry === chosen ? "page" : undefined },
        element(
          "span",
          {},
          element("span", { class: "name" }, entry.name, " "),
          ...(entry.version ? [element("span", { class: "version" }, `version ${entry.version}`)] : []),
        ),
        badge(entry),
      ),
    ),
  );
}

/** @param {Entry} entry */
export function heading(entry) {
  return [
    element(
      "div",
      { class: "title" },
      element("h2", {}, entry.name, ...(entry.version ? [element("small", {}, ` version ${entry.version}`)] : [])),
      badge(entry),
    ),
    ...(entry.reason ? [element("p", { class: "reason", tabindex: 0, role: "group", "aria-label": "Reason" }, entry.reason)] : []),
  ];
}

function badge({ state, reason }) {
  if (state === "READY") return element("span", { class: "badge good" }, "ready");
  return element("span", { class: "badge bad" }, reason === "unloaded" ? "taken out" : "refused");
}

/** @param {any} metadata as the service answers it */
export function signature({ inputs, outputs, parameters }) {
  const rows = [
    ...inputs.map((spec) => row("input", spec)),
    ...outputs.map((spec) => row("output", spec)),
  ];
  return element(
    "section",
    { "aria-labelledby": "signature-title" },
    element("h3", { id: "signature-title" }, "Signature"),
    element(
      "div",
      { class: "scrolls", tabindex: 0, role: "group", "aria-label": "Signature" },
      table("In shapes, -1 is a free dimension.", ["Direction", "Name", "Datatype", "Shape", "Classes"], rows),
    ),
    facts(parameters),
  );
}

function row(direction, { name, datatype, shape, parameters }) {
  const code = (text) => element("code", {}, text);
  return [direction, code(name), code(datatype), code(written(shape)), parameters?.labels?.join(", ") ?? ""];
}

function facts({ digest, verified, transform_digest: transform }) {
  const checked = verified ? "listed in its SHA256SUMS" : "no SHA256SUMS beside it";
  const also = transform ? [", with a transform of its own"] : [];
  const beginning = element("code", { title: digest }, `${digest.slice(0, 12)}…`);
  return element("p", { class: "hint" }, "SHA-256 ", beginning, `, ${checked}`, ...also);
}
