// FreeScale Compare in the editor: two pictures, side by side or under a slider, zoomed and moved as one.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { addElement, addStyles, follow, lastOutput, load, rememberedOutput } from "./node.js";
import { loadTexts } from "./painter/texts.js";
import { turn } from "./painter/wheel.js";

const NODE = "FreeScaleCompare";
const SIZE = [560, 380]; // px of a new node
const LEAST_HEIGHT = 240;
const MOST_ZOOM = 64;
const LARGE_PIXEL = 4; // px; a picture whose own pixels are shown larger than that shows them as they are
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const MARKUP = `<div class="stage" tabindex="0" role="application">
    <div class="pane"><div class="frame"></div></div><div class="pane"><div class="frame"></div></div>
    <div class="divider" tabindex="0" role="slider" aria-valuemin="0" aria-valuemax="100"></div><p class="hint"></p>
  </div>
  <div class="bar"><button type="button" class="mode"></button>
    <span class="batch"><button type="button" class="previous">‹</button><output></output><button type="button" class="next">›</button></span>
  </div>`;

addStyles("./compare.css");

/** What the widget shows, for one node. */
class Compare {
  view = { x: 0.5, y: 0.5, zoom: 1 }; // the place, 0 … 1, in the middle of both panes; 1 fits them
  divider = 0.5;
  files = [[], []]; // of both batches
  index = 0; // of the pair that is shown

  constructor(node) {
    this.node = node;
    this.element = Object.assign(document.createElement("div"), { className: "freescale-compare" });
    this.element.innerHTML = MARKUP;
    this.element.freescaleCompare = this; // the wheel finds it there
    const find = (selector) => this.element.querySelector(selector);
    this.panes = [...this.element.querySelectorAll(".pane")];
    [this.stage, this.handle, this.mode, this.batch] = [".stage", ".divider", ".mode", ".batch"].map(find);
    this.listen(find);
    this.label();
    this.arrange();
    this.split(this.divider);
  }

  listen(find) {
    this.stage.addEventListener("pointerdown", (event) => this.grab(event));
    this.stage.addEventListener("pointermove", (event) => this.drag(event));
    for (const ending of ["pointerup", "pointercancel"]) this.stage.addEventListener(ending, () => (this.held = null));
    this.stage.addEventListener("dblclick", () => this.look(0.5, 0.5, 1));
    this.stage.addEventListener("keydown", (event) => this.press(event));
    this.mode.addEventListener("click", () => {
      this.node.properties.view = this.slider ? "side by side" : "slider"; // kept in the workflow
      this.arrange();
    });
    find(".previous").addEventListener("click", () => this.choose(this.index - 1));
    find(".next").addEventListener("click", () => this.choose(this.index + 1));
    this.element.addEventListener("pointerenter", () => this.remember());
    new ResizeObserver(() => this.arrange()).observe(this.stage);
  }

  async label() {
    const { texts } = await loadTexts(app, api, "freescaleCompare");
    this.element.querySelector(".hint").textContent = `${texts.hint}\n${texts.help}`;
    this.mode.textContent = texts.slider;
    const names = { ".stage": texts.stage, ".divider": texts.divider, ".previous": texts.previous, ".next": texts.next };
    for (const [selector, name] of Object.entries(names)) this.element.querySelector(selector).setAttribute("aria-label", name);
  }

  // ---------------------------------------------------------------- the pictures

  /** After a run: all pairs there are; the view stays where it is, to look at the same place of the next result. */
  executed(output) {
    if (!output?.freescale_a?.length) return;
    this.files = [output.freescale_a, output.freescale_b];
    this.choose(Math.min(this.index, this.pairs - 1));
  }

  /** After undo or a change of tab: what the client remembers of the last run. */
  remember(output = lastOutput(this.node)) {
    if (!this.pairs) this.executed(output);
  }

  get pairs() {
    return Math.max(...this.files.map((files) => files.length));
  }

  /** Show a pair; where one batch is shorter, its last picture goes with all that follow. */
  async choose(index) {
    this.index = (index + this.pairs) % this.pairs;
    this.batch.hidden = this.pairs < 2;
    this.batch.querySelector("output").textContent = `${this.index + 1} / ${this.pairs}`;
    const wanted = this.files.map((files) => files[this.index] ?? files.at(-1));
    this.wanted = wanted;
    const images = await Promise.all(wanted.map(load));
    if (this.wanted !== wanted) return; // another was chosen meanwhile
    this.element.classList.toggle("filled", images.every(Boolean)); // the temp folder may have been emptied
    if (!images.every(Boolean)) return;
    images.forEach((image, i) => {
      const caption = `${"AB"[i]} · ${image.naturalWidth} × ${image.naturalHeight}`;
      Object.assign(image, { alt: caption, draggable: false });
      this.panes[i].dataset.caption = caption;
      this.panes[i].firstElementChild.replaceChildren(image);
    });
    const largest = images.reduce((a, b) => (b.naturalWidth * b.naturalHeight > a.naturalWidth * a.naturalHeight ? b : a));
    this.stage.style.setProperty("--aspect", largest.naturalWidth / largest.naturalHeight);
    this.arrange();
  }

  // ---------------------------------------------------------------- the view

  get slider() {
    return this.node.properties?.view === "slider";
  }

  arrange() {
    this.element.classList.toggle("slider", this.slider);
    this.mode.setAttribute("aria-pressed", this.slider);
    this.look(this.view.x, this.view.y, this.view.zoom);
  }

  /** Show a place in the middle of both panes; what was full at first never shows an edge. */
  look(x, y, zoom) {
    zoom = Math.min(MOST_ZOOM, Math.max(1, zoom));
    const reach = 0.5 - 0.5 / zoom;
    const near = (place) => Math.min(0.5 + reach, Math.max(0.5 - reach, place));
    this.view = { x: near(x), y: near(y), zoom };
    for (const [name, value] of Object.entries(this.view)) this.stage.style.setProperty(`--${name}`, value);
    for (const image of this.stage.querySelectorAll("img")) {
      const pixel = Math.min(image.clientWidth / image.naturalWidth, image.clientHeight / image.naturalHeight) * zoom;
      image.classList.toggle("pixels", pixel > LARGE_PIXEL);
    }
  }

  /** Zoom by a factor about a place given by its distance from the middle, in parts of the frame. */
  zoom(factor, [x, y] = [0, 0]) {
    const zoom = Math.min(MOST_ZOOM, Math.max(1, this.view.zoom * factor));
    const moved = 1 - this.view.zoom / zoom;
    this.look(this.view.x + x * moved, this.view.y + y * moved, zoom);
  }

  split(part) {
    this.divider = Math.min(1, Math.max(0, part));
    this.stage.style.setProperty("--divider", this.divider);
    this.handle.setAttribute("aria-valuenow", Math.round(100 * this.divider));
  }

  // ---------------------------------------------------------------- pointers and keys

  /** A distance on the screen in parts of the frame, however the graph is zoomed. */
  parts(x, y) {
    const frame = this.panes[0].firstElementChild.getBoundingClientRect();
    return [x / frame.width, y / frame.height];
  }

  wheel(event) {
    const pane = (event.target.closest(".pane") ?? this.panes[0]).getBoundingClientRect();
    const middle = [pane.left + pane.width / 2, pane.top + pane.height / 2];
    this.zoom(1.15 ** turn(event), this.parts(event.clientX - middle[0], event.clientY - middle[1]));
  }

  grab(event) {
    if (event.button !== 0 || !this.pairs) return; // the middle button moves the graph
    event.stopPropagation(); // or the node would move
    this.stage.setPointerCapture(event.pointerId);
    this.held = { divides: event.target === this.handle, x: event.clientX, y: event.clientY };
    (this.held.divides ? this.handle : this.stage).focus({ preventScroll: true });
    event.preventDefault();
  }

  drag(event) {
    if (!this.held) return;
    event.stopPropagation();
    const stage = this.stage.getBoundingClientRect();
    const [x, y] = this.parts(event.clientX - this.held.x, event.clientY - this.held.y);
    if (this.held.divides) this.split((event.clientX - stage.left) / stage.width);
    else this.look(this.view.x - x, this.view.y - y, this.view.zoom);
    Object.assign(this.held, { x: event.clientX, y: event.clientY });
  }

  press(event) {
    const arrow = ARROWS[event.key];
    const { x, y, zoom } = this.view;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (arrow && event.target === this.handle) this.split(this.divider + 0.02 * (arrow[0] - arrow[1]));
    else if (arrow) this.look(x + (0.1 * arrow[0]) / zoom, y + (0.1 * arrow[1]) / zoom, zoom);
    else if (event.key === "+" || event.key === "=") this.zoom(1.25);
    else if (event.key === "-") this.zoom(0.8);
    else if (event.key === "0") this.look(0.5, 0.5, 1);
    else return;
    event.stopPropagation(); // the graph has uses for these keys, too
    event.preventDefault();
  }
}

// The client may pass a wheel on to the graph before any element sees it, so it is taken where it enters the page.
window.addEventListener(
  "wheel",
  (event) => {
    const compare = event.target.closest?.(".freescale-compare.filled .stage")?.parentElement.freescaleCompare;
    if (!compare) return;
    event.stopImmediatePropagation();
    event.preventDefault();
    compare.wheel(event);
  },
  { capture: true, passive: false },
);

app.registerExtension({
  name: "FreeScale.Compare",
  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    const compare = new Compare(node);
    const options = { serialize: false, getMinHeight: () => LEAST_HEIGHT };
    addElement(node, "compare", "freescale_compare", compare.element, options).serialize = false; // neither prompt nor file
    node.setSize(SIZE);
    follow(node, "onExecuted", (output) => compare.executed(output));
    follow(node, "onConfigure", async () => {
      compare.arrange();
      compare.remember(await rememberedOutput(node));
    });
  },
});
