// One layer of one run that reads a flat epitome: what it holds at a step, and the matrices that its panes draw.

import { decodeFloats, patchGrid } from "./sampling.js";
import { flatCounts, flatMatrix, flatReaders, windowValues, windowsOf } from "./flat_sampling.js";
import { largest } from "./numbers.js";
import { LayerView } from "./view.js";

/** The view of a layer, of the kind that its epitome needs. */
export const viewOf = (data) => (data.scope === "flat" ? new FlatView(data) : new LayerView(data));

/** Starts of each step. A step without its own has those of the step before. */
function startsByStep(texts) {
  let last = null;
  return texts.map((text) => (last = text === null ? last : decodeFloats(text)));
}

export class FlatView extends LayerView {
  constructor(data) {
    const readers = data.readers.map((reader) => ({ ...reader, epitomeShape: data.epitomeShape, starts: startsByStep(reader.starts) }));
    const own = readers.find((reader) => reader.name === data.name);
    super({ ...data, readers, starts: own.starts.map((starts) => [starts]) });
    this.isFlat = true;
    this.alphas = new Map(Object.entries(data.alphas).map(([step, text]) => [Number(step), decodeFloats(text)]));
    this.counted = new WeakMap();
    const cells = data.epitomeShape[0];
    this.width = Math.min(cells, Math.max(16, Math.ceil(Math.sqrt(2.5 * cells)))); // cells of one line of the picture
  }

  /** The layer at a saved step. Factors that were not saved there are those of the step before that has some. */
  at(step) {
    const layer = super.at(step);
    const steps = [...this.alphas.keys()].sort((a, b) => a - b);
    const alphaFrom = steps.filter((each) => each <= step).at(-1) ?? steps[0];
    return { ...layer, starts: layer.starts[0], alpha: this.alphas.get(alphaFrom), alphaFrom };
  }

  compute(step, kernelIndex, color) {
    super.compute(step, kernelIndex, color);
    this.storeLimit = this.limit; // the weight has colors of its own, because factors are far from 1
    if (color !== "reuse") this.limit = largest(this.shownWeight.values);
    this.weightLimit = largest(this.weight.values);
    this.shownCells.isStore = true;
    this.sumsAt = null;
  }

  weightOf(layer, kernel) {
    return flatMatrix(layer, kernel);
  }

  /** One number per cell as a picture: line by line, like text. Its last line is filled with zeros. */
  lines(cells) {
    const rows = Math.ceil(cells.length / this.width);
    const values = new Float32Array(rows * this.width);
    values.set(cells);
    return { rows, columns: this.width, values, isStore: true };
  }

  plane(layer) {
    return this.lines(layer.epitome);
  }

  /** The other layers that read the epitome, and this one, at the chosen step. */
  layersNow() {
    const at = this.data.steps.indexOf(this.step);
    return this.data.readers.map((reader) => ({ ...reader, starts: reader.starts[at], alpha: reader.name === this.data.name ? this.layer.alpha : null }));
  }

  /** How often one layer reads each cell. Starts that did not change are counted once. */
  countsBy(reader) {
    if (!this.counted.has(reader.starts)) this.counted.set(reader.starts, flatCounts(reader));
    return this.counted.get(reader.starts);
  }

  /** How often all layers together read each cell. */
  countsOf() {
    const readers = this.layersNow();
    if (this.summed && readers.every(({ starts }, i) => starts === this.summed.starts[i])) return this.summed.lines;
    const sum = new Float32Array(this.data.epitomeShape[0]);
    for (const reader of readers) {
      const counts = this.countsBy(reader);
      for (let cell = 0; cell < sum.length; cell++) sum[cell] += counts[cell];
    }
    this.summed = { starts: readers.map(({ starts }) => starts), lines: this.lines(sum) };
    return this.summed.lines;
  }

  reused(layer, kernel) {
    return flatMatrix({ ...layer, epitome: this.counts.values.subarray(0, layer.epitomeShape[0]), alpha: new Float32Array(layer.starts.length).fill(1 / layer.windows) }, kernel);
  }

  cellNamed(text) {
    return /^\d{1,9}$/.test(text || "") ? this.inside([Number(text)]) : null;
  }

  inside(cell) {
    return cell && cell.length === 1 && cell[0] >= 0 && cell[0] < this.data.epitomeShape[0] ? cell : null;
  }

  cellAt([row, column]) {
    return column >= 0 && column < this.width ? this.inside([Math.floor(row) * this.width + Math.floor(column)]) : null;
  }

  cellBeside(cell, [down, across]) {
    return cell ? this.inside([cell[0] + down * this.width + across]) || cell : [0];
  }

  readers([cell]) {
    if (!this.readersAt || this.readersAt.cell !== cell) {
      const all = this.layersNow().map((reader) => ({ name: reader.name, kernelShape: reader.weightShape.slice(2), found: flatReaders(reader, cell) }));
      this.readersAt = { cell, all, own: all.find((reader) => reader.name === this.data.name).found };
    }
    return this.readersAt.own;
  }

  /** The patch whose windows are drawn: the first that reads a chosen cell, or the one under the pointer. */
  shownPatch({ position, cell }) {
    const reader = this.inside(cell) && this.readers(cell)[0];
    return reader ? [reader.row, reader.column] : this.patchOf(position);
  }

  near() {
    return []; // two windows seldom read the same cells
  }

  /** The windows of a patch and their sum, as pictures of their values: the kernel of each pair of channels is one tile. */
  sums(patch) {
    const key = String(patch);
    if (this.sumsAt?.key === key) return this.sumsAt;
    for (const old of this.sumsAt ? [...this.sumsAt.windows, this.sumsAt] : []) this.images.delete(old.matrix);
    const { layer } = this;
    const windows = windowsOf(layer, patch).map((window) => ({ ...window, values: windowValues(layer, window) }));
    const values = windows[0].values.map((_, place) => windows.reduce((total, window) => total + window.alpha * window.values[place], 0));
    const pictured = windows.map((window) => ({ ...window, matrix: this.tiles(window.values, this.data.largest) }));
    this.sumsAt = { key, windows: pictured, values, matrix: this.tiles(values, this.weightLimit) };
    return this.sumsAt;
  }

  tiles(values, limit) {
    const [outputs, inputs, ...kernel] = this.data.patchShape;
    const wide = kernel.at(-1) ?? 1;
    const tall = kernel.reduce((product, length) => product * length, 1) / wide;
    const matrix = { rows: outputs * tall, columns: inputs * wide, values: new Float32Array(values.length), limit, tile: [tall, wide] };
    values.forEach((value, place) => {
      const [x, y] = [place % wide, Math.floor(place / wide) % tall];
      const pair = Math.floor(place / (tall * wide));
      matrix.values[(Math.floor(pair / inputs) * tall + y) * matrix.columns + (pair % inputs) * wide + x] = value;
    });
    return matrix;
  }

  largestMove() {
    const best = { size: 0, axis: 0, index: 0 };
    this.layer.starts.forEach((_, index) => {
      const size = Math.abs(this.moveOf(0, index, [this.layer.starts]));
      if (size > best.size) Object.assign(best, { size, index });
    });
    return best;
  }

  places() {
    const [rows, columns] = patchGrid(this.layer);
    return { starts: this.layer.starts.length, patches: rows * columns };
  }
}
