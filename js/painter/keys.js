// What the buttons do, and the keys, which do the same and paint without a pointer.

const TOOLS = { b: "brush", e: "eraser", l: "lasso", r: "rectangle", o: "ellipse", f: "fill" };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const STEP = 0.01; // parts of the picture's width
const LARGE_STEP = 0.1;

/** Connect the page's buttons and all keys to `parts`: session, stage, view, drawing, cursor, controls. */
export function listenToButtonsAndKeys(document, parts) {
  const buttons = buttonActions(parts);
  for (const [id, action] of Object.entries(buttons)) document.getElementById(id).addEventListener("click", action);
  const keys = { command: commandKeys(buttons), plain: plainKeys(buttons, parts), stage: stageKeys(parts) };
  document.addEventListener("keydown", (event) => {
    const action = actionOf(event, keys, parts.stage);
    if (!action) return;
    action(event);
    event.preventDefault();
  });
  document.addEventListener("keyup", (event) => event.key === " " && delete parts.stage.dataset.pan);
}

/** By the buttons' ids. */
function buttonActions({ session, view, drawing }) {
  return {
    undo: () => drawing.travel(-1),
    redo: () => drawing.travel(1),
    invert: () => drawing.invert(),
    clear: () => drawing.clear(),
    "zoom-in": () => view.zoom(1.25),
    "zoom-out": () => view.zoom(0.8),
    "zoom-fit": () => view.fit(),
    discard: () => (session.restore(), session.close()),
    done: () => (drawing.finish(), session.close()),
  };
}

/** With Ctrl or the command key. */
function commandKeys({ undo, redo }) {
  return { z: (event) => (event.shiftKey ? redo() : undo()), y: redo };
}

/** Wherever the focus is. */
function plainKeys(buttons, { session, drawing, controls }) {
  const nudge = (name, steps) => () => controls.nudge(name, steps);
  return {
    Escape: () => (drawing.draft ? drawing.abandon() : session.close()),
    x: buttons.invert,
    "[": nudge("size", -1),
    "]": nudge("size", 1),
    "{": nudge("hardness", -1),
    "}": nudge("hardness", 1),
    ",": nudge("detail", -1),
    ".": nudge("detail", 1),
    "+": buttons["zoom-in"],
    "=": buttons["zoom-in"],
    "-": buttons["zoom-out"],
    0: buttons["zoom-fit"],
    ...Object.fromEntries(controls.presets.map((preset, i) => [i + 1, () => preset.click()])),
    ...Object.fromEntries(Object.entries(TOOLS).map(([key, tool]) => [key, () => controls.choose(tool)])),
  };
}

/** With the focus on the picture. */
function stageKeys({ stage, view, drawing, cursor }) {
  const point = () => [...cursor.place, 1];
  const step = (direction) => (event) => {
    cursor.step(direction, event.shiftKey ? LARGE_STEP : STEP);
    drawing.extend([point()]);
    view.reveal(cursor.place);
  };
  return {
    " ": () => (stage.dataset.pan = "yes"),
    Enter: () => (drawing.draft ? drawing.finish() : drawing.begin(point())),
    ...Object.fromEntries(Object.entries(ARROWS).map(([key, direction]) => [key, step(direction)])),
  };
}

/** What a key does, if it is one of ours. */
function actionOf(event, { command, plain, stage }, stageElement) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey) return command[key];
  if (event.altKey && !"[]{}".includes(key)) return undefined; // some keyboards need Alt for brackets
  return plain[key] ?? (event.target === stageElement ? stage[key] : undefined);
}
