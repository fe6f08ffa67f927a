// What each tool makes of the way of a pointer. While it is being drawn a shape has its points as they come, in `drawn`:
// [x, y, pressure], 0 … 1 on the picture.
import { toShape, UNITS } from "./painting.js";

const BRUSHES = ["brush", "eraser"];
const ENOUGH = { stroke: 2, rectangle: 4, ellipse: 4, lasso: 6 }; // numbers; of a lasso after simplification

/** Whether a tool draws with a brush, whose size and hardness count. */
export const isBrush = (tool) => BRUSHES.includes(tool);

/** What the chosen tool starts at a point. */
export function startShape({ tool, detail, size, hardness }, point) {
  if (!isBrush(tool)) return { kind: tool, detail, drawn: [point] };
  const brush = { kind: "stroke", radius: Math.max(1, Math.round(size * UNITS)), hardness: Number(hardness.toFixed(2)) };
  return { ...brush, detail: tool === "eraser" ? null : detail, drawn: [point] };
}

/** Draw on to some more points; it happens in place, for a stroke may have thousands. */
export function extendShape(shape, points) {
  if (shape.kind === "rectangle" || shape.kind === "ellipse") shape.drawn = [shape.drawn[0], points.at(-1)];
  else shape.drawn.push(...points);
}

/** The shape of the format that was drawn, or null where it is too little for one. */
export function finishShape(drawn, aspect) {
  const shape = toShape(drawn, aspect);
  return shape.points.length >= ENOUGH[drawn.kind] ? shape : null;
}
