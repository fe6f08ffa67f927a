// Mouse, pen and fingers on the stage: one draws; two fingers, the middle or right button or the space bar move the picture.
import { turn } from "./wheel.js";

const MIDDLE = 1;
const RIGHT = 2;

export class Pointers {
  #down = new Map(); // pointer → its last place
  #pan = null; // the pointer that moves the picture

  constructor({ stage, view, drawing, cursor, controls }) {
    Object.assign(this, { stage, view, drawing, cursor, controls });
    stage.addEventListener("pointerdown", (event) => this.#press(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    stage.addEventListener("pointerup", (event) => this.#lift(event, () => drawing.finish()));
    stage.addEventListener("pointercancel", (event) => this.#lift(event, () => drawing.abandon()));
    stage.addEventListener("pointerleave", () => cursor.leave());
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  #press(event) {
    this.stage.setPointerCapture(event.pointerId);
    this.stage.focus();
    event.preventDefault();
    this.#down.set(event.pointerId, [event.clientX, event.clientY]);
    if (this.#down.size > 1) return this.drawing.abandon(); // two fingers move the picture
    if (event.button === MIDDLE || event.button === RIGHT || this.stage.dataset.pan) this.#pan = event.pointerId;
    else if (event.button === 0) this.drawing.begin(this.view.point(event));
  }

  #move(event) {
    const before = this.#down.get(event.pointerId);
    if (before) {
      if (this.#down.size === 2) this.#pinch(event, before);
      else if (this.#pan === event.pointerId) this.view.move(event.clientX - before[0], event.clientY - before[1]);
      else this.drawing.extend(wayOf(event).map((part) => this.view.point(part)));
      this.#down.set(event.pointerId, [event.clientX, event.clientY]);
    }
    this.cursor.follow(this.view.point(event).slice(0, 2));
  }

  /** One of two fingers moves: the picture goes along with both. */
  #pinch(event, before) {
    const [other] = [...this.#down].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    const box = this.stage.getBoundingClientRect();
    const distance = (at) => Math.hypot(at[0] - other[0], at[1] - other[1]) || 1;
    const after = [event.clientX, event.clientY];
    this.view.move((after[0] - before[0]) / 2, (after[1] - before[1]) / 2);
    const middle = [(after[0] + other[0]) / 2 - box.left, (after[1] + other[1]) / 2 - box.top];
    this.view.zoom(distance(after) / distance(before), ...middle);
  }

  #lift(event, end) {
    this.#down.delete(event.pointerId);
    if (this.#pan === event.pointerId) this.#pan = null;
    else end();
  }

  #wheel(event) {
    event.preventDefault();
    const box = this.stage.getBoundingClientRect();
    if (event.shiftKey) this.controls.nudgeByWheel(event.altKey ? "hardness" : "size", event);
    else if (event.altKey) this.controls.nudgeByWheel("detail", event);
    else this.view.zoom(1.15 ** turn(event), event.clientX - box.left, event.clientY - box.top);
  }
}

/** All moves of a pointer since the last frame, where the browser tells. */
function wayOf(event) {
  const moves = event.getCoalescedEvents?.() ?? [];
  return moves.length ? moves : [event];
}
