/** Small pictures of the last two minutes, each with its newest number, and the same as a table. */

import { element, table } from "./dom.js";

const READINGS = 60;
const ROWS = 10;
const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [120, 32];

/** @type {[keyof import("./statistics.js").Reading, string, string][]} */
const CHARTS = [
  ["rate", "Requests", "/s"],
  ["latency", "Mean latency", "ms"],
  ["batch", "Mean batch, rows", ""],
  ["queue", "Mean queue", "ms"],
];

export class Charts {
  #pictures;
  #table;
  #readings = [];

  constructor(pictures, readings) {
    this.#pictures = pictures;
    this.#table = readings;
    this.clear();
  }

  clear() {
    this.#readings = [];
    this.#show();
  }

  /** @param {import("./statistics.js").Reading} reading */
  add(reading) {
    this.#readings = [...this.#readings, { ...reading, time: new Date() }].slice(-READINGS);
    this.#show();
  }

  #show() {
    this.#pictures.replaceChildren(...CHARTS.map((chart) => picture(chart, this.#readings)));
    const rows = this.#readings.slice(-ROWS).reverse().map((reading) => [
      reading.time.toLocaleTimeString(),
      ...CHARTS.map(([what, , unit]) => value(reading[what], unit)),
    ]);
    const caption = rows.length ? "The newest first, every two seconds." : "There is nothing yet.";
    this.#table.replaceChildren(table(caption, ["Time", ...CHARTS.map(([, title]) => title)], rows));
  }
}

function picture([what, title, unit], readings) {
  const values = readings.map((reading) => reading[what]);
  const highest = Math.max(0, ...values.filter((number) => number !== null));
  return element(
    "figure",
    {},
    element("figcaption", {}, title, element("strong", {}, value(values.at(-1) ?? null, unit))),
    svg(values, highest),
    element("small", {}, highest ? `at most ${value(highest, unit)}` : "nothing yet"),
  );
}

/** One line for each stretch without gaps. Its numbers stand beside it, so it is hidden from screen readers. */
function svg(values, highest) {
  const image = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  image.append(drawn("line", { x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5, class: "axis" }));
  const x = (position) => ((READINGS - values.length + position + 0.5) * WIDTH) / READINGS;
  const half = WIDTH / READINGS / 2;
  const y = (number) => HEIGHT - 1 - (highest ? (number / highest) * (HEIGHT - 3) : 0);
  let points = [];
  [...values, null].forEach((number, position) => {
    if (number !== null) {
      points.push([x(position), y(number)]);
    } else if (points.length) {
      const [[left, height]] = points;
      const line = points.length > 1 ? points : [[left - half, height], [left + half, height]];
      image.append(drawn("polyline", { points: line.join(" ") }));
      points = [];
    }
  });
  return image;
}

function drawn(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, text] of Object.entries(attributes)) made.setAttribute(name, text);
  return made;
}

/** Three digits are enough. */
function value(number, unit) {
  if (number === null) return "–";
  return `${number >= 100 ? number.toFixed(0) : Number(number.toPrecision(3))} ${unit}`.trim();
}
