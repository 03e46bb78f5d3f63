/** Something to draw on: with the mouse, a finger or a pen, or with the keyboard. */

import { announce, element } from "./dom.js";

const SIDE = 280;
const HINT =
  "Draw with the mouse or a finger. With the keyboard: the space bar lowers and lifts the pen, " +
  "arrow keys move it, Delete clears.";
/** What an arrow key moves the pen by. */
const STEP = SIDE / 10;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * `width` is the pen's, as a share of the side. Calls `changed(ink, side)` after every stroke, and while one is drawn;
 * `ink` is null where nothing is drawn.
 */
export class Canvas {
  #changed;
  #width;
  #canvas;
  #cursor;
  #at = { x: SIDE / 2, y: SIDE / 2 };
  #isDown = false;
  #isEmpty = true;

  constructor(width, changed) {
    this.#width = width * SIDE;
    this.#changed = changed;
    this.#canvas = element("canvas", {
      width: SIDE,
      height: SIDE,
      tabindex: 0,
      role: "application",
      "aria-label": "Drawing area",
      "aria-describedby": "drawing-hint",
      pointerdown: (event) => this.#begin(event),
      pointermove: (event) => this.#follow(event),
      pointerup: () => this.#lift(),
      pointercancel: () => this.#lift(),
      keydown: (event) => this.#press(event),
    });
    this.#cursor = element("span", { class: "cursor", "aria-hidden": "true" });
    this.element = element(
      "div",
      { class: "drawing" },
      element("div", { class: "paper" }, this.#canvas, this.#cursor),
      element("button", { type: "button", click: () => this.clear() }, "Clear"),
      element(
        "p",
        { id: "drawing-hint", class: "hint" },
        HINT,
      ),
    );
    this.#context.lineWidth = this.#width;
    this.#context.lineCap = this.#context.lineJoin = "round";
    this.#showCursor();
  }

  clear() {
    this.#context.clearRect(0, 0, SIDE, SIDE);
    this.#isEmpty = true;
    this.#isDown = false;
    this.#showCursor();
    announce("Nothing is drawn");
    this.#changed(null, SIDE);
  }

  get #context() {
    return this.#canvas.getContext("2d", { willReadFrequently: true });
  }

  #begin(event) {
    if (!event.isPrimary || event.button) return; // a second finger would draw a line from the first
    this.#canvas.setPointerCapture(event.pointerId);
    this.#at = this.#place(event);
    this.#isDown = true;
    this.#drawTo(this.#at);
  }

  #follow(event) {
    if (!this.#canvas.hasPointerCapture(event.pointerId)) return;
    for (const step of event.getCoalescedEvents?.() ?? [event]) this.#drawTo(this.#place(step));
    this.#tell();
  }

  #lift() {
    this.#isDown = false;
    this.#showCursor();
    this.#tell();
  }

  #press(event) {
    if (event.key === " ") {
      this.#isDown = !this.#isDown;
      announce(this.#isDown ? "Pen down" : "Pen up");
      if (this.#isDown) this.#drawTo(this.#at);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.clear();
    } else if (event.key in ARROWS) {
      this.#move(...ARROWS[event.key]);
    } else {
      return;
    }
    event.preventDefault(); // the page does not scroll meanwhile
    this.#showCursor();
    this.#tell();
  }

  #move(right, down) {
    const inside = (value) => Math.min(SIDE - this.#width / 2, Math.max(this.#width / 2, value));
    const to = { x: inside(this.#at.x + right * STEP), y: inside(this.#at.y + down * STEP) };
    if (this.#isDown) this.#drawTo(to);
    this.#at = to;
    const percent = (value) => `${Math.round((100 * value) / SIDE)} %`;
    announce(`${percent(to.x)} across, ${percent(to.y)} down`);
  }

  #drawTo(to) {
    const context = this.#context;
    context.strokeStyle = getComputedStyle(this.#canvas).color;
    context.beginPath();
    context.moveTo(this.#at.x, this.#at.y);
    context.lineTo(to.x, to.y);
    context.stroke();
    this.#at = to;
    this.#isEmpty = false;
    this.#showCursor();
  }

  /** Where a pointer is, whatever the canvas's size on the screen. */
  #place(event) {
    const { left, top, width, height } = this.#canvas.getBoundingClientRect();
    return { x: ((event.clientX - left) * SIDE) / width, y: ((event.clientY - top) * SIDE) / height };
  }

  #showCursor() {
    this.#cursor.style.insetInlineStart = `${(100 * this.#at.x) / SIDE}%`;
    this.#cursor.style.insetBlockStart = `${(100 * this.#at.y) / SIDE}%`;
    this.#cursor.classList.toggle("down", this.#isDown);
  }

  #tell() {
    this.#changed(this.#isEmpty ? null : this.#ink(), SIDE);
  }

  /** How much of each point is covered: whatever the colour is, that is its opacity. */
  #ink() {
    const { data } = this.#context.getImageData(0, 0, SIDE, SIDE);
    return Float32Array.from({ length: SIDE * SIDE }, (_, position) => data[4 * position + 3] / 255);
  }
}

/** A small grey picture, for whoever wonders what the model gets to see. */
export function thumbnail(pixels, size, white) {
  const name = `${size} by ${size} pixels`;
  const canvas = element("canvas", { width: size, height: size, class: "thumbnail", role: "img", "aria-label": name });
  const context = canvas.getContext("2d");
  const image = context.createImageData(size, size);
  pixels.forEach((pixel, position) => {
    const grey = 255 - (255 * pixel) / white;
    image.data.set([grey, grey, grey, 255], 4 * position);
  });
  context.putImageData(image, 0, 0);
  return canvas;
}
