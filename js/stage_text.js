// The client shows "stage k of n" in a text widget that it adds to the cascade's node, and would save it among the
// node's values. Values are saved by position, so it is left out: a later version may add a widget there.
import { app } from "../../scripts/app.js";

const CASCADE = "SelfCascadeUpscale";
const STAGE_TEXT = "$$node-text-preview";

app.registerExtension({
  name: "FreeScale.StageText",
  nodeCreated(node) {
    if (node.comfyClass !== CASCADE) return;
    const before = node.onSerialize;
    node.onSerialize = function (saved) {
      before?.apply(this, arguments);
      const index = this.widgets.findIndex((widget) => widget.name === STAGE_TEXT);
      if (index >= 0) saved.widgets_values.splice(index, 1);
    };
  },
});
