/** A request made of a drawing: the model is asked while somebody draws. */

import { nothingYet } from "./answer.js";
import { infer } from "./api.js";
import { Canvas, thumbnail } from "./canvas.js";
import { announce, element } from "./dom.js";
import { exchange } from "./exchange.js";
import { downsample } from "./picture.js";
import { best } from "./scores.js";

/** Milliseconds between two requests. */
const PAUSE = 80;

/**
 * One request at a time: what is drawn meanwhile is what the next one is about.
 *
 * @param {import("./try.js").Subject} subject
 * @param {import("./picture.js").Kind} kind
 * @param {Element} answered
 */
export function drawing(subject, kind, answered) {
  const path = infer(subject.name, subject.version);
  const seen = element("p", { class: "seen hint" });
  let latest = null;
  let isAsking = false;
  const canvas = new Canvas(kind.pen, (ink, side) => {
    latest = ink && downsample(ink, side, kind);
    if (!isAsking) askUntilDone();
  });
  return element(
    "div",
    {},
    element("p", { class: "path" }, element("code", {}, `POST ${path}`)),
    canvas.element,
    seen,
  );

  async function askUntilDone() {
    isAsking = true;
    for (let pixels; pixels !== latest; ) {
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
    const { size, white } = kind;
    const range = `is what the model gets: ${size} by ${size} pixels, 0 to ${white}`;
    seen.replaceChildren(thumbnail(pixels, size, white), range);
    const answer = await exchange({ path, body: bodyOf(pixels) }, subject, answered, true);
    if (answer?.scores) announce(best(answer.scores));
  }

  function bodyOf(data) {
    const [{ name, datatype, shape }] = subject.metadata.inputs;
    return JSON.stringify({ inputs: [{ name, datatype, shape: shape.map(Math.abs), data }] });
  }
}
