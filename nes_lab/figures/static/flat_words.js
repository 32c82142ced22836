// Say in words what the explorer shows of a layer that reads a flat epitome. All texts that come from a run are escaped.

import { patchLength } from "./sampling.js";
import { flatTerms, windowLength } from "./flat_sampling.js";
import { count, escaped, fixed, mean, number, size, thousands } from "./numbers.js";
import { LEARNED } from "./words.js";
import { windowColor } from "./flat_panes.js";

const MOST_LAYERS = 12;
const MOST_PATCHES = 6;

const named = (k) => `<b style="color: color-mix(in srgb, ${windowColor(k)} 72%, var(--ink))">window ${k}</b>`;
const span = (layer, axis, patch) => `${patch * layer.patchShape[axis]}–${patch * layer.patchShape[axis] + patchLength(layer, axis, patch) - 1}`;
const signed = (value, first) => `${value < 0 ? "− " : first ? "  " : "+ "}${number(Math.abs(value))}`;

/** What the numbers say about a layer at a step, as HTML. */
export function flatFinding(view, color) {
  const { layer, data } = view;
  const { patches } = view.places();
  const [cells, readers] = [data.epitomeShape[0], data.readers.length];
  const own = view.countsBy(view.layersNow().find((reader) => reader.name === data.name));
  const parts = [`<b>${count(patches, "patch", "patches")}, each a sum of ${count(layer.windows, "window", "windows")}</b> of ${thousands(windowLength(layer))} neighboring cells.`];
  const shared = readers > 1 ? `${readers} layers share the epitome of ${thousands(cells)} cells` : `Only this layer reads the epitome of ${thousands(cells)} cells`;
  parts.push(`${shared}. A cell is read ${fixed(mean(view.counts.values.subarray(0, cells)), 1)} times on average${readers > 1 ? `, ${fixed(mean(own), 1)} times by this layer` : ""}.`);
  parts.push(`This layer's weight has ${thousands(size(layer.weightShape))} numbers and ${thousands(layer.alpha.length)} factors.`);
  if (data.steps.length > 1 && LEARNED.includes(data.routing)) {
    const move = view.largestMove();
    parts.push(move.size < 0.005 ? "No start has moved." : `The largest move of a start is ${fixed(move.size)} cells.`);
  }
  if (layer.from !== view.step) parts.push(`The epitome was not saved at this step: it is that of step ${layer.from}.`);
  if (layer.alphaFrom !== view.step) parts.push(`The factors are those of step ${layer.alphaFrom}.`);
  if (data.rounded.includes(layer.from)) parts.push("At this step the epitome was saved with 8 bits per number.");
  if (color === "reuse" && readers > 1) parts.push("The colors of the cells count the reads of all layers.");
  if (color === "gradient" && layer.gradient) parts.push(`The colors are the gradient of the loss, of all layers, in the training step before step ${layer.gradientFrom}.`);
  return parts.join(" ");
}

/** The chosen patch: its windows and their factors, the sum for one of its numbers, and who else reads the epitome. */
export function flatPatchWords(view, state) {
  const { layer, data } = view;
  const [row, column] = view.patchOf(state.position);
  const cells = data.epitomeShape[0];
  const length = windowLength(layer);
  const windows = view.sums([row, column]).windows.map(({ low, share, alpha }, k) => {
    const last = (low + length - 1 + (share > 0 ? 1 : 0)) % cells;
    const between = share > 0 ? `, starting at ${fixed(low + share, 3)}` : "";
    return `<div>${named(k)}: cells ${thousands(low)} to ${thousands(last)}${last < low ? " (past the end, on from cell 0)" : ""}${between}, factor <span class="hot">${number(alpha)}</span></div>`;
  });
  const position = [...state.position, ...view.kernel];
  const terms = flatTerms(layer, position);
  const lines = terms.slice(0, 8).map(({ factor, cell, value }, i) => `${signed(factor, !i)} · E[${cell}]  (${number(value)})`);
  if (terms.length > 8) lines.push(`+ ${terms.length - 8} more`);
  const value = terms.reduce((total, term) => total + term.factor * term.value, 0);
  const others = data.readers.filter((reader) => reader.name !== data.name).map((reader) => escaped(reader.name));
  const who = others.length
    ? `${count(others.length, "other layer", "other layers")}: ${others.slice(0, MOST_LAYERS).join(", ")}${others.length > MOST_LAYERS ? ` and ${others.length - MOST_LAYERS} more` : ""}. Click a cell to see which patches read it.`
    : "No other layer. Click a cell to see which patches read it.";
  return `<h3>Patch (${row}, ${column})</h3><div class="dim">output channels ${span(layer, 0, row)}, input channels ${span(layer, 1, column)}</div>
    <p>Its ${thousands(length)} numbers are a sum of ${count(layer.windows, "window", "windows")} of the epitome:</p>${windows.join("")}
    <div class="sum">W[${position.join(", ")}] =\n${lines.join("\n")}\n= <b>${number(value)}</b></div>
    <p><b>Who else reads this epitome?</b> ${who}</p>`;
}

/** The chosen cell, and which layers and patches read it. */
export function flatCellWords(view, state) {
  const [cell] = state.cell;
  const own = view.readers(state.cell);
  const { all } = view.readersAt;
  const reads = all.reduce((sum, reader) => sum + reader.found.length, 0);
  const reading = all.filter((reader) => reader.found.length);
  const mine = own.slice(0, MOST_PATCHES).map(
    ({ row, column, rows, columns, window, alpha, kernel }) =>
      `<div>patch (${row}, ${column}), ${named(window)}: factor ${number(alpha)}, for W[${[rows[0], columns[0], ...view.kernels[kernel]].join(", ")}]</div>`,
  );
  const layers = reading.slice(0, MOST_LAYERS).map(({ name, found }) => {
    const patches = [...new Set(found.map(({ row, column }) => `(${row}, ${column})`))];
    const more = patches.length > MOST_PATCHES ? ` and ${patches.length - MOST_PATCHES} more` : "";
    return `<div><b>${escaped(name)}</b> ${count(found.length, "time", "times")}: ${patches.length === 1 ? "patch" : "patches"} ${patches.slice(0, MOST_PATCHES).join(", ")}${more}</div>`;
  });
  const rest = reading.length > MOST_LAYERS ? `<div>and ${reading.length - MOST_LAYERS} more layers</div>` : "";
  const here = own.length > MOST_PATCHES ? `<div>and ${own.length - MOST_PATCHES} more</div>` : "";
  return `<h3>Cell ${thousands(cell)} of the epitome</h3><p>Its value is <span class="hot">${number(view.layer.epitome[cell])}</span>.
    ${count(reading.length, "layer reads", "layers read")} it <span class="hot">${count(reads, "time", "times")}</span>.</p>
    <p><b>In this layer</b>${own.length ? ", yellow in the weight:" : " no patch reads it."}</p>${mine.join("")}${here}
    <p><b>Which layers and patches read it?</b></p>${layers.join("")}${rest}`;
}

/** Sizes of the weight and of the epitome, for the titles of their panes. */
export function flatSizes(view, rows, columns) {
  const { layer, kernels } = view;
  const channels = `${layer.weightShape[0]} output × ${layer.weightShape[1]} input channels`;
  const numbers = kernels.length > 1 ? `, one of ${kernels.length} kernel positions` : ` = ${thousands(size(layer.weightShape))} numbers`;
  return {
    weight: `${channels}${numbers}, cut into ${rows} × ${columns} patches`,
    epitome: `${thousands(layer.epitomeShape[0])} cells, ${thousands(view.width)} in a line`,
  };
}
