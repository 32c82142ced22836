// One layer of one run: what it holds at a step, and the matrices that its panes draw.

import { decodeCells, overlap, patchGrid, readCounts, readersOf, startOf, weightMatrix } from "./sampling.js";
import { largest, minus, positions } from "./numbers.js";

export class LayerView {
  constructor(data) {
    this.data = data;
    const decode = (texts, factors) => new Map(Object.entries(texts).map(([step, text]) => [Number(step), decodeCells(text, factors[step])]));
    this.epitomes = decode(data.epitomes, data.factors);
    this.gradients = decode(data.gradients, data.gradientFactors);
    this.kernels = positions(data.weightShape.slice(2));
    this.images = new Map();
    this.storeLimit = 0; // cells have the colors of the weight
  }

  /** The saved step that is nearest to a step of another run. */
  nearest(step) {
    return this.data.steps.reduce((best, each) => (Math.abs(each - step) < Math.abs(best - step) ? each : best));
  }

  /** The layer at a saved step. Where no epitome was saved, the one before it is shown. */
  at(step) {
    const { data } = this;
    const kept = (map) => {
      const steps = [...map.keys()].sort((a, b) => a - b);
      return steps.filter((each) => each <= step).at(-1) ?? steps[0];
    };
    const from = kept(this.epitomes);
    const gradientFrom = kept(this.gradients);
    return { ...data, starts: data.starts[data.steps.indexOf(step)], epitome: this.epitomes.get(from), from, gradient: this.gradients.get(gradientFrom), gradientFrom };
  }

  /** Compute the matrices of a step. Values, changes, gradients or counts are drawn; `limit` is the largest of them. */
  compute(step, kernelIndex, color) {
    this.step = this.nearest(step);
    const layer = (this.layer = this.at(this.step));
    const kernel = (this.kernel = this.kernels[Math.min(kernelIndex, this.kernels.length - 1)]);
    this.weight = this.weightOf(layer, kernel);
    this.cells = this.plane(layer, kernel);
    this.counts = this.countsOf(layer);
    [this.shownWeight, this.shownCells, this.limit] = [this.weight, this.cells, this.data.largest];
    if (color === "change") {
      const first = this.at(this.data.steps[0]);
      this.shownWeight = minus(this.weight, this.weightOf(first, kernel));
      this.shownCells = minus(this.cells, this.plane(first, kernel));
      this.limit = largest(this.shownCells.values);
    } else if (color === "gradient" && layer.gradient) {
      const slopes = { ...layer, epitome: layer.gradient };
      this.shownWeight = this.weightOf(slopes, kernel);
      this.shownCells = this.plane(slopes, kernel);
      this.limit = largest(this.shownCells.values);
    } else if (color === "gradient") {
      const none = (matrix) => ({ ...matrix, values: new Float32Array(matrix.values.length) });
      [this.shownWeight, this.shownCells, this.limit] = [none(this.weight), none(this.cells), 0];
    } else if (color === "reuse") {
      [this.shownCells, this.shownWeight, this.limit] = [this.counts, this.reused(layer, kernel), largest(this.counts.values)];
    }
    this.images = new Map();
    this.readersAt = null;
  }

  weightOf(layer, kernel) {
    return weightMatrix(layer, kernel);
  }

  countsOf(layer) {
    return readCounts(layer);
  }

  /** How often the cells are read that each number of the weight reads, as a matrix. */
  reused(layer) {
    const flat = { ...layer, epitomeShape: layer.epitomeShape.slice(0, 2), weightShape: layer.weightShape.slice(0, 2), epitome: this.counts.values };
    return weightMatrix(flat, []);
  }

  /** The cell that an address names, such as "3.5"; null if the epitome does not have it. */
  cellNamed(text) {
    return /^\d{1,6}\.\d{1,6}$/.test(text || "") ? this.inside(text.split(".").map(Number)) : null;
  }

  /** A cell, if the epitome has it; else null. */
  inside(cell) {
    return cell && cell.length === 2 && cell.every((index, axis) => index >= 0 && index < this.data.epitomeShape[axis]) ? cell : null;
  }

  /** The cell at a place of the picture of the epitome, counted in cells from its corner. */
  cellAt([row, column]) {
    return this.inside([Math.floor(row), Math.floor(column)]);
  }

  /** The cell beside another one, in the direction of an arrow. Without one, the first cell. */
  cellBeside(cell, arrow) {
    return (cell || [0, 0]).map((index, axis) => Math.min(Math.max(index + (cell ? arrow[axis] : 0), 0), this.data.epitomeShape[axis] - 1));
  }

  /** One kernel position of the epitome as a matrix. Where the kernel axis is sampled, the cell nearest to the position. */
  plane(layer, kernel) {
    const [rows, columns, ...sizes] = layer.epitomeShape;
    const plane = sizes.reduce((product, size) => product * size, 1);
    const offset = kernel.reduce((at, index, axis) => at * sizes[axis] + Math.min(index, sizes[axis] - 1), 0);
    const values = new Float32Array(rows * columns);
    for (let i = 0; i < values.length; i++) values[i] = layer.epitome[i * plane + offset];
    return { rows, columns, values };
  }

  /** The patch that holds a position of the weight. */
  patchOf(position) {
    const grid = patchGrid(this.data);
    return position.map((index, axis) => Math.min(Math.floor(index / this.data.patchShape[axis]), grid[axis] - 1));
  }

  /** The patch whose window is drawn. */
  shownPatch({ position }) {
    return this.patchOf(position);
  }

  /** The patches that read a cell, counted once per cell and step. */
  readers(cell) {
    const key = String(cell);
    if (!this.readersAt || this.readersAt.key !== key) this.readersAt = { key, found: readersOf(this.layer, cell) };
    return this.readersAt.found;
  }

  /** The patches that read more than half of the cells of a patch, most first: { row, column, share }. */
  near(patch) {
    const [rows, columns] = patchGrid(this.layer);
    if (rows * columns > 20000) return [];
    const found = [];
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++) {
        if (row === patch[0] && column === patch[1]) continue;
        const share = overlap(this.layer, patch, [row, column]);
        if (share > 0.5) found.push({ row, column, share });
      }
    return found.sort((a, b) => b.share - a.share);
  }

  /** The start that has moved furthest since the first step: { size, axis, index }. On a circular epitome the shorter way counts. */
  largestMove() {
    let best = { size: 0, axis: 0, index: 0 };
    for (const axis of this.layer.starts.keys())
      (this.layer.starts[axis] || []).forEach((_, index) => {
        const size = Math.abs(this.moveOf(axis, index, this.layer.starts));
        if (size > best.size) best = { size, axis, index };
      });
    return best;
  }

  moveOf(axis, index, starts) {
    const cells = this.data.epitomeShape[axis];
    const move = starts[axis][index] - this.data.starts[0][axis][index];
    return this.data.boundary === "circular" ? move - cells * Math.round(move / cells) : move;
  }

  /** Number of starts, and of places at which patches begin. */
  places() {
    const [rows, columns] = patchGrid(this.layer);
    const seen = new Set();
    const own = (axis, row, column) => startOf(this.layer, axis, row, column).toFixed(3);
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns && seen.size < 5000; column++) seen.add(`${own(0, row, column)} ${own(1, row, column)}`);
    return { starts: this.layer.starts.reduce((sum, starts) => sum + (starts || []).length, 0), patches: rows * columns, places: seen.size };
  }

  /** Starts closer than half a cell to another one: those that were since the first step, and those that came later. */
  crowded() {
    const found = { since: 0, later: 0 };
    if (this.layer.scope !== "separable") return found; // a start of a joint layer has two coordinates
    const near = (starts) => {
      const order = starts.map((_, i) => i).sort((a, b) => starts[a] - starts[b]);
      const close = starts.map(() => false);
      for (let i = 1; i < order.length; i++) if (starts[order[i]] - starts[order[i - 1]] < 0.5) close[order[i]] = close[order[i - 1]] = true;
      return close;
    };
    for (const axis of [0, 1]) {
      if (!this.layer.starts[axis]) continue;
      const before = near(this.data.starts[0][axis]);
      near(this.layer.starts[axis]).forEach((close, i) => {
        if (close) found[before[i] ? "since" : "later"] += 1;
      });
    }
    return found;
  }
}
