// The map of α on a grid, from a painting: the browser draws each shape, this composites. nodes/region/painting.py does it with Pillow.
import { HIGHEST_DETAIL, pixel } from "./colours.js";
import { UNITS, vertices } from "./painting.js";

// Work that nobody waits for: a painting with more is drawn coarser, as in nodes/region/painting.py.
export const MOST_PIXELS = 5e8; // of all shapes' boxes together
export const MOST_DISCS = 5e9; // px of the discs at all points of all strokes
const LONGEST_PART = 256; // points: of one outline that overlaps itself the time grows with the square
const LEAST_STEP = 0.25; // px between two points of a stroke
const KEPT_EVERY = 100; // shapes: how far undo paints at most
const KEPT = 8;

/** A map of α that shapes are painted on. */
export class DetailRaster {
  /** `width` and `height` in px; `base` gives α before any shape at each of them. */
  constructor(width, height, base, { inside, outside }) {
    Object.assign(this, { width, height, inside, outside });
    this.base = base;
    this.alpha = Float32Array.from(base); // committed
    this.shown = Float32Array.from(base); // and with what is being drawn
    this.kept = []; // {count, last, alpha}: the map after so many shapes
    const scratch = Object.assign(document.createElement("canvas"), { width, height });
    this.scratch = scratch.getContext("2d", { willReadFrequently: true });
  }

  /** Start anew with these shapes. A shape is only ever appended, so that what lies before it is what lay there then. */
  paintAll(shapes) {
    const start = this.kept.findLast(({ count, last }) => shapes[count - 1] === last);
    this.alpha.set(start?.alpha ?? this.base);
    for (let i = start?.count ?? 0; i < shapes.length; i++) this.#add(shapes[i], i + 1);
    this.shown.set(this.alpha);
  }

  /** Add one shape for good, the `count`-th; the box that changed. */
  commit(shape, count) {
    const box = this.#add(shape, count);
    this.#copy(box);
    return box;
  }

  #add(shape, count) {
    const box = boxOf(shape, this);
    this.#composite(this.alpha, this.alpha, shape, box);
    if (count % KEPT_EVERY === 0)
      this.kept = [...this.kept.filter((kept) => kept.count < count), { count, last: shape, alpha: this.alpha.slice() }].slice(-KEPT);
    return box;
  }

  /** Show a shape that is still being drawn inside `box`, over what is committed. */
  draft(shape, box) {
    this.#copy(box);
    this.#composite(this.alpha, this.shown, shape, box);
  }

  /** Forget what was being drawn there. */
  discard(box) {
    this.#copy(box);
  }

  /** The α that is shown at a point of the picture, 0 … 1 and below 1. */
  shownAt([x, y]) {
    return this.shown[Math.floor(y * this.height) * this.width + Math.floor(x * this.width)];
  }

  /** Put the map, or a box of it, on a canvas of its size, in colours. */
  colour(context, { left, top, width, height } = { left: 0, top: 0, width: this.width, height: this.height }) {
    if (!width || !height) return;
    const image = context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    for (let y = 0, i = 0; y < height; y++)
      for (let x = 0, at = (top + y) * this.width + left; x < width; x++, i++, at++) pixels[i] = pixel(this.shown[at]);
    context.putImageData(image, left, top);
  }

  #copy({ left, top, width, height }) {
    for (let y = top; y < top + height; y++) {
      const start = y * this.width + left;
      this.shown.set(this.alpha.subarray(start, start + width), start);
    }
  }

  #composite(from, to, shape, { left, top, width, height }) {
    if (!width || !height) return;
    const sum = this.inside + this.outside;
    const target = shape.detail ?? this.outside; // the eraser's
    if (shape.kind === "fill") return to.fill(target); // their boxes are the whole map
    if (shape.kind === "invert") {
      for (let at = 0; at < to.length; at++) to[at] = Math.min(HIGHEST_DETAIL, Math.max(0, sum - from[at]));
      return;
    }
    const coverage = this.#draw(shape, { left, top, width, height });
    for (let y = 0, i = 3; y < height; y++)
      for (let x = 0, at = (top + y) * this.width + left; x < width; x++, i += 4, at++) to[at] = from[at] + (coverage[i] / 255) * (target - from[at]);
  }

  /** The shape in a box of the scratch canvas, as RGBA bytes whose A is the coverage. */
  #draw(shape, { left, top, width, height }) {
    const context = this.scratch;
    context.save();
    context.beginPath();
    context.rect(left, top, width, height);
    context.clip();
    context.clearRect(left, top, width, height);
    const { blur } = brush(shape, this);
    const parts = outlines(shape, this, { left, top, width, height });
    if (blur) {
      const away = 4 * (this.width + this.height); // out of sight: only its blurred shadow falls on the canvas
      Object.assign(context, { shadowColor: "#000", shadowBlur: 2 * blur, shadowOffsetX: away });
      context.translate(-away, 0);
    }
    if (blur && parts.length > 1) context.drawImage(this.#united(parts), 0, 0); // blurred as one
    else for (const part of parts) context.fill(part, shape.kind === "lasso" ? "evenodd" : "nonzero");
    context.restore();
    return context.getImageData(left, top, width, height).data;
  }

  #united(parts) {
    const canvas = Object.assign(document.createElement("canvas"), { width: this.width, height: this.height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    for (const part of parts) context.fill(part);
    return canvas;
  }
}

/** [width, height] of a grid of the same aspect whose longer side is given. */
export function gridOf(size, longer) {
  return size.map((side) => Math.max(1, Math.round((side / Math.max(...size)) * longer)));
}

/** [width, height] of the grid to draw shapes on: as given, or coarser where that is more work than a `share` of the most. */
export function drawnOn(shapes, [width, height], share = 1) {
  let [pixels, discs] = [0, 0];
  for (const shape of shapes) {
    const box = boxOf(shape, { width, height });
    pixels += box.width * box.height;
    discs += ((shape.points?.length ?? 0) / 2) * (2 * brush(shape, { width, height }).solid) ** 2;
  }
  const scale = Math.min(1, Math.sqrt((share * MOST_PIXELS) / pixels), Math.sqrt((share * MOST_DISCS) / discs));
  return [width, height].map((side) => Math.max(1, Math.round(side * scale)));
}

/** {left, top, width, height} px that a shape, or a part of one, touches. */
export function boxOf(shape, { width, height }) {
  if (shape.kind === "fill" || shape.kind === "invert") return { left: 0, top: 0, width, height };
  const points = vertices(shape);
  const { solid, blur } = brush(shape, { width, height });
  const margin = solid + 3 * blur + 1;
  const [xs, ys] = [points.map(([x]) => x * width), points.map(([, y]) => y * height)];
  const least = (values, end) => Math.min(end, Math.max(0, Math.floor(values.reduce((a, b) => Math.min(a, b)) - margin)));
  const most = (values, end) => Math.max(0, Math.min(end, Math.ceil(values.reduce((a, b) => Math.max(a, b)) + margin)));
  const [left, top] = [least(xs, width), least(ys, height)];
  return { left, top, width: Math.max(0, most(xs, width) - left), height: Math.max(0, most(ys, height) - top) };
}

/** {solid, blur} px of a brush: a disc and the deviation of its blur, which together fade out at the radius. */
function brush({ kind, radius, hardness = 1 }, { width, height }) {
  if (kind !== "stroke") return { solid: 0, blur: 0 };
  const px = (radius / UNITS) * Math.max(width, height);
  return { solid: (px * (1 + hardness)) / 2, blur: (px * (1 - hardness)) / 4 };
}

/** The outlines of a shape; of a stroke only what can be seen in the box, in several where it is long. */
function outlines(shape, { width, height }, box) {
  const points = vertices(shape).map(([x, y, pressure]) => [x * width, y * height, pressure]);
  if (shape.kind === "stroke") return strokeOutlines(points, brush(shape, { width, height }), box);
  const outline = new Path2D();
  if (shape.kind === "lasso") {
    for (const [x, y] of points) outline.lineTo(x, y);
  } else {
    const [[x0, y0], [x1, y1]] = points;
    if (shape.kind === "rectangle") outline.rect(x0, y0, x1 - x0, y1 - y0);
    else outline.ellipse((x0 + x1) / 2, (y0 + y1) / 2, Math.abs(x1 - x0) / 2, Math.abs(y1 - y0) / 2, 0, 0, 2 * Math.PI);
  }
  return [outline];
}

function strokeOutlines(points, { solid, blur }, box) {
  const reach = solid + 3 * blur + 1;
  const near = (a, b, low, length) => Math.min(a, b) - reach < low + length && Math.max(a, b) + reach > low;
  const parts = [];
  let [start, drawn] = [points[0], 0];
  points.forEach((end, i) => {
    if (i && start[2] === end[2] && Math.hypot(end[0] - start[0], end[1] - start[1]) < LEAST_STEP) return;
    const seen = near(start[0], end[0], box.left, box.width) && near(start[1], end[1], box.top, box.height);
    if (seen) {
      if (drawn++ % LONGEST_PART === 0) parts.push(new Path2D());
      const outline = parts.at(-1);
      for (const [x, y, pressure] of [start, end]) {
        outline.moveTo(x + solid * pressure, y);
        outline.arc(x, y, solid * pressure, 2 * Math.PI, 0, true); // the way round of the quads, so that they add up
      }
      addQuad(outline, start, end, solid);
    }
    start = end;
  });
  return parts;
}

/** The part of a stroke between the discs at two of its points. */
function addQuad(outline, [x0, y0, p0], [x1, y1, p1], solid) {
  const length = Math.hypot(x1 - x0, y1 - y0);
  if (!length) return;
  const [nx, ny] = [(y0 - y1) / length, (x1 - x0) / length];
  const [r0, r1] = [solid * p0, solid * p1];
  outline.moveTo(x0 + nx * r0, y0 + ny * r0);
  outline.lineTo(x1 + nx * r1, y1 + ny * r1);
  outline.lineTo(x1 - nx * r1, y1 - ny * r1);
  outline.lineTo(x0 - nx * r0, y0 - ny * r0);
  outline.closePath();
}
