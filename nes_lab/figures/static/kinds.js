// What the explorer does differently for layers with a flat epitome: how panes are drawn, and what is said about them.

import { moveLines, paintEpitome, paintWindow, windowRows, windowSize } from "./panes.js";
import { paintStore, paintSum, storeRows, sumRows, sumSize } from "./flat_panes.js";
import { cellWords, finding, patchWords, sizes } from "./words.js";
import { flatCellWords, flatFinding, flatPatchWords, flatSizes } from "./flat_words.js";
import { rowsOf } from "./files.js";
import { thousands } from "./numbers.js";

const AXES_KIND = {
  margins: () => [46, 40],
  paintCells: paintEpitome,
  cellRows: (view) => rowsOf(view.shownCells),
  windowSize,
  paintWindow,
  windowRows,
  moveLines,
  moveNote: "Solid: starts of output patches. Dashed: of input patches.",
  finding,
  patchWords,
  cellWords,
  sizes,
  weightHelp: "Dashed: patches that read the same cells.",
  windowTitle: "The window, magnified",
  cellHelp: "Dots on the rulers: where patches start. Click a cell, or move with the arrow keys, to see which patches share it.",
};

const FLAT_KIND = {
  margins: (view) => [22 + 7 * thousands(view.data.epitomeShape[0]).length, 8],
  paintCells: paintStore,
  cellRows: storeRows,
  windowSize: sumSize,
  paintWindow: paintSum,
  windowRows: sumRows,
  moveLines: windowMoves,
  moveNote: "Orange: the windows of the patch. Blue: those of other patches.",
  finding: flatFinding,
  patchWords: flatPatchWords,
  cellWords: flatCellWords,
  sizes: flatSizes,
  weightHelp: "Yellow: the numbers that read a chosen cell, at any kernel position.",
  windowTitle: "The windows of the patch and their sum",
  cellHelp: "The cells are drawn line by line, like text. Boxes: the windows of the patch. Click a cell, or move with the arrow keys, to see which layers and patches read it.",
};

/** What draws and describes a layer. */
export const kindOf = (view) => (view.isFlat ? FLAT_KIND : AXES_KIND);

/** The curves of the starts of a flat epitome: the windows of a patch, and a selection of the others. */
function windowMoves(view, patch) {
  const { data, layer } = view;
  const first = (patch[0] * Math.ceil(data.weightShape[1] / data.patchShape[1]) + patch[1]) * layer.windows;
  const every = Math.max(1, Math.ceil(layer.starts.length / 150));
  const shown = Array.from(layer.starts.keys()).filter((index) => index % every === 0 || (index >= first && index < first + layer.windows));
  const line = (index) => data.starts.map((all) => view.moveOf(0, index, all));
  return shown.map((index) => ({ axis: 0, index, hot: index >= first && index < first + layer.windows, label: `window ${index - first}`, moves: line(index) }));
}
