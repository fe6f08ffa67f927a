// The map of α on a grid, from a painting: the browser draws each shape, this composites. nodes/region/painting.py does it with Pillow.
import { HIGHEST_DETAIL, pixel } from "./colours.js";
import { UNITS, vertices } from "./painting.js";

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
    const coverage = shape.kind === "fill" || shape.kind === "invert" ? null : this.#draw(shape, { left, top, width, height });
    for (let y = 0, i = 3; y < height; y++)
      for (let x = 0, at = (top + y) * this.width + left; x < width; x++, i += 4, at++) {
        if (shape.kind === "invert") to[at] = Math.min(HIGHEST_DETAIL, Math.max(0, sum - from[at]));
        else to[at] = from[at] + (coverage ? coverage[i] / 255 : 1) * (target - from[at]);
      }
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
    const away = blur ? 4 * (this.width + this.height) : 0; // out of sight: only its blurred shadow falls on the canvas
    if (blur) Object.assign(context, { shadowColor: "#000", shadowBlur: 2 * blur, shadowOffsetX: away });
    context.fill(path(shape, this, away, { left, top, width, height }), shape.kind === "lasso" ? "evenodd" : "nonzero");
    context.restore();
    return context.getImageData(left, top, width, height).data;
  }
}

/** [width, height] of a grid of the same aspect whose longer side is given. */
export function gridOf(size, longer) {
  return size.map((side) => Math.max(1, Math.round((side / Math.max(...size)) * longer)));
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

/** The outline of a shape, `away` px to the left; of a long stroke only what can be seen in the box. */
function path(shape, { width, height }, away, box) {
  const points = vertices(shape).map(([x, y, pressure]) => [x * width - away, y * height, pressure]);
  const outline = new Path2D();
  if (shape.kind === "lasso") {
    for (const [x, y] of points) outline.lineTo(x, y);
  } else if (shape.kind !== "stroke") {
    const [[x0, y0], [x1, y1]] = points;
    if (shape.kind === "rectangle") outline.rect(x0, y0, x1 - x0, y1 - y0);
    else outline.ellipse((x0 + x1) / 2, (y0 + y1) / 2, Math.abs(x1 - x0) / 2, Math.abs(y1 - y0) / 2, 0, 0, 2 * Math.PI);
  } else {
    const { solid, blur } = brush(shape, { width, height });
    const reach = solid + 3 * blur + 1;
    const near = (a, b, low, high) => Math.min(a, b) - reach < high && Math.max(a, b) + reach > low;
    const left = box.left - away;
    points.forEach((end, i) => {
      const start = points[Math.max(0, i - 1)];
      if (!near(start[0], end[0], left, left + box.width) || !near(start[1], end[1], box.top, box.top + box.height)) return;
      for (const [x, y, pressure] of [start, end]) {
        outline.moveTo(x + solid * pressure, y);
        outline.arc(x, y, solid * pressure, 2 * Math.PI, 0, true); // the way round of the quads, so that they add up
      }
      addQuad(outline, start, end, solid);
    });
  }
  return outline;
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
