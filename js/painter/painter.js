// The full-screen painter, in a frame of its own: no key, style or pointer of it reaches ComfyUI's editor, nor the reverse.
import { alphaAt, HIGHEST_DETAIL, legend, position } from "./colours.js";
import { toShape, UNITS, withShape } from "./painting.js";
import { boxOf, DetailRaster, gridOf } from "./raster.js";

const MAP_SIDE = 1024; // px of the map's longer side: as fine as the latent of an 8K picture
const BRUSHES = ["brush", "eraser"];
const KEYS = { b: "brush", e: "eraser", l: "lasso", r: "rectangle", o: "ellipse", f: "fill" };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * Show a painting for editing. `session`: shapes, size [width, height] px of the picture, backdrop (an image or null),
 * base (width, height) → α under the painting, inside, outside, settings of tool and sliders as the last painting left
 * them, language, texts, change(shapes) after every stroke, restore() to what it was at first, close().
 */
export function openPainter(document, session) {
  const $ = (id) => document.getElementById(id);
  const [width, height] = session.size;
  const aspect = width / height;
  const last = session.settings;
  const map = gridOf(session.size, Math.min(MAP_SIDE, Math.max(width, height)));
  const raster = new DetailRaster(...map, session.base(...map), session);
  const overlay = Object.assign($("overlay"), { width: map[0], height: map[1] }).getContext("2d");
  const stage = $("stage");
  const sheet = $("sheet");
  let history = [session.shapes];
  let now = 0;
  let draft = null; // the shape that is being drawn
  let drawnBox = null; // what of it is on the map
  let fresh = 0; // its first point that is not yet on the map
  let view = { x: 0, y: 0, scale: 1 };
  let keyboard = [0.5, 0.5]; // the place that the arrow keys move
  const fingers = new Map(); // pointer → its last place
  let pan = null;

  // ---------------------------------------------------------------- texts and values

  for (const element of document.querySelectorAll("[data-text], [data-title]")) {
    const { text, title, key } = element.dataset;
    const words = session.texts[text ?? title] ?? text ?? title;
    if (text) element.textContent = words;
    else element.setAttribute("aria-label", words);
    if (key || title) element.title = key ? `${words} (${key})` : words;
  }
  document.documentElement.lang = session.language;
  legend($("ramp"), $("ticks"));

  const sliders = {
    detail: { read: () => alphaAt($("detail").valueAsNumber), show: String, place: position },
    size: { read: () => $("size").valueAsNumber, show: (size) => `${(200 * size).toFixed(1)} %`, place: (size) => size },
    hardness: { read: () => $("hardness").valueAsNumber, show: (part) => `${Math.round(100 * part)} %`, place: (part) => part },
    opacity: { read: () => $("opacity").valueAsNumber, show: (part) => `${Math.round(100 * part)} %`, place: (part) => part },
  };

  function set(name, value) {
    const input = $(name);
    input.value = sliders[name].place(value);
    last[name] = name === "detail" ? Math.min(HIGHEST_DETAIL, Math.max(0, value)) : sliders[name].read();
    const shown = sliders[name].show(last[name]);
    $(`${name}-value`).textContent = shown;
    input.setAttribute("aria-valuetext", shown);
    if (name === "opacity") $("overlay").style.opacity = last.opacity;
    if (name === "size") placeCursor();
    for (const button of document.querySelectorAll("[data-detail]"))
      button.setAttribute("aria-pressed", Number(button.dataset.detail) === last.detail);
  }

  /** One step of a slider up or down, as the wheel and the keys make it. */
  function nudge(name, steps) {
    const value = last[name];
    if (name === "size") set("size", value * 1.1 ** steps);
    else if (name === "detail") set("detail", alphaAt(Math.max(0, position(value) + 0.02 * steps)));
    else set(name, value + 0.05 * steps);
  }

  function choose(tool) {
    last.tool = tool;
    document.querySelector(`[name=tool][value=${tool}]`).checked = true;
    placeCursor();
  }

  // ---------------------------------------------------------------- history

  function show() {
    raster.paintAll(history[now]);
    raster.colour(overlay);
    showHistory();
  }

  function showHistory() {
    $("undo").disabled = !now;
    $("redo").disabled = now === history.length - 1;
    $("clear").disabled = !history[now].length;
  }

  function remember(shapes) {
    history = [...history.slice(0, now + 1), shapes];
    now += 1;
    showHistory();
    session.change(shapes);
  }

  function travel(steps) {
    if (draft) return abandon();
    const next = Math.min(history.length - 1, Math.max(0, now + steps));
    if (next === now) return;
    now = next;
    show();
    if (now) session.change(history[now]);
    else session.restore(); // to the letter
  }

  function add(shape) {
    const shapes = withShape(history[now], shape);
    const appended = shapes.length === history[now].length + 1;
    remember(shapes);
    if (appended) raster.colour(overlay, raster.commit(shape, shapes.length));
    else show();
  }

  // ---------------------------------------------------------------- drawing

  /** Whether the tool draws with a brush, whose size and hardness count. */
  const brushing = () => BRUSHES.includes(last.tool);

  function begin(point) {
    const detail = last.tool === "eraser" ? null : last.detail;
    if (last.tool === "fill") return add({ kind: "fill", detail });
    const brush = { kind: "stroke", radius: Math.max(1, Math.round(last.size * UNITS)), hardness: Number(last.hardness.toFixed(2)) };
    draft = brushing() ? { ...brush, detail, drawn: [point] } : { kind: last.tool, detail, drawn: [point] };
    fresh = 0;
    requestAnimationFrame(drawDraft);
  }

  function extend(points) {
    if (!draft) return;
    if (draft.kind === "rectangle" || draft.kind === "ellipse") draft.drawn = [draft.drawn[0], points.at(-1)];
    else draft.drawn.push(...points);
    requestAnimationFrame(drawDraft);
  }

  function drawDraft() {
    if (!draft || (draft.kind === "stroke" && fresh === draft.drawn.length)) return;
    // Of a stroke only the surroundings of its new points change; other shapes change as a whole.
    const changed = draft.kind === "stroke" ? { ...draft, drawn: draft.drawn.slice(Math.max(0, fresh - 1)) } : draft;
    const box = draft.drawn.length > 1 || draft.kind === "stroke" ? boxOf(changed, raster) : { left: 0, top: 0, width: 0, height: 0 };
    if (draft.kind !== "stroke") wipe();
    if (box.width && box.height) raster.draft(draft, box);
    raster.colour(overlay, box);
    drawnBox = draft.kind === "stroke" && drawnBox ? union(drawnBox, box) : box;
    fresh = draft.drawn.length;
  }

  function finish() {
    if (!draft) return;
    const drawn = draft;
    abandon();
    const shape = toShape(drawn, aspect);
    const enough = { stroke: 2, rectangle: 4, ellipse: 4, lasso: 6 }[drawn.kind]; // numbers; of a lasso after simplification
    if (shape.points.length >= enough) add(shape);
  }

  function abandon() {
    if (draft) wipe();
    draft = drawnBox = null;
  }

  /** Take what is being drawn off the map. */
  function wipe() {
    if (!drawnBox) return;
    raster.discard(drawnBox);
    raster.colour(overlay, drawnBox);
  }

  // ---------------------------------------------------------------- view

  let fitted = true; // whether the whole picture is shown, also when the window changes
  function look(next) {
    view = next;
    sheet.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
    placeCursor();
  }

  function fit() {
    const { clientWidth, clientHeight } = stage;
    const whole = Math.max(0.02, Math.min((clientWidth - 32) / width, (clientHeight - 32) / height));
    fitted = true;
    look({ scale: whole, x: (clientWidth - width * whole) / 2, y: (clientHeight - height * whole) / 2 });
  }

  /** Zoom about a place of the stage. */
  function zoom(factor, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
    const next = Math.min(64, Math.max(0.02, view.scale * factor));
    fitted = false;
    const grown = next / view.scale;
    look({ scale: next, x: x - (x - view.x) * grown, y: y - (y - view.y) * grown });
  }

  /** [x, y, pressure] on the picture, 0 … 1, of a pointer. */
  function place(event) {
    const box = sheet.getBoundingClientRect();
    const pressure = event.pointerType === "pen" && event.pressure ? event.pressure : 1;
    const near = (part) => Math.min(2.5, Math.max(-1.5, part)); // what the format allows
    return [near((event.clientX - box.left) / box.width), near((event.clientY - box.top) / box.height), pressure];
  }

  let pointer = null; // the place of the cursor on the picture
  let byKey = false; // whether the arrows moved it last
  function placeCursor() {
    const cursor = $("cursor");
    cursor.style.visibility = pointer && (brushing() || byKey) ? "visible" : "hidden";
    if (!pointer) return;
    const side = brushing() ? 2 * last.size * Math.max(width, height) * view.scale : 8;
    cursor.style.width = cursor.style.height = `${side}px`;
    const [x, y] = [view.x + pointer[0] * width * view.scale, view.y + pointer[1] * height * view.scale];
    cursor.style.transform = `translate(${x - side / 2}px, ${y - side / 2}px)`;
    const inside = pointer.every((part) => part >= 0 && part < 1);
    const alpha = inside && raster.shown[Math.floor(pointer[1] * map[1]) * map[0] + Math.floor(pointer[0] * map[0])];
    $("status").textContent = inside ? `${session.texts.here ?? "α"} ${alpha.toFixed(2)}` : "";
  }

  // ---------------------------------------------------------------- pointers

  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    stage.focus();
    event.preventDefault();
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    if (fingers.size > 1) return abandon(); // two fingers move the picture
    if (event.button === 1 || event.button === 2 || stage.dataset.pan) pan = event.pointerId;
    else if (event.button === 0) begin(place(event));
  });

  stage.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (before && fingers.size === 2) pinch(event, before);
    else if (before && pan === event.pointerId) look({ ...view, x: view.x + event.clientX - before[0], y: view.y + event.clientY - before[1] });
    else if (before) {
      const moves = event.getCoalescedEvents?.() ?? [];
      extend((moves.length ? moves : [event]).map(place));
    }
    if (before) fingers.set(event.pointerId, [event.clientX, event.clientY]);
    pointer = place(event).slice(0, 2);
    byKey = false;
    keyboard = pointer.map((part) => Math.min(1, Math.max(0, part)));
    placeCursor();
  });

  function pinch(event, before) {
    const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    const box = stage.getBoundingClientRect();
    const distance = (at) => Math.hypot(at[0] - other[0], at[1] - other[1]) || 1;
    const after = [event.clientX, event.clientY];
    look({ ...view, x: view.x + (after[0] - before[0]) / 2, y: view.y + (after[1] - before[1]) / 2 });
    zoom(distance(after) / distance(before), (after[0] + other[0]) / 2 - box.left, (after[1] + other[1]) / 2 - box.top);
  }

  for (const ending of ["pointerup", "pointercancel"])
    stage.addEventListener(ending, (event) => {
      fingers.delete(event.pointerId);
      if (pan === event.pointerId) pan = null;
      else if (ending === "pointerup") finish();
      else abandon();
    });
  stage.addEventListener("pointerleave", () => {
    pointer = null;
    placeCursor();
  });
  stage.addEventListener("contextmenu", (event) => event.preventDefault());
  stage.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const box = stage.getBoundingClientRect();
      if (event.shiftKey) nudge(event.altKey ? "hardness" : "size", notches(event));
      else if (event.altKey) nudge("detail", notches(event));
      else zoom(1.15 ** turn(event), event.clientX - box.left, event.clientY - box.top);
    },
    { passive: false },
  );

  /** How far a wheel has turned, in notches; a trackpad turns by parts of one. */
  function turn(event) {
    return -((event.deltaY || event.deltaX) * (event.deltaMode ? 33 : 1)) / 100;
  }

  let rest = 0;
  function notches(event) {
    rest += turn(event);
    const whole = Math.trunc(rest);
    rest -= whole;
    return whole;
  }

  // ---------------------------------------------------------------- controls and keys

  for (const name of Object.keys(sliders)) {
    $(name).addEventListener("input", () => set(name, sliders[name].read()));
    $(name).addEventListener("wheel", (event) => (event.preventDefault(), nudge(name, notches(event))), { passive: false });
    set(name, last[name]);
  }
  for (const radio of document.querySelectorAll("[name=tool]")) radio.addEventListener("change", () => choose(radio.value));
  for (const button of document.querySelectorAll("[data-detail]"))
    button.addEventListener("click", () => {
      set("detail", Number(button.dataset.detail));
      if (last.tool === "eraser") choose("brush");
    });
  const actions = {
    undo: () => travel(-1),
    redo: () => travel(1),
    invert: () => add({ kind: "invert" }),
    clear: () => (remember([]), show()),
    "zoom-in": () => zoom(1.25),
    "zoom-out": () => zoom(0.8),
    "zoom-fit": fit,
    discard: () => (session.restore(), session.close()),
    done: () => (finish(), session.close()),
  };
  for (const [id, action] of Object.entries(actions)) $(id).addEventListener("click", action);

  document.addEventListener("keydown", (event) => {
    const command = event.ctrlKey || event.metaKey;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const presets = [...document.querySelectorAll("[data-detail]")];
    if (command && key === "z") event.shiftKey ? travel(1) : travel(-1);
    else if (command && key === "y") travel(1);
    else if (command || (event.altKey && !"[]{}".includes(key))) return; // some keyboards need Alt for brackets
    else if (key === "Escape") draft ? abandon() : session.close();
    else if (KEYS[key]) choose(KEYS[key]);
    else if (key === "x") actions.invert();
    else if (key === "[" || key === "]") nudge("size", key === "]" ? 1 : -1);
    else if (key === "{" || key === "}") nudge("hardness", key === "}" ? 1 : -1);
    else if (key === "," || key === ".") nudge("detail", key === "." ? 1 : -1);
    else if (key === "+" || key === "=") zoom(1.25);
    else if (key === "-") zoom(0.8);
    else if (key === "0") fit();
    else if (presets[key - 1]) presets[key - 1].click();
    else if (event.target === stage && key === " ") stage.dataset.pan = "yes";
    else if (event.target === stage && key === "Enter") draft ? finish() : begin([...keyboard, 1]);
    else if (event.target === stage && ARROWS[key]) step(ARROWS[key], event.shiftKey ? 0.1 : 0.01);
    else return;
    event.preventDefault();
  });
  document.addEventListener("keyup", (event) => event.key === " " && delete stage.dataset.pan);

  function step([dx, dy], length) {
    keyboard = [keyboard[0] + dx * length, keyboard[1] + dy * length * aspect].map((part) => Math.min(1, Math.max(0, part)));
    pointer = keyboard;
    byKey = true;
    extend([[...keyboard, 1]]);
    const [x, y] = [view.x + keyboard[0] * width * view.scale, view.y + keyboard[1] * height * view.scale];
    const beyond = (at, end) => Math.min(0, at) + Math.max(0, at - end); // follow the cursor out of sight
    look({ ...view, x: view.x - beyond(x, stage.clientWidth), y: view.y - beyond(y, stage.clientHeight) });
  }

  // ---------------------------------------------------------------- start

  sheet.style.width = `${width}px`;
  sheet.style.height = `${height}px`;
  if (session.backdrop) Object.assign($("backdrop"), { src: session.backdrop.src, hidden: false });
  choose(last.tool);
  show();
  fit();
  new ResizeObserver(() => fitted && !draft && fit()).observe(stage);
  stage.focus();
}

/** The smallest box around two. */
function union(a, b) {
  const [left, top] = [Math.min(a.left, b.left), Math.min(a.top, b.top)];
  const right = Math.max(a.left + a.width, b.left + b.width);
  return { left, top, width: right - left, height: Math.max(a.top + a.height, b.top + b.height) - top };
}
