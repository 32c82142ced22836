// Say in words what the explorer shows. All texts that come from a run are escaped.

import { patchLength, startOf, terms } from "./sampling.js";
import { count, escaped, fixed, mean, number, short, size, thousands } from "./numbers.js";

const AXES = ["output", "input", "kernel row", "kernel column"];
export const LEARNED = ["free", "learner"];
const MOST_READERS = 24;

/** What the numbers say about a layer at a step, as HTML. */
export function finding(view, color) {
  const { layer, data } = view;
  const { starts, patches, places } = view.places();
  const parts = [];
  if (!starts) parts.push(`<b>${count(patches, "patch", "patches")}.</b> No axis has starts: the cells are read in order.`);
  else parts.push(`<b>${count(starts, "start places", "starts place")} ${count(patches, "patch", "patches")}.</b>`);
  if (data.routing === "tiled" && patches > 1)
    parts.push(places === 1 ? "All patches read the same corner of the epitome: that is tiling." : `The patches read the same ${places} places in turn: that is tiling.`);
  if (starts && data.steps.length > 1 && LEARNED.includes(data.routing)) parts.push(moved(view));
  const { since, later } = view.crowded();
  if (since + later && data.routing !== "tiled") {
    const early = since ? `${count(since, "start lies", "starts lie")} within half a cell of another since the first step` : "";
    const late = later ? `${since ? "" : "Starts: "}${later} came that close later` : "none came that close later";
    parts.push(`${[early, late].filter(Boolean).join("; ")}.`);
  }
  const share = size(layer.epitomeShape) / size(layer.weightShape);
  parts.push(`The epitome has ${fixed(share * 100, 1)} % of the weight's numbers; each is read ${fixed(mean(view.counts.values), 1)} times on average.`);
  if (layer.from !== view.step) parts.push(`Only the starts were saved at this step: the epitome is that of step ${layer.from}.`);
  if (data.rounded.includes(layer.from)) parts.push("At this step the epitome was saved with 8 bits per number.");
  if (color === "gradient" && layer.gradient)
    parts.push(`The colors are the gradient of the loss in the training step before step ${layer.gradientFrom}: for a cell of the epitome, and for a number of the weight that of the cells it reads.`);
  return parts.join(" ");
}

function moved(view) {
  const move = view.largestMove();
  if (move.size < 0.005) return "No start has moved.";
  const which = `${AXES[move.axis]} start ${move.index}`;
  if (move.size < 1) return `No start moved by more than ${fixed(Math.ceil(move.size * 100) / 100)} of a cell (${which}).`;
  return `The largest move is ${fixed(move.size)} cells (${which}).`;
}

/** The head of a column when runs are compared, as HTML. */
export function head(view, step, color) {
  const { about } = view.data;
  const moves = view.data.steps.length > 1 ? `largest move ${fixed(view.largestMove().size)} cells` : "";
  const move = LEARNED.includes(view.data.routing) ? moves : "starts do not move";
  const at = view.step === step ? "" : `step ${view.step}, the nearest that was saved`;
  const none = color === "gradient" && !view.gradients.size ? "kept no gradients" : "";
  const facts = [...about.facts, move, at, none].filter(Boolean).map(escaped).join(" · ");
  return `<b>${escaped(view.data.routing)}</b> <span class="dim">${escaped(about.title)}</span><div class="dim">${facts}</div>`;
}

/** The steps that have epitomes, in one sentence. */
export function kept(view) {
  const [all, pictured] = [view.data.steps.length, view.epitomes.size];
  if (pictured === all) return `Epitomes were saved at all ${all} steps.`;
  return `Epitomes were saved at ${pictured} of ${all} steps, the starts at all. A run keeps at most 12 steps, and 2 MB between the first and the last.`;
}

/** The chosen cell, and which patches read it. */
export function cellWords(view, state) {
  const [row, column] = state.cell;
  const readers = view.readers(state.cell);
  const reads = readers.reduce((sum, reader) => sum + reader.count, 0);
  const list = readers.slice(0, MOST_READERS).map((reader) => `(${reader.row}, ${reader.column})`);
  const more = readers.length > MOST_READERS ? ` and ${thousands(readers.length - MOST_READERS)} more` : "";
  const often = readers.length === 1 ? "It is" : "They are";
  return `<h3>Cell (${row}, ${column}) of the epitome</h3><p>Its value is <span class="hot">${number(view.cells.values[row * view.cells.columns + column])}</span>.
    <span class="hot">${thousands(reads)}</span> pairs of an output and an input channel read it. They are yellow in the weight.</p>
    <p><b>Which patches share this cell?</b> <span class="hot">${count(readers.length, "patch reads", "patches read")}</span> it${readers.length ? `: ${list.join(", ")}${more}. ${often} dashed in the weight.` : "."}</p>`;
}

/** The chosen patch: where it is read, the sum for one of its numbers, and who else reads the same cells. */
export function patchWords(view, state, others) {
  const { layer } = view;
  const [row, column] = view.patchOf(state.position);
  const span = (axis, patch) => `${patch * layer.patchShape[axis]}–${patch * layer.patchShape[axis] + patchLength(layer, axis, patch) - 1}`;
  const at = [0, 1].map((axis) => startOf(layer, axis, row, column));
  const position = [...state.position, ...view.kernel];
  const indices = (all) => all.filter((_, axis) => axis < 2 || layer.epitomeShape[axis] > 1).join(", ");
  const sum = terms(layer, position);
  const between = sum.length > 1;
  const lines = sum.slice(0, 8).map((term, i) => `${i ? "+ " : "  "}${between ? `${fixed(term.factor)} · ` : ""}E[${indices(term.cells)}]  (${number(term.value)})`);
  if (sum.length > 8) lines.push(`+ ${sum.length - 8} more`);
  const value = sum.reduce((total, term) => total + term.factor * term.value, 0);
  const names = others.slice(0, 3).map((other) => `(${other.row}, ${other.column}) ${Math.round(other.share * 100)} %`);
  const who = others.length
    ? `${count(others.length, "other patch reads", "other patches read")} more than half of this window${others.length > 3 ? ", first of all" : ":"} ${names.join(", ")}. ${others.length === 1 ? "It is" : "They are"} dashed in the weight.`
    : "No other patch reads more than half of this window.";
  return `<h3>Patch (${row}, ${column})</h3><div class="dim">output channels ${span(0, row)}, input channels ${span(1, column)}</div>
    <p>It is read from the epitome, starting at row <span class="hot">${fixed(at[0])}</span>, column <span class="hot">${fixed(at[1])}</span>.
    ${between ? "A start between cells mixes neighbors:" : "Both are whole cells, so the numbers are copied:"}</p>
    <div class="sum">W[${indices(position)}] =\n${lines.join("\n")}\n= <b>${number(value)}</b></div>
    <p><b>Who else reads these cells?</b> ${who}</p>`;
}

/** Sizes of the weight and of the epitome, for the titles of their panes. */
export function sizes(view, rows, columns) {
  const { layer, kernels } = view;
  const channels = `${layer.weightShape[0]} output × ${layer.weightShape[1]} input channels`;
  const numbers = kernels.length > 1 ? `, one of ${kernels.length} kernel positions` : ` = ${thousands(size(layer.weightShape))} numbers`;
  return {
    weight: `${channels}${numbers}, cut into ${rows} × ${columns} patches`,
    epitome: `${short(layer.epitomeShape).join(" × ")} = ${thousands(size(layer.epitomeShape))} numbers, same colors`,
  };
}
