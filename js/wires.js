// Where the value of a node's input comes from, as the server will be told.
import { app } from "../../scripts/app.js";

const CONSTANTS = ["PrimitiveFloat", "PrimitiveNode"]; // nodes that give what their first widget says

/** All nodes of the workflow, those in subgraphs too. */
export function* allNodes(graph = app.rootGraph ?? app.graph) {
  for (const node of graph?._nodes ?? []) {
    yield node;
    if (node.subgraph) yield* allNodes(node.subgraph);
  }
}

/** The value of a widget, wherever it is set; undefined where a run computes it, or where the subgraph is used with several. */
export function valueOf(node, name) {
  const slot = slotOf(node, name);
  if (slot < 0) return node.widgets.find((widget) => widget.name === name).value;
  const values = new Set();
  for (const { origin, end } of sources(node, slot)) {
    if (end) values.add(end.node.getWidgetFromSlot(end.input)?.value);
    else {
      const said = CONSTANTS.includes(origin?.type) && origin.widgets?.[0];
      values.add(said ? valueOf(origin, said.name) : undefined);
    }
  }
  return values.size === 1 ? [...values][0] : undefined;
}

/** The node that an input is wired to; null where there is none, or where the subgraph is used with several. */
export function originOf(node, name) {
  const origins = new Set();
  for (const { origin } of sources(node, slotOf(node, name))) origins.add(origin);
  return (origins.size === 1 && [...origins][0]) || null;
}

/**
 * What feeds an input, past reroutes and out of subgraphs, for every place where its subgraph is used:
 * {origin}, a node that is wired to it, or {end: {node, input}}, the input that no wire goes into.
 */
function* sources(node, slot) {
  const input = node.inputs?.[slot];
  const link = input?.link != null && node.graph?.getLink(input.link);
  if (!link) {
    if (input) yield { end: { node, input } };
  } else if (link.originIsIoNode) {
    for (const outer of allNodes()) if (outer.subgraph === node.graph) yield* sources(outer, link.origin_slot);
  } else {
    const origin = node.graph.getNodeById(link.origin_id);
    if (origin?.type === "Reroute") yield* sources(origin, 0);
    else yield { origin };
  }
}

const slotOf = (node, name) => (node.inputs ?? []).findIndex((input) => input.name === name);
