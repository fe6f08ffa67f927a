// What the widgets of this pack share of the client.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

addStyles("./node.css");

/** Add a style sheet of this folder to the page. */
export function addStyles(file) {
  document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href: new URL(file, import.meta.url).href }));
}

/** An image of ComfyUI's folders, or null where there is none. */
export async function load(file) {
  if (!file) return null;
  const src = api.apiURL(`/view?${new URLSearchParams({ ...file, rand: Math.random() })}`);
  // Servers may send it from another origin: if that allows it, the pixels can be read; if not, the picture can still be shown.
  for (const crossOrigin of ["anonymous", null]) {
    const image = Object.assign(new Image(), { crossOrigin, src });
    if (await image.decode().then(() => true, () => false)) return image;
  }
  return null;
}

/** [width, height] of the image's pixels as RGBA bytes, or null where the browser must not read them. */
export function pixelsOf(image, width, height) {
  const context = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, width, height);
  try {
    return context.getImageData(0, 0, width, height).data;
  } catch {
    return null;
  }
}

/** What the client remembers of the node's last run, after undo or a change of tab, which make nodes anew. */
export function lastOutput(node) {
  const inside = node.graph !== app.graph && node.graph?.id;
  return app.nodeOutputs?.[inside ? `${inside}:${node.id}` : String(node.id)];
}

/** The same for a node that was just made: the client puts it back later, sooner or not so soon, and tells nobody when. */
export async function rememberedOutput(node) {
  for (let wait = 100; wait < 10_000; wait *= 1.5) {
    await new Promise((resolve) => setTimeout(resolve, wait));
    const output = node.graph && lastOutput(node);
    if (output) return output;
  }
}

/** Call `after` when the node's `name` is called, behind whatever is there. */
export function follow(node, name, after) {
  const before = node[name];
  node[name] = function (...values) {
    const result = before?.apply(this, values);
    after(...values);
    return result;
  };
}

/** Add a widget with an element: as large as its node allows, at any zoom, and never in the properties panel, which would give it its own width. */
export function addElement(node, name, type, element, options) {
  element.classList.add("widget-expands"); // how Nodes 2.0 knows what takes the room that is left
  const onDraw = () => {
    element.dataset.mode = node.mode; // by which node.css dims it
    widget.syncLiveVisibilityOptions?.(); // newer clients keep what they have read of the options
  };
  const widget = node.addDOMWidget(name, type, element, { hideOnZoom: false, onDraw, ...options });
  Object.defineProperty(widget.options, "hideInPanel", { get: () => !isChoosingForApp(), configurable: true, enumerable: true });
  return widget;
}

/** Whether the inputs of an app are being chosen on the classic canvas: the client takes none then that its panel may not show. */
function isChoosingForApp() {
  return !LiteGraph.vueNodesMode && app.extensionManager?.workflow?.activeWorkflow?.activeMode === "builder:inputs";
}
