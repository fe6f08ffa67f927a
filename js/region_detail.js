// FreeScale Region Detail in the editor: the `regions` widget shows the map over the picture and opens the painter.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { addElement, addStyles, follow, lastOutput, load, pixelsOf, rememberedOutput } from "./node.js";
import { legend, USUAL } from "./painter/colours.js";
import { openDialog } from "./painter/dialog.js";
import { readPainting, writePainting } from "./painter/painting.js";
import { DetailRaster, drawnOn, gridOf } from "./painter/raster.js";
import { loadTexts } from "./painter/texts.js";
import { allNodes, originOf, valueOf } from "./wires.js";

const NODE = "RegionDetailMask";
const WIDGET = "FREESCALE_REGIONS"; // the widgetType that the node's schema names
const PREVIEW_SIDE = 512; // px of the map on the node
const PREVIEW_SHARE = 0.1; // of the work that the painter may do: a workflow that is opened must not block the editor
const NO_PICTURE_SIDE = 1024;
const DETAILS = ["detail_inside", "detail_outside"];
const settings = { tool: "brush", detail: 3, size: 0.06, hardness: 0.5, opacity: 0.7 }; // of the painter, for every node

addStyles("./region_detail.css");

/** What the widget shows and edits, for one node. */
class Regions {
  text = "";
  painting = readPainting("");
  backdrop = null; // images, once loaded
  mask = null;
  given = {}; // the files of both that the last run told of
  drawn = []; // the details that the map was drawn with
  texts = {};

  constructor(node) {
    this.node = node;
    this.element = Object.assign(document.createElement("div"), { className: "freescale-regions" });
    this.element.innerHTML = `<canvas role="img" width="${PREVIEW_SIDE}" height="${PREVIEW_SIDE}"></canvas>
      <div><div class="scale"></div><div class="ticks"></div></div><p class="notice" role="status"></p>
      <div class="buttons"><button type="button" class="paint"></button><button type="button" class="fetch"></button></div>`;
    this.canvas = this.element.querySelector("canvas");
    legend(...this.element.querySelectorAll(".scale, .ticks"));
    this.element.querySelector(".paint").addEventListener("click", () => this.open());
    this.element.querySelector(".fetch").addEventListener("click", () => this.fetchPicture());
    this.canvas.addEventListener("dblclick", () => this.open());
    this.element.addEventListener("pointerenter", () => this.findPicture());
    this.label();
    this.refresh();
  }

  async label() {
    const { texts } = await loadTexts(app, api, "freescalePainter");
    this.texts = texts;
    this.refresh();
    for (const [name, text, title] of [["paint", "paint", "paintHint"], ["fetch", "fetch", "fetchHint"]])
      Object.assign(this.element.querySelector(`.${name}`), { textContent: texts[text], title: texts[title] });
    this.canvas.setAttribute("aria-label", texts.preview);
  }

  /** The widget's value: set by the file, by undo and by paste too. */
  set(text) {
    this.text = text ?? "";
    try {
      this.painting = readPainting(this.text);
    } catch {
      this.painting = readPainting(""); // the server says what is wrong with it when it is queued
    }
    this.refresh();
  }

  /** [width, height] px of the picture to paint on. */
  get size() {
    const picture = this.backdrop ?? this.mask;
    if (picture) return [picture.naturalWidth, picture.naturalHeight];
    return gridOf([this.painting.aspect, 1], NO_PICTURE_SIDE);
  }

  /** α inside and outside of the mask, undefined where only a run can tell. */
  get details() {
    return DETAILS.map((name) => valueOf(this.node, name));
  }

  /** Which of the pictures that the node was given cannot be had. */
  get lost() {
    const { image, mask } = this.given;
    const lost = { image: image && !this.backdrop, mask: mask && !(this.mask && pixelsOf(this.mask, 1, 1)) };
    return Object.keys(lost).filter((name) => lost[name]);
  }

  /** {inside, outside, base (width, height) → α under the painting, notice}: what is not known is the usual, and the notice says so. */
  ground() {
    const { details, lost } = this;
    const [inside = USUAL, outside = USUAL] = details;
    const base = (width, height) => {
      const shades = this.mask && pixelsOf(this.mask, width, height);
      if (!shades) return new Float32Array(width * height).fill(lost.includes("mask") ? USUAL : outside);
      return Float32Array.from({ length: width * height }, (_, i) => outside + ((inside - outside) * shades[4 * i]) / 255);
    };
    const unknown = DETAILS.filter((_, i) => details[i] === undefined);
    const { texts } = this;
    const notice = [[texts.unknown, unknown], [texts.lost, lost]].filter(([text, inputs]) => text && inputs.length);
    return { inside, outside, base, notice: notice.map(([text, inputs]) => text.replace("{inputs}", inputs.join(", "))).join(" ") };
  }

  /** Draw anew if a value that is set elsewhere has changed. */
  catchUp() {
    if (this.details.some((value, i) => value !== this.drawn[i])) this.refresh();
  }

  /** Draw the map over the picture, at the next frame; nobody sees it behind the painter. */
  refresh() {
    if (this.dialog) return;
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (this.node.widgets) this.draw();
    });
  }

  draw() {
    const [shownWidth, shownHeight] = gridOf(this.size, PREVIEW_SIDE);
    const [width, height] = drawnOn(this.painting.shapes, [shownWidth, shownHeight], PREVIEW_SHARE);
    Object.assign(this.canvas, { width: shownWidth, height: shownHeight });
    const context = this.canvas.getContext("2d");
    if (this.backdrop) context.drawImage(this.backdrop, 0, 0, shownWidth, shownHeight);
    const ground = this.ground();
    this.drawn = this.details;
    this.element.querySelector(".notice").textContent = ground.notice;
    const raster = new DetailRaster(width, height, ground.base(width, height), ground);
    raster.paintAll(this.painting.shapes);
    const overlay = Object.assign(document.createElement("canvas"), { width, height });
    raster.colour(overlay.getContext("2d"));
    context.globalAlpha = settings.opacity;
    context.drawImage(overlay, 0, 0, shownWidth, shownHeight);
  }

  // ---------------------------------------------------------------- the picture

  /** After a run: the pictures that the node was given. */
  async executed({ backdrop, mask }) {
    this.file = null;
    const given = { image: backdrop?.[0], mask: mask?.[0] };
    const [image, shown] = await Promise.all([load(given.image), load(given.mask)]);
    Object.assign(this, { given, backdrop: image, mask: shown });
    this.refresh();
  }

  /** After undo or a change of tab, which make nodes anew: what the client remembers of the last run. */
  async remember(output = lastOutput(this.node)) {
    if (!this.backdrop && !this.mask && output?.backdrop) await this.executed(output);
  }

  /** Before any run: the picture of a Load Image node that is wired to the input. */
  async findPicture() {
    await this.remember();
    const origin = this.node.graph && originOf(this.node, "image"); // it may be on its way out
    const file = origin?.widgets?.find((widget) => widget.name === "image")?.value;
    const named = /^(?:(.*)\/)?([^/]+?)(?: \[(input|output|temp)\])?$/.exec(typeof file === "string" ? file : "");
    if (!named || this.file === file) return;
    this.file = file;
    const [, subfolder = "", filename, type = "input"] = named;
    this.backdrop = (await load({ filename, subfolder, type })) ?? this.backdrop;
    this.refresh();
  }

  /** Run only what this node needs, so that its picture arrives; the host keeps the results for the run to come. */
  fetchPicture() {
    const paths = (graph, above) =>
      graph._nodes.flatMap((node) => (node === this.node ? [above + node.id] : node.subgraph ? paths(node.subgraph, `${above}${node.id}:`) : []));
    app.queuePrompt(0, 1, paths(app.rootGraph ?? app.graph, ""));
  }

  // ---------------------------------------------------------------- the painter

  async open() {
    await this.findPicture();
    const { texts, language } = await loadTexts(app, api, "freescalePainter");
    const size = this.size;
    const before = this.text;
    const session = {
      ...this.ground(), size, settings, texts, language, shapes: this.painting.shapes, backdrop: this.backdrop,
      change: (shapes) => {
        this.widget.value = writePainting({ aspect: size[0] / size[1], shapes });
      },
      restore: () => {
        this.widget.value = before;
      },
    };
    const leaving = (event) => this.text !== before && event.preventDefault(); // the client asks only about what it knows of
    window.addEventListener("beforeunload", leaving);
    this.dialog = openDialog(texts.painter, session, () => {
      window.removeEventListener("beforeunload", leaving);
      this.closed();
    });
  }

  closed() {
    this.dialog = null;
    this.refresh();
    this.node.graph?.setDirtyCanvas?.(true, true);
    const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker; // one step of the graph's own undo
    tracker?.captureCanvasState ? tracker.captureCanvasState() : tracker?.checkState?.();
  }
}

app.registerExtension({
  name: "FreeScale.RegionDetail",
  getCustomWidgets: () => ({
    [WIDGET]: (node, name) => {
      const regions = new Regions(node);
      node.freescaleRegions = regions;
      regions.widget = addElement(node, name, WIDGET.toLowerCase(), regions.element, {
        getValue: () => regions.text,
        setValue: (text) => regions.set(text),
        getMinHeight: () => 240,
      });
      return { widget: regions.widget };
    },
  }),
  nodeCreated(node) {
    const regions = node.comfyClass === NODE && node.freescaleRegions;
    if (!regions) return;
    follow(node, "onExecuted", (output) => regions.executed(output));
    follow(node, "onConfigure", async () => regions.remember(await rememberedOutput(node)));
    follow(node, "onConnectionsChange", () => {
      regions.findPicture();
      regions.refresh(); // when the wires are as they will be
    });
    for (const name of DETAILS)
      follow(node.widgets.find((widget) => widget.name === name), "callback", () => regions.refresh());
  },
  loadedGraphNode(node) {
    if (node.comfyClass === NODE) node.freescaleRegions.findPicture();
  },
  afterConfigureGraph: catchUp, // a subgraph's values are set after those of the nodes in it
  setup: () => api.addEventListener("graphChanged", catchUp),
});

/** Draw every map anew whose values have changed elsewhere: on a subgraph's face, or in a node that is wired to it. */
function catchUp() {
  for (const node of allNodes()) if (node.comfyClass === NODE) node.freescaleRegions?.catchUp();
}
