// The painted regions as text: the format of docs/regions.md, version 1. nodes/region/painting.py reads the same.
import { HIGHEST_DETAIL } from "./colours.js";

export const UNITS = 10_000; // coordinates: 1/10000 of the picture's width and height; radii: of its longer side
const TOLERANCE = 0.08; // how far simplification may move a stroke's line, as a part of the brush's radius
// A workflow may come from a stranger: limits as in nodes/region/painting.py.
export const LONGEST_TEXT = 2_000_000;
export const MOST_SHAPES = 10_000;
const LEAST_TOLERANCE = 8 / UNITS; // less than a pixel of a 1K picture

const within = (low, high) => (value) => Number.isFinite(value) && value >= low && value <= high;
const whole = (low, high) => (value) => Number.isInteger(value) && value >= low && value <= high;
const alpha = within(0, HIGHEST_DETAIL);
const isAspect = within(0.01, 100);
const VALUES = {
  detail: (value) => value === null || alpha(value),
  radius: whole(1, UNITS / 2),
  hardness: (value) => value === undefined || within(0, 1)(value),
  pressure: (value) => value === undefined || typeof value === "boolean",
  points: (value) => Array.isArray(value) && value.every(whole(-4 * UNITS, 4 * UNITS)),
};
const OUTLINE = ["kind", "detail", "points"];
const KINDS = new Map([
  ["stroke", [...OUTLINE, "radius", "hardness", "pressure"]],
  ["rectangle", OUTLINE],
  ["ellipse", OUTLINE],
  ["lasso", OUTLINE],
  ["fill", ["kind", "detail"]],
  ["invert", ["kind"]],
]);

/** Whether it is a shape of the format; nodes/region/painting.py says what is wrong with the rest. */
function isShape(shape) {
  const fields = KINDS.get(shape?.kind);
  const known = fields && Object.keys(shape).every((name) => fields.includes(name));
  return known && fields.every((name) => name === "kind" || VALUES[name](shape[name])) && hasWholePoints(shape);
}

function hasWholePoints({ kind, points, pressure }) {
  if (!points) return true;
  if (kind === "stroke") return points.length > 0 && points.length % (pressure ? 3 : 2) === 0;
  return kind === "lasso" ? points.length >= 6 && points.length % 2 === 0 : points.length === 4;
}

/** {aspect, shapes} of a text; an empty text has no shapes. Throws where it is no painting of this version. */
export function readPainting(text) {
  if (!text?.trim()) return { aspect: 1, shapes: [] };
  const { version, aspect = 1, shapes, ...more } = JSON.parse(text.length > LONGEST_TEXT ? "" : text);
  const known = version === 1 && !Object.keys(more).length && isAspect(aspect);
  if (!known || !Array.isArray(shapes) || shapes.length > MOST_SHAPES || !shapes.every(isShape)) throw new Error("not a painting of version 1");
  return { aspect, shapes };
}

/** The text of a painting. */
export function writePainting({ aspect, shapes }) {
  return shapes.length ? JSON.stringify({ version: 1, aspect: Number(aspect.toFixed(4)), shapes }) : "";
}

/** The shapes after one more: what a fill hides is dropped, an inversion undoes the one before. */
export function withShape(shapes, shape) {
  if (shape.kind === "fill") return [shape];
  if (shape.kind === "invert" && shapes.at(-1)?.kind === "invert") return shapes.slice(0, -1);
  return [...shapes, shape];
}

/** [x, y, pressure] of each point of a shape, all 0 … 1; a shape that is still being drawn has them as they are, in `drawn`. */
export function vertices({ points = [], pressure = false, drawn }) {
  if (drawn) return drawn;
  const stride = pressure ? 3 : 2;
  const found = [];
  for (let i = 0, x = 0, y = 0; i < points.length; i += stride) {
    x += points[i];
    y += points[i + 1];
    found.push([x / UNITS, y / UNITS, pressure ? Math.min(1, Math.max(0, points[i + 2] / 100)) : 1]);
  }
  return found;
}

/** What was being drawn, {kind, detail, radius, hardness, drawn}, as a shape of the format. */
export function toShape({ kind, detail, radius = 0, hardness, drawn }, aspect) {
  const pressure = kind === "stroke" && drawn.some((point) => point[2] < 1);
  const tolerance = Math.max((radius / UNITS) * TOLERANCE, LEAST_TOLERANCE);
  const kept = drawn.length > 2 ? simplified(drawn, tolerance, aspect, radius / UNITS) : drawn;
  const numbers = [];
  let before = [0, 0];
  for (const [x, y, force] of kept) {
    const at = [Math.round(x * UNITS), Math.round(y * UNITS)];
    numbers.push(at[0] - before[0], at[1] - before[1]);
    if (pressure) numbers.push(Math.round(force * 100));
    before = at;
  }
  if (kind !== "stroke") return { kind, detail, points: numbers };
  return { kind, detail, radius, hardness, ...(pressure && { pressure }), points: numbers };
}

/** Douglas and Peucker's choice of points; a pen's pressure counts by how far it moves the stroke's edge. */
function simplified(points, tolerance, aspect, radius) {
  const [wide, high] = aspect >= 1 ? [1, 1 / aspect] : [aspect, 1]; // parts of the longer side
  const place = ([x, y, force = 1]) => [x * wide, y * high, force * radius];
  const kept = new Set([0, points.length - 1]);
  const parts = [[0, points.length - 1]];
  while (parts.length) {
    const [first, last] = parts.pop();
    const start = place(points[first]);
    const way = place(points[last]).map((value, axis) => value - start[axis]);
    const length = way.reduce((sum, value) => sum + value * value, 0);
    let farthest = tolerance;
    let split = -1;
    for (let i = first + 1; i < last; i++) {
      const from = place(points[i]).map((value, axis) => value - start[axis]);
      const along = length && Math.min(1, Math.max(0, from.reduce((sum, value, axis) => sum + value * way[axis], 0) / length));
      const distance = Math.hypot(...from.map((value, axis) => value - along * way[axis]));
      if (distance > farthest) [farthest, split] = [distance, i];
    }
    if (split < 0) continue;
    kept.add(split);
    parts.push([first, split], [split, last]);
  }
  return points.filter((_, i) => kept.has(i));
}
