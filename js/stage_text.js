// What a stage says while it runs (nodes/host/progress.py), on the cascade's node, which has room for it from the start:
// the client's own text breaks words, makes the node grow and, in newer clients, goes with the run.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { addElement } from "./node.js";

const CASCADE = "SelfCascadeUpscale";
const WIDGET = "stage_text";
const [HEIGHT, MARGIN] = [30, 6]; // px of two lines, and around them

/** The node of an id as the server names it: those of the subgraphs that it is in, and its own. */
function nodeAt(id) {
  const inside = { subgraph: app.rootGraph ?? app.graph };
  return id.split(":").reduce((node, part) => node?.subgraph?.getNodeById(part), inside);
}

app.registerExtension({
  name: "FreeScale.StageText",
  nodeCreated(node) {
    if (node.comfyClass !== CASCADE) return;
    const element = Object.assign(document.createElement("p"), { className: "freescale-stage" });
    const options = { serialize: false, margin: MARGIN, getMinHeight: () => HEIGHT + 2 * MARGIN, getValue: () => element.textContent };
    addElement(node, WIDGET, "freescale_stage", element, options).serialize = false; // neither in the prompt nor in the file
  },
  setup() {
    let last; // the element that says what the running stage does
    const show = (element, text) => element && Object.assign(element, { textContent: text, title: text });
    api.addEventListener("freescale_stage", ({ detail: { node, text } }) => {
      last = nodeAt(node)?.widgets?.find((widget) => widget.name === WIDGET)?.element;
      show(last, text);
    });
    for (const end of ["execution_interrupted", "execution_error"]) api.addEventListener(end, () => show(last, "")); // not "4 s left"
  },
});
