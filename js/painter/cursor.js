// The ring that shows the brush, under the pointer or where the arrow keys have moved it, and the α at that place.
import { isBrush } from "./tools.js";

const SIDE = 8; // px of it where the tool has no brush

/** The nearest point of the picture. */
const onPicture = (point) => point.map((part) => Math.min(1, Math.max(0, part)));

export class Cursor {
  place = [0.5, 0.5]; // on the picture, that the arrow keys move
  #shown = null; // where on the picture the cursor is, or null
  #byKey = false; // whether the arrow keys moved it last

  /** `ring` and `status`: its elements; `view`, `raster`, `settings`: what it shows; `word`: goes before the α, or null: no α is told. */
  constructor({ ring, status, view, raster, settings, word }) {
    Object.assign(this, { ring, status, view, raster, settings, word });
  }

  /** The pointer is at a point of the picture, or outside of it. */
  follow(point) {
    this.#shown = point;
    this.#byKey = false;
    this.place = onPicture(point);
    this.show();
  }

  /** The pointer has left the stage. */
  leave() {
    this.#shown = null;
    this.show();
  }

  /** Move it with the arrow keys by a part of the picture's width; it shows once the view has followed. */
  step([dx, dy], length) {
    const [width, height] = this.view.size;
    this.place = onPicture([this.place[0] + dx * length, this.place[1] + dy * length * (width / height)]);
    this.#shown = this.place;
    this.#byKey = true;
  }

  show() {
    const brush = isBrush(this.settings.tool);
    const { style } = this.ring;
    style.visibility = this.#shown && (brush || this.#byKey) ? "visible" : "hidden";
    if (!this.#shown) return;
    const side = brush ? 2 * this.settings.size * Math.max(...this.view.size) * this.view.scale : SIDE;
    const [x, y] = this.view.onStage(this.#shown);
    style.width = style.height = `${side}px`;
    style.transform = `translate(${x - side / 2}px, ${y - side / 2}px)`;
    const told = this.word && this.#shown.every((part) => part >= 0 && part < 1);
    this.status.textContent = told ? `${this.word} ${this.raster.shownAt(this.#shown).toFixed(2)}` : "";
  }
}
