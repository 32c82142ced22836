// Compute the weight of a layer from its epitome and its starts, as nes_lab/epitome/sampling.py does.
//
// A layer is a plain object: weightShape, epitomeShape and patchShape (lists of integers: output channels, input channels, kernel axes),
// scope ("separable" or "joint"), boundary ("clamp" or "circular"), starts (per weight axis a flat list of numbers in cells, or null
// where the cells are read in order) and epitome (Float32Array in row-major order).

/** Number of patches along the output channels and along the input channels. */
export function patchGrid(layer) {
  return [0, 1].map((axis) => Math.ceil(layer.weightShape[axis] / layer.patchShape[axis]));
}

/** Length of a patch along one axis. The last patch along an axis may be shorter. */
export function patchLength(layer, axis, patch) {
  if (axis > 1) return layer.weightShape[axis];
  return Math.min(layer.patchShape[axis], layer.weightShape[axis] - patch * layer.patchShape[axis]);
}

/** The start of a patch along one axis, in cells, as it is read: inside the epitome. */
export function startOf(layer, axis, row, column) {
  const starts = layer.starts[axis];
  const own = axis === 1 ? column : row; // kernel axes belong to the patches of output channels
  if (!starts) return axis > 1 ? 0 : own * layer.patchShape[axis];
  const columns = patchGrid(layer)[1];
  const start = layer.scope === "joint" ? starts[row * columns + column] : starts[own];
  const cells = layer.epitomeShape[axis];
  if (layer.boundary === "circular") return ((start % cells) + cells) % cells;
  return Math.min(Math.max(start, 0), cells - patchLength(layer, axis, own));
}

/** The cells that one position of the weight reads along one axis: a list of [cell, factor]. The factors add up to 1. */
export function taps(layer, axis, position, row, column) {
  const within = axis > 1 ? position : position % layer.patchShape[axis];
  const start = startOf(layer, axis, row, column);
  const cells = layer.epitomeShape[axis];
  const low = Math.floor(start);
  const share = start - low;
  const read = [[low + within, 1 - share]];
  if (share > 0) read.push([low + within + 1, share]);
  return read.map(([cell, factor]) => [layer.boundary === "circular" ? cell % cells : cell, factor]);
}

/** The products that add up to one number of the weight: a list of { cells: one index per axis, factor, value }. */
export function terms(layer, position) {
  const row = Math.floor(position[0] / layer.patchShape[0]);
  const column = Math.floor(position[1] / layer.patchShape[1]);
  let found = [{ cells: [], factor: 1, at: 0 }];
  position.forEach((index, axis) => {
    const read = taps(layer, axis, index, row, column);
    found = found.flatMap((term) =>
      read.map(([cell, factor]) => ({
        cells: [...term.cells, cell],
        factor: term.factor * factor,
        at: term.at * layer.epitomeShape[axis] + cell,
      })),
    );
  });
  return found.map(({ cells, factor, at }) => ({ cells, factor, value: layer.epitome[at] }));
}

/** One kernel position of the weight as a matrix: { rows, columns, values }, one row per output channel. */
export function weightMatrix(layer, kernel) {
  const [rows, columns] = layer.weightShape;
  const values = new Float32Array(rows * columns);
  const [gridRows, gridColumns] = patchGrid(layer);
  for (let row = 0; row < gridRows; row++) {
    for (let column = 0; column < gridColumns; column++) {
      readPatch(layer, row, column, kernel, values, columns);
    }
  }
  return { rows, columns, values };
}

function readPatch(layer, row, column, kernel, values, width) {
  // what the kernel axes read is the same for the whole patch: a list of [offset, factor]
  let planes = [[0, 1]];
  kernel.forEach((index, axis) => {
    const read = taps(layer, axis + 2, index, row, column);
    planes = planes.flatMap(([offset, factor]) =>
      read.map(([cell, share]) => [offset * layer.epitomeShape[axis + 2] + cell, factor * share]),
    );
  });
  const plane = layer.epitomeShape.slice(2).reduce((product, size) => product * size, 1);
  const line = layer.epitomeShape[1] * plane;
  const firstRow = row * layer.patchShape[0];
  const firstColumn = column * layer.patchShape[1];
  const across = [];
  for (let j = 0; j < patchLength(layer, 1, column); j++) across.push(taps(layer, 1, firstColumn + j, row, column));
  for (let i = 0; i < patchLength(layer, 0, row); i++) {
    const down = taps(layer, 0, firstRow + i, row, column);
    for (let j = 0; j < across.length; j++) {
      let sum = 0;
      for (const [r, a] of down)
        for (const [c, b] of across[j])
          for (const [offset, k] of planes) sum += a * b * k * layer.epitome[r * line + c * plane + offset];
      values[(firstRow + i) * width + firstColumn + j] = sum;
    }
  }
}

/** How often each cell of the epitome's channel axes is read: { rows, columns, values }, as nes_lab.geometry.coverage counts. */
export function readCounts(layer) {
  const [rows, columns] = layer.epitomeShape;
  const values = new Float32Array(rows * columns);
  const [gridRows, gridColumns] = patchGrid(layer);
  const reads = (axis, row, column) => {
    const counts = new Map();
    const own = axis ? column : row;
    for (let i = 0; i < patchLength(layer, axis, own); i++)
      for (const [cell] of taps(layer, axis, own * layer.patchShape[axis] + i, row, column))
        counts.set(cell, (counts.get(cell) || 0) + 1);
    return counts;
  };
  for (let row = 0; row < gridRows; row++)
    for (let column = 0; column < gridColumns; column++) {
      const across = reads(1, row, column);
      for (const [r, n] of reads(0, row, column)) for (const [c, m] of across) values[r * columns + c] += n * m;
    }
  return { rows, columns, values };
}

/** Share of the window of one patch that another patch reads too, from 0 to 1. */
export function overlap(layer, first, second) {
  return [0, 1].reduce((share, axis) => {
    const length = patchLength(layer, axis, first[axis]);
    const cells = layer.epitomeShape[axis];
    let apart = Math.abs(startOf(layer, axis, ...first) - startOf(layer, axis, ...second));
    if (layer.boundary === "circular") apart = Math.min(apart, cells - apart);
    return share * Math.max(0, (length - apart) / length);
  }, 1);
}

/** The patches that read one cell of the epitome's channel axes: a list of { row, column, rows, columns, count }. */
export function readersOf(layer, cell) {
  const [gridRows, gridColumns] = patchGrid(layer);
  const positions = (axis, row, column) => {
    const own = axis ? column : row;
    const first = own * layer.patchShape[axis];
    return Array.from({ length: patchLength(layer, axis, own) }, (_, i) => first + i).filter((at) =>
      taps(layer, axis, at, row, column).some(([read]) => read === cell[axis]),
    );
  };
  const separable = layer.scope === "separable"; // an axis then reads the same for every patch across it
  const across = separable && Array.from({ length: gridColumns }, (_, column) => positions(1, 0, column));
  const found = [];
  for (let row = 0; row < gridRows; row++) {
    const down = separable && positions(0, row, 0);
    for (let column = 0; column < gridColumns; column++) {
      const columns = across ? across[column] : positions(1, row, column);
      const rows = down || (columns.length ? positions(0, row, column) : []);
      if (rows.length && columns.length) found.push({ row, column, rows, columns, count: rows.length * columns.length });
    }
  }
  return found;
}

/** The cells of one axis that a patch reads, in order. */
export function windowCells(layer, axis, [row, column]) {
  const own = axis ? column : row;
  const first = own * layer.patchShape[axis];
  const read = Array.from({ length: patchLength(layer, axis, own) }, (_, i) => taps(layer, axis, first + i, row, column).map(([cell]) => cell));
  return [...new Set(read.flat())];
}

/** Numbers of an epitome from base64 text: little-endian float32, or 8-bit integers times a factor. */
export function decodeCells(text, factor) {
  if (factor === undefined) return decodeFloats(text);
  return Float32Array.from(new Int8Array(decodeBytes(text)), (integer) => integer * factor);
}

/** A Float32Array from base64 text (little-endian), as Python's explorer_data writes it. */
export function decodeFloats(text) {
  return new Float32Array(decodeBytes(text));
}

function decodeBytes(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i); // a callback per letter takes ten times as long
  return bytes.buffer;
}
