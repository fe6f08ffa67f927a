// The painting on its map: the shapes so far, and the one that is being drawn.
import { withShape } from "./painting.js";
import { boxOf } from "./raster.js";
import { extendShape, finishShape, startShape } from "./tools.js";

const NOWHERE = { left: 0, top: 0, width: 0, height: 0 };

export class Drawing {
  draft = null; // the shape that is being drawn
  #box = null; // what of it is on the map
  #fresh = 0; // its first point that is not yet on the map

  /**
   * `raster`: the map; `canvas`: shows it and has its size; `history`: of the shapes; `settings`: of tool and brush;
   * `aspect`: width / height of the picture; `changed`: called whenever the shapes have changed.
   */
  constructor({ raster, canvas, history, settings, aspect, changed }) {
    Object.assign(this, { raster, history, settings, aspect, changed });
    this.overlay = canvas.getContext("2d");
  }

  // ---------------------------------------------------------------- the shapes

  /** Draw them all anew. */
  show() {
    this.raster.paintAll(this.history.shapes);
    this.raster.colour(this.overlay);
  }

  add(shape) {
    const before = this.history.shapes;
    const shapes = withShape(before, shape);
    this.#remember(shapes);
    if (shapes.length === before.length + 1) this.raster.colour(this.overlay, this.raster.commit(shape, shapes.length));
    else this.show();
  }

  invert() {
    this.add({ kind: "invert" });
  }

  clear() {
    this.#remember([]);
    this.show();
  }

  /** Undo or redo; while something is being drawn, drop that instead. */
  travel(steps) {
    if (this.draft) return this.abandon();
    if (!this.history.travel(steps)) return;
    this.show();
    this.changed();
  }

  #remember(shapes) {
    this.history.remember(shapes);
    this.changed();
  }

  // ---------------------------------------------------------------- what is being drawn

  /** Start with the chosen tool at a point; a fill is done at once. */
  begin(point) {
    if (this.settings.tool === "fill") return this.add({ kind: "fill", detail: this.settings.detail });
    this.draft = startShape(this.settings, point);
    this.#fresh = 0;
    requestAnimationFrame(() => this.#drawDraft());
  }

  extend(points) {
    if (!this.draft) return;
    extendShape(this.draft, points);
    requestAnimationFrame(() => this.#drawDraft());
  }

  finish() {
    if (!this.draft) return;
    const drawn = this.draft;
    this.abandon();
    const shape = finishShape(drawn, this.aspect);
    if (shape) this.add(shape);
  }

  abandon() {
    if (this.draft) this.#wipe();
    this.draft = this.#box = null;
  }

  /** Bring what is new of it onto the map, once a frame. */
  #drawDraft() {
    const { draft } = this;
    const stroke = draft?.kind === "stroke";
    if (!draft || (stroke && this.#fresh === draft.drawn.length)) return;
    const box = this.#changedBox(draft, stroke);
    if (!stroke) this.#wipe();
    if (box.width && box.height) this.raster.draft(draft, box);
    this.raster.colour(this.overlay, box);
    this.#box = stroke && this.#box ? union(this.#box, box) : box;
    this.#fresh = draft.drawn.length;
  }

  /** Of a stroke only the surroundings of its new points change; other shapes change as a whole. */
  #changedBox(draft, stroke) {
    if (stroke) return boxOf({ ...draft, drawn: draft.drawn.slice(Math.max(0, this.#fresh - 1)) }, this.raster);
    return draft.drawn.length > 1 ? boxOf(draft, this.raster) : NOWHERE;
  }

  /** Take it off the map. */
  #wipe() {
    if (!this.#box) return;
    this.raster.discard(this.#box);
    this.raster.colour(this.overlay, this.#box);
  }
}

/** The smallest box around two. */
function union(a, b) {
  const [left, top] = [Math.min(a.left, b.left), Math.min(a.top, b.top)];
  const right = Math.max(a.left + a.width, b.left + b.width);
  return { left, top, width: right - left, height: Math.max(a.top + a.height, b.top + b.height) - top };
}
