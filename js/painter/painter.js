// The full-screen painter, in a frame of its own: no key, style or pointer of it reaches ComfyUI's editor, nor the reverse.
// Here its parts are put together.
import { legend } from "./colours.js";
import { Controls } from "./controls.js";
import { Cursor } from "./cursor.js";
import { Drawing } from "./drawing.js";
import { History } from "./history.js";
import { listenToButtonsAndKeys } from "./keys.js";
import { Pointers } from "./pointers.js";
import { DetailRaster, drawnOn, gridOf } from "./raster.js";
import { label } from "./texts.js";
import { View } from "./view.js";

const MAP_SIDE = 1024; // px of the map's longer side: as fine as the latent of an 8K picture

/**
 * Show a painting for editing. `session`: shapes, size [width, height] px of the picture, backdrop (an image or null),
 * base (width, height) → α under the painting, inside, outside, notice (what the map cannot show, in words, or ""), settings of tool and
 * sliders as the last painting left them, language, texts, change(shapes) after every stroke, restore() to what it was at first, close().
 */
export function openPainter(document, session) {
  const $ = (id) => document.getElementById(id);
  const { settings, size, texts, notice } = session;
  const [stage, canvas] = [$("stage"), $("overlay")];
  label(document, session);
  legend($("ramp"), $("ticks"));
  $("notice").textContent = notice;
  if (session.backdrop) Object.assign($("backdrop"), { src: session.backdrop.src, hidden: false });

  const [width, height] = drawnOn(session.shapes, gridOf(size, Math.min(MAP_SIDE, Math.max(...size))));
  Object.assign(canvas, { width, height });
  const raster = new DetailRaster(width, height, session.base(width, height), session);
  const history = new History(session.shapes);
  const changed = () => {
    showHistory($, history);
    if (history.atFirst) session.restore(); // to the letter
    else session.change(history.shapes);
  };
  const drawing = new Drawing({ raster, canvas, history, settings, aspect: size[0] / size[1], changed });
  const view = new View(stage, $("sheet"), size, () => cursor.show());
  const cursor = new Cursor({ ring: $("cursor"), status: $("status"), view, raster, settings, word: notice ? null : texts.here });
  const controls = new Controls(document, settings, session.outside, () => cursor.show());
  const parts = { session, stage, view, drawing, cursor, controls };
  new Pointers(parts);
  listenToButtonsAndKeys(document, parts);

  showHistory($, history);
  drawing.show();
  view.fit();
  new ResizeObserver(() => view.fitted && !drawing.draft && view.fit()).observe(stage);
  stage.focus();
}

/** Which of the buttons can do something now. */
function showHistory($, history) {
  $("undo").disabled = history.atFirst;
  $("redo").disabled = history.atLast;
  $("clear").disabled = !history.shapes.length;
}
