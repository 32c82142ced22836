// Compute the weight of a layer that reads a flat epitome, as nes_lab/epitome/flat_windows.py does.
//
// A flat epitome is one row of cells, which layers can share. A patch in row-major order is a sum of windows (pieces of neighboring
// cells), each with a factor. A layer is a plain object as in sampling.js, with epitomeShape [cells], windows (their number per patch),
// starts (Float32Array: one start per patch and window) and alpha (Float32Array: one factor per patch and window).

import { patchGrid, patchLength } from "./sampling.js";

const area = (shape) => shape.reduce((product, length) => product * length, 1);
const wrapped = (cell, cells) => ((cell % cells) + cells) % cells;

/** Number of cells of a window: numbers of a patch that is not cropped. */
export const windowLength = (layer) => area(layer.patchShape);

/** The windows of a patch: a list of { start, low, share, alpha }. The cell after `low` has the factor `share`, and `low` the rest of 1. */
export function windowsOf(layer, [row, column]) {
  const first = (row * Math.ceil(layer.weightShape[1] / layer.patchShape[1]) + column) * layer.windows;
  return Array.from({ length: layer.windows }, (_, k) => {
    const start = wrapped(layer.starts[first + k], layer.epitomeShape[0]);
    const low = Math.floor(start);
    return { start, low, share: start - low, alpha: layer.alpha ? layer.alpha[first + k] : null };
  });
}

const readCell = (epitome, { low, share }, place) => {
  const cells = epitome.length;
  const value = epitome[(low + place) % cells];
  return share > 0 ? value + share * (epitome[(low + place + 1) % cells] - value) : value;
};

/** What one window reads: one number for each number of the patch, without the factor. */
export const windowValues = (layer, window) => Float32Array.from({ length: windowLength(layer) }, (_, place) => readCell(layer.epitome, window, place));

/** The place of a number in its patch, in row-major order: its channels count from the corner of the patch. */
const placeOf = (layer, output, input, kernel) =>
  [output, input, ...kernel].reduce((place, index, axis) => place * layer.patchShape[axis] + index, 0);

/** One kernel position of the weight as a matrix: { rows, columns, values }, one row per output channel. */
export function flatMatrix(layer, kernel) {
  const [rows, columns] = layer.weightShape;
  const values = new Float32Array(rows * columns);
  const [gridRows, gridColumns] = patchGrid(layer);
  for (let row = 0; row < gridRows; row++)
    for (let column = 0; column < gridColumns; column++) {
      const windows = windowsOf(layer, [row, column]);
      for (let i = 0; i < patchLength(layer, 0, row); i++)
        for (let j = 0; j < patchLength(layer, 1, column); j++) {
          const place = placeOf(layer, i, j, kernel);
          let sum = 0;
          for (const window of windows) sum += window.alpha * readCell(layer.epitome, window, place);
          values[(row * layer.patchShape[0] + i) * columns + column * layer.patchShape[1] + j] = sum;
        }
    }
  return { rows, columns, values };
}

/** The products that add up to one number of the weight: a list of { window, alpha, cell, factor, value }. `factor` contains alpha. */
export function flatTerms(layer, [output, input, ...kernel]) {
  const [tall, wide] = layer.patchShape;
  const place = placeOf(layer, output % tall, input % wide, kernel);
  const cells = layer.epitomeShape[0];
  return windowsOf(layer, [Math.floor(output / tall), Math.floor(input / wide)]).flatMap(({ low, share, alpha }, window) =>
    (share > 0 ? [[0, 1 - share], [1, share]] : [[0, 1]]).map(([offset, part]) => {
      const cell = (low + place + offset) % cells;
      return { window, alpha, cell, factor: alpha * part, value: layer.epitome[cell] };
    }),
  );
}

/** Says whether a place in a patch is inside the weight, if the patch is cropped; null if it is not. */
function inside(layer, row, column) {
  const [tall, wide] = [patchLength(layer, 0, row), patchLength(layer, 1, column)];
  if (tall === layer.patchShape[0] && wide === layer.patchShape[1]) return null;
  const inner = area(layer.patchShape.slice(2));
  return (place) => Math.floor(place / inner / layer.patchShape[1]) < tall && Math.floor(place / inner) % layer.patchShape[1] < wide;
}

/** How often each cell is read for the weight of one layer, as nes_lab.geometry.flat_reads counts: Float32Array. */
export function flatCounts(layer) {
  const [cells, length] = [layer.epitomeShape[0], windowLength(layer)];
  const counts = new Float32Array(cells);
  const changes = new Int32Array(cells + 1); // complete windows: how many begin at a cell, less those that end before it
  const [gridRows, gridColumns] = patchGrid(layer);
  for (let row = 0; row < gridRows; row++)
    for (let column = 0; column < gridColumns; column++) {
      const holds = inside(layer, row, column);
      for (const { low, share } of windowsOf(layer, [row, column]))
        for (const first of share > 0 ? [low, (low + 1) % cells] : [low]) {
          const end = first + length;
          if (holds) for (let place = 0; place < length; place++) counts[(first + place) % cells] += holds(place) ? 1 : 0;
          if (holds) continue;
          changes[first] += 1;
          changes[Math.min(end, cells)] -= 1;
          if (end > cells) [changes[0], changes[end - cells]] = [changes[0] + 1, changes[end - cells] - 1];
        }
    }
  let open = 0;
  for (let cell = 0; cell < cells; cell++) counts[cell] += open += changes[cell];
  return counts;
}

/** The numbers of a layer's weight that read one cell: { row, column, rows, columns, window, place, alpha, kernel, count }. */
export function flatReaders(layer, cell) {
  const [cells, length] = [layer.epitomeShape[0], windowLength(layer)];
  const [gridRows, gridColumns] = patchGrid(layer);
  const inner = area(layer.patchShape.slice(2));
  const found = [];
  for (let row = 0; row < gridRows; row++)
    for (let column = 0; column < gridColumns; column++) {
      const holds = inside(layer, row, column);
      windowsOf(layer, [row, column]).forEach(({ low, share, alpha }, window) => {
        for (const offset of share > 0 ? [0, 1] : [0]) {
          const place = wrapped(cell - offset - low, cells);
          if (place >= length || (holds && !holds(place))) continue;
          const pair = Math.floor(place / inner);
          const rows = [row * layer.patchShape[0] + Math.floor(pair / layer.patchShape[1])];
          const columns = [column * layer.patchShape[1] + (pair % layer.patchShape[1])];
          found.push({ row, column, rows, columns, window, place, alpha, kernel: place % inner, count: 1 });
        }
      });
    }
  return found;
}
