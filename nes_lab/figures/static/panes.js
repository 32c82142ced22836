// Draw the panes of the explorer: the weight, the epitome, the window of a patch, and the moves of the starts.
//
// Each function takes a pen, which is that of a canvas or writes SVG (files.js), and `look`: { dark, ink, blue(opacity), image(view, matrix) }.

import { patchGrid, patchLength, startOf, windowCells } from "./sampling.js";
import { fixed, largest, thinned } from "./numbers.js";

const HOT = "#d9480f";
const YELLOW = "#ffd43b";
const FONT = "11px 'DejaVu Sans', sans-serif";
const MOST_LINES = 150;

/** An orange box with a white edge, which shows on every color. */
function outline(pen, box) {
  for (const [color, width] of [["#fff", 5], [HOT, 2.6]]) {
    pen.strokeStyle = color;
    pen.lineWidth = width;
    pen.strokeRect(...box);
  }
}

function picture(pen, image, scale, ...box) {
  pen.imageSmoothingEnabled = scale < 1;
  pen.drawImage(image, ...box);
}

/** The weight with its grid of patches. `dashed` are patches that share cells with the chosen one, `readers` those of a chosen cell. */
export function paintWeight(pen, view, look, { scale, patch, dashed, readers }) {
  const { weight, layer } = view;
  const [width, height] = [weight.columns * scale, weight.rows * scale];
  picture(pen, look.image(view, view.shownWeight), scale, 0, 0, width, height);
  const [tall, long] = [layer.patchShape[0] * scale, layer.patchShape[1] * scale];
  const box = (row, column) => [column * long, row * tall, patchLength(layer, 1, column) * scale, patchLength(layer, 0, row) * scale];
  const [rows, columns] = patchGrid(layer);
  pen.strokeStyle = look.dark ? "rgba(255,255,255,.28)" : "rgba(27,39,51,.28)";
  pen.lineWidth = 0.6;
  if (Math.min(tall, long) > 5) for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) pen.strokeRect(...box(row, column));
  if (readers) paintReaders(pen, readers, scale, [width, height]);
  const below = look.dark ? "rgba(0,0,0,.6)" : "rgba(255,255,255,.85)";
  for (const [color, wide, dash] of [[below, 3, []], [HOT, 1.5, [4, 3]]]) {
    pen.strokeStyle = color;
    pen.lineWidth = wide;
    pen.setLineDash(dash);
    for (const other of dashed.slice(0, 400)) {
      const [x, y, w, h] = box(other.row, other.column);
      pen.strokeRect(x + 1.5, y + 1.5, w - 3, h - 3);
    }
  }
  pen.setLineDash([]);
  if (!readers) outline(pen, box(...patch));
}

/** Mark every number of the weight that reads a chosen cell of the epitome. */
function paintReaders(pen, readers, scale, [width, height]) {
  pen.fillStyle = "rgba(0,0,0,.35)";
  pen.fillRect(0, 0, width, height);
  pen.fillStyle = YELLOW;
  const side = Math.max(scale, 2);
  for (const { rows, columns } of readers) for (const y of rows) for (const x of columns) pen.fillRect(x * scale, y * scale, side, side);
}

/** Where a patch is read: its start along both axes, its lengths, and the wrapped copies of its window on a circular epitome. */
function windowOf(view, [row, column]) {
  const { layer, cells } = view;
  const at = [startOf(layer, 0, row, column), startOf(layer, 1, row, column)];
  const lengths = [patchLength(layer, 0, row), patchLength(layer, 1, column)];
  const wraps = layer.boundary === "circular" ? [0, -1] : [0];
  const boxes = wraps.flatMap((i) => wraps.map((j) => [at[1] + j * cells.columns, at[0] + i * cells.rows, lengths[1], lengths[0]]));
  return { at, lengths, boxes };
}

/** The epitome with the window of a patch, and the starts as dots on rulers. */
export function paintEpitome(pen, view, look, { left, top, scale, patch, cell }) {
  const { cells } = view;
  const [w, h] = [cells.columns * scale, cells.rows * scale];
  picture(pen, look.image(view, view.shownCells), scale, left, top, w, h);
  pen.lineWidth = 1;
  pen.strokeStyle = look.dark ? "#4a5260" : "#b7c0ca";
  pen.strokeRect(left, top, w, h);
  paintRulers(pen, view, look, { left, top, scale, patch });
  const boxes = windowOf(view, patch).boxes.map(([x, y, ...lengths]) => [left + x * scale, top + y * scale, ...lengths.map((length) => length * scale)]);
  pen.save();
  pen.beginPath();
  pen.rect(left - 2, top - 2, w + 4, h + 4);
  pen.clip();
  pen.beginPath(); // pale outside the window
  pen.rect(left, top, w, h);
  boxes.forEach((box) => pen.rect(...box));
  pen.fillStyle = look.dark ? "rgba(14,17,23,.5)" : "rgba(255,255,255,.5)";
  pen.fill("evenodd");
  boxes.forEach((box) => outline(pen, box));
  pen.restore();
  if (!cell) return;
  pen.fillStyle = YELLOW;
  pen.fillRect(left + cell[1] * scale, top + cell[0] * scale, Math.max(scale, 3), Math.max(scale, 3));
  pen.strokeStyle = "#000";
  pen.lineWidth = 1;
  pen.strokeRect(left + cell[1] * scale, top + cell[0] * scale, Math.max(scale, 3), Math.max(scale, 3));
}

function paintRulers(pen, view, look, { left, top, scale, patch }) {
  const { layer } = view;
  pen.font = FONT;
  pen.lineWidth = 1;
  const dot = (x, y, radius) => {
    pen.beginPath();
    pen.arc(x, y, radius, 0, 7);
    pen.fill();
  };
  for (const axis of [1, 0]) {
    const cells = layer.epitomeShape[axis];
    const gap = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((step) => step * scale >= (axis ? 28 : 18)) || 1000;
    pen.strokeStyle = "rgba(127,127,127,.6)";
    pen.fillStyle = look.ink;
    pen.textAlign = axis ? "center" : "right";
    pen.textBaseline = axis ? "alphabetic" : "middle";
    pen.beginPath();
    pen.moveTo(axis ? left : left - 9, axis ? top - 9 : top);
    pen.lineTo(axis ? left + cells * scale : left - 9, axis ? top - 9 : top + cells * scale);
    pen.stroke();
    for (let at = 0; at <= cells; at += gap) pen.fillText(at, axis ? left + at * scale : left - 18, axis ? top - 20 : top + at * scale);
    const paint = (start, radius) => (axis ? dot(left + start * scale, top - 9, radius) : dot(left - 9, top + start * scale, radius));
    pen.fillStyle = look.blue(0.7);
    startsOf(layer, axis).forEach((start) => paint(start, 3.2));
    pen.fillStyle = HOT;
    paint(startOf(layer, axis, ...patch), 5);
  }
}

/** The different starts along one axis. */
function startsOf(layer, axis) {
  const [rows, columns] = patchGrid(layer);
  const seen = new Map();
  const separable = layer.scope === "separable";
  for (let row = 0; row < (axis && separable ? 1 : rows); row++)
    for (let column = 0; column < (!axis && separable ? 1 : columns); column++) {
      const start = startOf(layer, axis, row, column);
      seen.set(start.toFixed(2), start);
    }
  return [...seen.values()];
}

/** The window of a patch, large, with one cell around it. */
export function paintWindow(pen, view, look, { scale, patch, width, height }) {
  const { at, lengths } = windowOf(view, patch);
  const { cells, layer } = view;
  const first = at.map((start) => Math.floor(start) - 1);
  const wraps = layer.boundary === "circular" ? [-1, 0, 1] : [0];
  pen.save();
  pen.beginPath();
  pen.rect(0, 0, width, height);
  pen.clip();
  for (const i of wraps)
    for (const j of wraps) {
      const [x, y] = [(j * cells.columns - first[1]) * scale, (i * cells.rows - first[0]) * scale];
      if (x < width && y < height) picture(pen, look.image(view, view.shownCells), scale, x, y, cells.columns * scale, cells.rows * scale);
    }
  if (scale > 6) {
    pen.strokeStyle = look.dark ? "rgba(255,255,255,.18)" : "rgba(27,39,51,.18)";
    pen.lineWidth = 0.6;
    for (let x = 0; x <= width; x += scale) for (let y = 0; y <= height; y += scale) pen.strokeRect(x, y, scale, scale);
  }
  outline(pen, [(at[1] - first[1]) * scale, (at[0] - first[0]) * scale, lengths[1] * scale, lengths[0] * scale]);
  pen.restore();
}

/** Size of the pane with the window of a patch: { scale, width, height, text }. */
export function windowSize(view, patch, room) {
  const { at, lengths } = windowOf(view, patch);
  const cells = lengths.map((length, axis) => length + 2 + (at[axis] % 1 > 0 ? 1 : 0));
  const scale = Math.min(room / cells[1], 220 / cells[0], 26);
  const to = (axis) => `${fixed(at[axis])} to ${fixed(at[axis] + lengths[axis])}`;
  return { scale, width: cells[1] * scale, height: cells[0] * scale, text: `rows ${to(0)}, columns ${to(1)}` };
}

/** The curves of the starts: { axis, index, hot, moves }. `hot` ones belong to the chosen patch. */
export function moveLines(view, [row, column]) {
  const { data } = view;
  const columns = patchGrid(data)[1];
  return [0, 1].flatMap((axis) => {
    if (!data.starts[0][axis]) return [];
    const own = data.scope === "joint" ? row * columns + column : axis ? column : row;
    return data.starts[0][axis].map((_, index) => ({ axis, index, hot: index === own, moves: data.starts.map((all) => view.moveOf(axis, index, all)) }));
  });
}

export function paintMoves(pen, view, look, { lines, patch, width, height }) {
  const { steps } = view.data;
  const kept = [...thinned(lines.filter((line) => !line.hot), MOST_LINES), ...lines.filter((line) => line.hot)];
  const [left, right, top, bottom] = [44, 66, 12, 24];
  const most = Math.max(0.01, ...kept.map((line) => largest(line.moves)));
  const last = steps.at(-1) - steps[0] || 1;
  const x = (step) => left + ((step - steps[0]) / last) * (width - left - right);
  const middle = top + (height - top - bottom) / 2;
  const y = (move) => middle - (move / most) * (middle - top);
  const line = (points, color, wide, dash) => {
    pen.strokeStyle = color;
    pen.lineWidth = wide;
    pen.setLineDash(dash);
    pen.beginPath();
    points.forEach(([px, py], i) => (i ? pen.lineTo(px, py) : pen.moveTo(px, py)));
    pen.stroke();
  };
  const write = (text, px, py, align, color = look.ink) => {
    pen.font = FONT;
    pen.fillStyle = color;
    pen.textAlign = align;
    pen.textBaseline = "alphabetic";
    pen.fillText(text, px, py);
  };
  for (const move of [-most, 0, most]) {
    line([[left, y(move)], [width - right, y(move)]], "rgba(127,127,127,.35)", 1, []);
    write(fixed(move), left - 5, y(move) + 4, "right");
  }
  line([[x(view.step), 6], [x(view.step), height - bottom + 4]], "rgba(127,127,127,.8)", 1, [2, 2]);
  for (const { axis, hot, moves } of kept)
    line(moves.map((move, i) => [x(steps[i]), y(move)]), hot ? HOT : look.blue(0.35), hot ? 2.2 : 1, axis ? [5, 3] : []);
  pen.setLineDash([]);
  let above = Infinity;
  for (const { axis, moves, label } of kept.filter((each) => each.hot).sort((a, b) => a.moves.at(-1) - b.moves.at(-1))) {
    above = Math.min(above - 14, y(moves.at(-1)) + 4);
    write(label || `${axis ? "column" : "row"} ${patch[axis]}`, width - right + 5, above, "left", HOT);
  }
  write(`step ${steps[0]}`, left, height - 6, "left");
  write(steps.at(-1), width - right, height - 6, "right");
}

/** The cells that the magnified window shows: row, column and value of each. */
export function windowRows(view, patch) {
  const { rows, columns, values } = view.shownCells;
  const { layer } = view;
  const ranges = [0, 1].map((axis) => windowCells(layer, axis, patch));
  const inside = ranges[0].flatMap((row) => ranges[1].map((column) => [row, column])).filter(([row, column]) => row < rows && column < columns);
  return [["row", "column", "value"], ...inside.map(([row, column]) => [row, column, values[row * columns + column]])];
}
