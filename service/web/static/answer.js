/** What a request was answered with, and how a terminal would send it. */

import { hasKey } from "./api.js";
import { element, listing } from "./dom.js";
import { bars } from "./scores.js";
import { indented } from "./tensors.js";

/** A longer one is cut off on the page: laying it out would take the browser longer than the model. */
const LONGEST = 50_000;

export const nothingYet = () => element("p", { class: "hint" }, "The answer will be here.");

/**
 * @param {import("./api.js").Answer} answer
 * @param {{path: string, body: string}} sent
 * @param {import("./scores.js").Scores | null} scores
 */
export function shown(answer, sent, scores) {
  return [
    element("p", { class: "status" }, badge(answer), ...facts(answer).map((fact) => element("span", {}, fact))),
    ...(scores ? [bars(scores)] : []),
    titled("Answer", listing("The answer", cut(isJson(answer.text) ? indented(answer.text) : answer.text))),
    curl(sent),
  ];
}

/** In one sentence, to be read aloud. */
export const spoken = (answer) => `${answer.status} ${answer.reason}, after ${milliseconds(answer.milliseconds)}`;

function badge({ status, reason }) {
  return element("strong", { class: status < 400 ? "badge good" : "badge bad" }, `${status} ${reason}`);
}

function facts({ milliseconds: took, timing, text }) {
  const stages = timing.split(", ").map((stage) => stage.match(/^(\w+);dur=([\d.]+)$/)).filter(Boolean);
  return [
    `${milliseconds(took)} from here`,
    ...stages.map(([, stage, duration]) => `${stage} ${milliseconds(Number(duration))}`),
    bytes(new Blob([text]).size),
  ];
}

function curl({ path, body }) {
  const command = commandOf(path, body);
  const button = element("button", { type: "button", class: "small", click: copy }, "Copy");
  return titled("The same from a terminal", listing("A curl command", cut(command)), button);

  async function copy() {
    try {
      await navigator.clipboard.writeText(command);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed here"; // browsers keep the clipboard for https and localhost
    }
  }
}

/** As a shell takes it. The key stays out of it. */
export function commandOf(path, body) {
  const key = hasKey() ? ` -H "X-API-Key: $KEY"` : "";
  const address = new URL(path, document.baseURI).href;
  return `curl -s ${quoted(address)}${key} -H 'Content-Type: application/json' -d ${quoted(body)}`;
}

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

function titled(title, ...content) {
  return element("section", { class: "piece" }, element("h4", {}, title), ...content);
}

function isJson(text) {
  return text.startsWith("{") || text.startsWith("[");
}

const cut = (text) => (text.length > LONGEST ? `${text.slice(0, LONGEST)}\n... ${text.length - LONGEST} more` : text);
const milliseconds = (time) => `${time.toFixed(time < 10 ? 2 : 0)} ms`;
const bytes = (count) => (count < 10_000 ? `${count} B` : `${(count / 1024).toFixed(0)} KiB`);
