/** "Try it": the ways in which a model can be asked, one of them at a time, and beside it what comes back. */

import { nothingYet } from "./answer.js";
import { element } from "./dom.js";
import { drawing } from "./drawing.js";
import { isTransformed, plainForm, tensorForm } from "./form.js";
import { kindOf } from "./picture.js";

/**
 * @typedef {Object} Subject
 * @property {string} name
 * @property {string} version
 * @property {{inputs: import("./tensors.js").Spec[], outputs: import("./tensors.js").Spec[], parameters: any}} metadata
 * @property {{infer?: any, predict?: any}} examples requests that the model has answered already
 */

/** @param {Subject} subject */
export function tryIt(subject) {
  const ways = waysOf(subject);
  const chosen = ways.find(({ isFirst }) => isFirst) ?? ways[0];
  const place = element("div", { class: "try" });
  const choose = (way) => {
    const answered = element("div", {}, nothingYet());
    place.replaceChildren(way.make(answered), answered);
  };
  choose(chosen);
  const choices = ways.map((way) =>
    element(
      "label",
      {},
      element("input", { type: "radio", name: "way", checked: way === chosen, change: () => choose(way) }),
      element("span", {}, way.title),
    ),
  );
  return element(
    "section",
    { "aria-labelledby": "try-title" },
    element("h3", { id: "try-title" }, "Try it"),
    element("fieldset", { class: "ways" }, element("legend", { class: "unseen" }, "How to ask"), ...choices),
    place,
  );
}

/** Those that suit the model; one that can be drawn for is drawn for first. */
function waysOf(subject) {
  const kind = kindOf(subject.metadata, subject.examples.infer?.inputs[0]);
  const draw = { title: "Draw", make: (answered) => drawing(subject, kind, answered), isFirst: true };
  const ways = [
    { title: "Tensors", make: (answered) => tensorForm(subject, answered) },
    { title: "Plain JSON", make: (answered) => plainForm(subject, answered), isFirst: isTransformed(subject) },
  ];
  return kind ? [draw, ...ways] : ways;
}
