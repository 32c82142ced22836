// Draw the panes of a layer that reads a flat epitome: the cells line by line, and the windows of a patch with their sum.

import { windowLength, windowsOf } from "./flat_sampling.js";
import { number, thousands } from "./numbers.js";

const WINDOWS = ["#d9480f", "#0072b2", "#007a55", "#b0408a"];
const WINDOWS_ON_DARK = ["#ff8c4d", "#56b4e9", "#2fbf8f", "#e78ac3"];
const WIDEST_LABEL = 124; // pixels
const CHOSEN = "#ffd43b";
const LETTERS = "11px 'DejaVu Sans', sans-serif";
const LABEL = 18; // pixels above the picture of a window

/** The color of a window, by its number. */
export const windowColor = (window, dark) => (dark ? WINDOWS_ON_DARK : WINDOWS)[window % WINDOWS.length];

/** The boxes of a window in the picture, one for each line that it touches: [column, row, length, 1]. */
export function lineBoxes(view, { start }, length) {
  const cells = view.data.epitomeShape[0];
  const boxes = [];
  for (const [first, last] of start + length > cells ? [[start, cells], [0, start + length - cells]] : [[start, start + length]])
    for (let at = first; at < last - 1e-6; ) {
      const row = Math.floor(at / view.width);
      const end = Math.min(last, (row + 1) * view.width);
      boxes.push([at - row * view.width, row, end - at, 1]);
      at = end;
    }
  return boxes;
}

/** The flat epitome, line by line, with the windows of a patch, each in its color. */
export function paintStore(pen, view, look, { left, top, scale, patch, cell }) {
  const { shownCells, layer, width } = view;
  const [w, h] = [shownCells.columns * scale, shownCells.rows * scale];
  const cells = layer.epitomeShape[0];
  const draw = () => {
    pen.imageSmoothingEnabled = scale < 1;
    pen.drawImage(look.image(view, shownCells), left, top, w, h);
  };
  const place = ([x, y, wide, tall]) => [left + x * scale, top + y * scale, wide * scale, tall * scale];
  draw();
  pen.fillStyle = look.dark ? "rgba(14,17,23,.5)" : "rgba(255,255,255,.5)"; // pale outside the windows
  pen.fillRect(left, top, w, h);
  const windows = windowsOf(layer, patch).map((window, k) => ({ boxes: lineBoxes(view, window, windowLength(layer)).map(place), color: windowColor(k, look.dark) }));
  pen.save();
  pen.beginPath();
  windows.forEach(({ boxes }) => boxes.forEach((box) => pen.rect(...box)));
  pen.clip();
  draw();
  pen.restore();
  if (cells < shownCells.rows * width) {
    pen.fillStyle = look.card; // the last line ends here
    pen.fillRect(...place([cells % width, shownCells.rows - 1, width - (cells % width), 1]).map((x, i) => (i > 1 ? x + 1 : x)));
  }
  for (const { boxes, color } of windows)
    for (const [x, y, wide, tall] of boxes)
      for (const [line, thick, out] of [[look.card, 4, 2], [color, 2, 1]]) {
        pen.strokeStyle = line;
        pen.lineWidth = thick;
        pen.strokeRect(x - out / 2, y - out / 2, wide + out, tall + out);
      }
  paintLines(pen, view, look, { left, top, scale });
  if (!cell) return;
  const side = Math.max(scale, 5);
  const [x, y] = [left + (cell[0] % width) * scale + (scale - side) / 2, top + Math.floor(cell[0] / width) * scale + (scale - side) / 2];
  pen.fillStyle = CHOSEN;
  pen.fillRect(x, y, side, side);
  pen.strokeStyle = "#000";
  pen.lineWidth = 1.5;
  pen.strokeRect(x, y, side, side);
}

/** The number of the first cell of some lines. */
function paintLines(pen, view, look, { left, top, scale }) {
  const { rows } = view.shownCells;
  const gap = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((step) => step * scale >= 18) || 1000;
  Object.assign(pen, { fillStyle: look.ink, font: LETTERS, textAlign: "right", textBaseline: "middle" });
  for (let row = 0; row < rows; row += gap) pen.fillText(thousands(row * view.width), left - 6, top + (row + 0.5) * scale);
}

/** Size of the pane with the windows of a patch, and the place of each picture: { scale, width, height, text, boxes }. */
export function sumSize(view, patch, room) {
  const { rows, columns } = view.sums(patch).matrix;
  const count = view.layer.windows + 1;
  const across = Math.max(1, Math.min(count, Math.floor((room + 14) / (Math.max(columns * 4, WIDEST_LABEL) + 14))));
  const scale = Math.min((room - 14 * (across - 1)) / across / columns, 180 / rows, 18);
  const [wide, tall] = [Math.max(columns * scale, WIDEST_LABEL) + 14, rows * scale + LABEL + 10];
  const boxes = Array.from({ length: count }, (_, i) => [(i % across) * wide, Math.floor(i / across) * tall + LABEL]);
  const text = `${view.layer.windows === 1 ? "The window" : `The sum of ${view.layer.windows} windows`}, each times its factor, is the patch. ${tileText(view)}`;
  const where = view.sums(patch).windows.map(({ low }) => `cell ${low}`).join(" and ") + " on";
  return { scale, width: wide * across - 11, height: tall * Math.ceil(count / across), text, where, boxes };
}

function tileText({ data }) {
  const kernel = data.patchShape.slice(2);
  if (kernel.every((length) => length === 1)) return "Rows: output channels. Columns: input channels.";
  return `Each ${kernel.join(" × ")} tile is the kernel of one output and one input channel.`;
}

/** The windows of a patch, each with its factor, and the patch that is their sum. */
export function paintSum(pen, view, look, { scale, patch, boxes, cell }) {
  const { windows, matrix } = view.sums(patch);
  const marked = cell ? view.readers(cell).filter(({ row, column }) => row === patch[0] && column === patch[1]) : [];
  [...windows, { matrix }].forEach((part, i) => {
    const [x, y] = boxes[i];
    const { rows, columns, tile } = part.matrix;
    const [w, h] = [columns * scale, rows * scale];
    pen.imageSmoothingEnabled = false;
    pen.drawImage(look.image(view, part.matrix), x + 1, y, w, h);
    pen.strokeStyle = look.dark ? "rgba(255,255,255,.35)" : "rgba(27,39,51,.35)";
    pen.lineWidth = 0.7;
    if (Math.max(...tile) * scale > 4)
      for (let a = 0; a <= rows; a += tile[0]) for (let b = 0; b < columns; b += tile[1]) pen.strokeRect(x + 1 + b * scale, y + a * scale, tile[1] * scale, 0);
    if (Math.max(...tile) * scale > 4)
      for (let b = 0; b <= columns; b += tile[1]) pen.strokeRect(x + 1 + b * scale, y, 0, h);
    for (const read of marked.filter(({ window }) => window === i)) paintRead(pen, part.matrix, read.place, [x + 1, y, scale]);
    pen.strokeStyle = part.alpha === undefined ? look.ink : windowColor(i, look.dark);
    pen.lineWidth = 2;
    pen.strokeRect(x + 1, y, w, h);
    Object.assign(pen, { fillStyle: look.ink, font: LETTERS, textAlign: "left", textBaseline: "alphabetic" });
    const sign = part.alpha < 0 ? "−" : i ? "+" : "";
    pen.fillText(part.alpha === undefined ? "= patch" : `${sign} ${number(Math.abs(part.alpha))} × window ${i}`.trim(), x + 1, y - 5);
  });
}

/** Mark the number of a window that a chosen cell gives. */
function paintRead(pen, { tile: [tall, wide], columns }, place, [left, top, scale]) {
  const pair = Math.floor(place / (tall * wide));
  const inputs = columns / wide;
  const [x, y] = [(pair % inputs) * wide + (place % wide), Math.floor(pair / inputs) * tall + (Math.floor(place / wide) % tall)];
  for (const [color, line] of [["#000", 4], [CHOSEN, 2]]) {
    pen.strokeStyle = color;
    pen.lineWidth = line;
    pen.strokeRect(left + x * scale, top + y * scale, scale, scale);
  }
}

/** The numbers of a patch and of its windows, for a table. */
export function sumRows(view, patch) {
  const { windows, values } = view.sums(patch);
  const cells = view.data.epitomeShape[0];
  const heads = windows.flatMap((_, k) => [`first cell ${k}`, `factor ${k}`, `window ${k}`]);
  return [["place", ...heads, "patch"], ...Array.from(values, (value, place) => [place, ...windows.flatMap(({ low, alpha, values: read }) => [(low + place) % cells, alpha, read[place]]), value])];
}

/** The cells with their values and how often each is read, for a table. */
export const storeRows = (view) => [
  ["cell", "value", "reads"],
  ...Array.from({ length: view.data.epitomeShape[0] }, (_, cell) => [cell, view.shownCells.values[cell], view.counts.values[cell]]),
];
