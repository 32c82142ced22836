// A small weight that is read from a small epitome: drag the window of a patch, and see the weight, the taps, the gradient and the count.
//
// mount(node, data, options) draws into a node of a page. data is { epitomeShape, weightShape, patchShape, epitome (a list of numbers in
// row-major order), starts: [row starts, column starts], patch: [row, column] }. options.onChange({ starts, patch }) is called when the
// user has moved a start or chosen another patch.

import { patchGrid, startOf, taps, weightMatrix } from "./sampling.js";
import { fixed, largest } from "./numbers.js";
import { diverging, luminance } from "./colors.js";

const STYLE = `
.nes-play { --ink: var(--st-text-color, var(--jp-ui-font-color1, #1b2733)); --card: var(--st-background-color, var(--jp-layout-color1, #fff));
  --soft: color-mix(in srgb, var(--ink) 66%, var(--card)); --line: color-mix(in srgb, var(--ink) 18%, var(--card)); --hot: #d9480f; --cool: #0072b2;
  color: var(--ink); font: 14px/1.45 Inter, "Source Sans 3", "Segoe UI", "DejaVu Sans", sans-serif; display: grid; gap: 14px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 250px), 1fr)); }
.nes-play section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 14px; min-width: 0; }
.nes-play h3 { font-size: 14px; font-weight: 650; margin: 0 0 6px; padding: 0; }
.nes-play p { margin: 6px 0 0; font-size: 13px; color: var(--soft); } .nes-play b { color: var(--ink); }
.nes-play svg { display: block; width: 100%; max-width: 300px; height: auto; touch-action: none; border-radius: 3px; }
.nes-play svg text { fill: var(--ink); font: 11px "DejaVu Sans", sans-serif; }
.nes-play svg[tabindex]:focus-visible { outline: 2px solid var(--cool); outline-offset: 2px; }
.nes-play .drag { cursor: grab; } .nes-play .pick { cursor: pointer; }
.nes-play label { display: grid; grid-template-columns: 84px 1fr 40px; gap: 8px; align-items: center; font-size: 13px; margin-top: 6px; font-variant-numeric: tabular-nums; }
.nes-play input { width: 100%; min-width: 0; accent-color: var(--hot); margin: 0; }
.nes-play button { font: inherit; font-size: 13px; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 3px 10px; margin-top: 8px; cursor: pointer; }
.nes-play table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; width: 100%; } .nes-play td { padding: 1px 0; border: 0; text-align: left; }
.nes-play td:last-child { text-align: right; } .nes-play tr.sum td { border-top: 1px solid var(--line); font-weight: 650; }
.nes-play .stack { display: grid; gap: 14px; align-content: start; min-width: 0; } .nes-play td:last-child { white-space: nowrap; padding-left: 8px; }
.nes-play .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 12px; }
`;

const FRAME = `
  <section><h3>Epitome <small data-part="cells"></small></h3><svg class="drag" data-part="epitome" tabindex="0" role="group"></svg>
    <label>row start <input type="range" data-part="row" step="0.05" min="0" aria-label="row start in cells"><output data-part="row-text"></output></label>
    <label>column start <input type="range" data-part="column" step="0.05" min="0" aria-label="column start in cells"><output data-part="column-text"></output></label>
    <button data-part="snap">Round all starts to whole cells</button>
    <p>Drag the <b style="color: var(--hot)">orange window</b>, or use the arrow keys (with Shift: a whole cell).</p></section>
  <section><h3>Weight <small data-part="numbers"></small></h3><svg class="pick" data-part="weight" role="img"></svg>
    <p>Click a patch to choose it. Patches side by side share a row start, patches below each other a column start.</p></section>
  <div class="stack"><section><h3>Taps of the patch</h3><svg data-part="hats" role="img"></svg><p data-part="sum"></p>
    <p>A hat says how much of each cell a position reads: max(0, 1 − distance).</p></section>
  <section><h3>Gradient of the patch</h3><div class="pair"><div><svg data-part="down" role="img"></svg><p>per cell down</p></div>
    <div><svg data-part="across" role="img"></svg><p>per cell to the right</p></div></div>
    <p>How each number of the patch changes when its start moves: the difference of two neighbor cells. It jumps at whole cells.</p></section></div>
  <section><h3>Multiply-adds <small>per input</small></h3><table data-part="count"></table><p data-part="shared" aria-live="polite"></p></section>`;

/** Draw the playground into a node, or give the one that is there new data. */
export function mount(node, data, options = {}) {
  if (!node.nesPlay) node.nesPlay = new Playground(node);
  node.nesPlay.show(data, options);
  return node.nesPlay;
}

/** How a patch changes per cell of its start along an axis: rows of numbers. At the last place a start can have, it is the slope before. */
export function slopes(layer, patch, axis) {
  const [tall, long] = layer.patchShape;
  const room = layer.epitomeShape[axis] - layer.patchShape[axis];
  const start = startOf(layer, axis, ...patch);
  const low = Math.min(Math.floor(start), room - 1);
  return Array.from({ length: tall }, (_, i) =>
    Array.from({ length: long }, (_, j) => {
      if (room === 0) return 0;
      const other = axis ? taps(layer, 0, patch[0] * tall + i, ...patch) : taps(layer, 1, patch[1] * long + j, ...patch);
      const along = low + (axis ? j : i);
      const at = (cell, across) => layer.epitome[axis ? across * layer.epitomeShape[1] + cell : cell * layer.epitomeShape[1] + across];
      return other.reduce((sum, [cell, factor]) => sum + factor * (at(along + 1, cell) - at(along, cell)), 0);
    }),
  );
}

/** The multiply-adds of one input: [words, number], as nes_lab/execution/factored.py counts them. */
export function counts(layer) {
  const [[out, into], [rows, columns]] = [layer.weightShape, layer.epitomeShape];
  const parts = [[0, 2 * out, "blend rows into outputs"], [1, 2 * into, "blend inputs into columns"]];
  const blends = parts.map(([axis, cost, words]) => [words, layer.starts[axis].some((start) => start % 1) ? cost : 0]);
  const spent = [["epitome cells, once each", rows * columns], ...blends];
  return { dense: out * into, spent, total: spent.reduce((sum, [, cost]) => sum + cost, 0) };
}

class Playground {
  constructor(node) {
    const style = document.createElement("style");
    style.textContent = STYLE;
    this.root = document.createElement("div");
    this.root.className = "nes-play";
    this.root.innerHTML = FRAME;
    node.replaceChildren(style, this.root);
    this.part = (name) => this.root.querySelector(`[data-part="${name}"]`);
    this.listen();
    new MutationObserver(() => this.layer && this.draw()).observe(document.body, { attributeFilter: ["data-jp-theme-light", "class"] });
    new MutationObserver(() => this.layer && this.draw()).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  show(data, options) {
    this.options = options;
    this.layer = { ...data, scope: "separable", boundary: "clamp", starts: data.starts.map((each) => [...each]), epitome: Float32Array.from(data.epitome) };
    this.patch = [...data.patch];
    this.limits = [0, 1].map((axis) => data.epitomeShape[axis] - data.patchShape[axis]);
    ["row", "column"].forEach((name, axis) => (this.part(name).max = this.limits[axis]));
    this.draw();
  }

  listen() {
    const epitome = this.part("epitome");
    const cellAt = (event) => {
      const box = epitome.getBoundingClientRect();
      const scale = this.layer.epitomeShape[1] / box.width;
      return [(event.clientY - box.top) * scale, (event.clientX - box.left) * scale];
    };
    epitome.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      epitome.focus({ preventScroll: true });
      epitome.setPointerCapture(event.pointerId);
      const [from, before] = [cellAt(event), this.starts()];
      const move = (moved) => this.move(cellAt(moved).map((cell, axis) => before[axis] + cell - from[axis]), false);
      const end = () => (epitome.removeEventListener("pointermove", move), this.tell());
      epitome.addEventListener("pointermove", move);
      epitome.addEventListener("lostpointercapture", end, { once: true });
    });
    epitome.addEventListener("keydown", (event) => {
      const way = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!way) return;
      event.preventDefault();
      event.stopPropagation();
      this.move(this.starts().map((start, axis) => start + way[axis] * (event.shiftKey ? 1 : 0.05)));
    });
    ["row", "column"].forEach((name, axis) =>
      this.part(name).addEventListener("input", (event) => this.move(this.starts().map((start, each) => (each === axis ? Number(event.target.value) : start)))),
    );
    this.part("snap").addEventListener("click", () => {
      this.layer.starts = this.layer.starts.map((each) => each.map(Math.round));
      this.draw();
      this.tell();
    });
    this.part("weight").addEventListener("click", (event) => {
      const box = this.part("weight").getBoundingClientRect();
      const place = [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width];
      this.patch = patchGrid(this.layer).map((patches, axis) => Math.min(Math.floor(place[axis] * patches), patches - 1));
      this.draw();
      this.tell();
    });
  }

  starts() {
    return [0, 1].map((axis) => startOf(this.layer, axis, ...this.patch));
  }

  move(starts, tell = true) {
    starts.forEach((start, axis) => (this.layer.starts[axis][this.patch[axis]] = Math.round(Math.min(Math.max(start, 0), this.limits[axis]) * 100) / 100));
    this.draw();
    if (tell) this.tell();
  }

  tell() {
    this.options.onChange?.({ starts: this.layer.starts, patch: this.patch });
  }

  draw() {
    const { layer, patch } = this;
    const [tall, long] = layer.patchShape;
    const dark = luminance(getComputedStyle(this.root.querySelector("section")).backgroundColor) < 0.5;
    const color = diverging(largest(layer.epitome), dark ? [38, 42, 52] : [247, 247, 247]);
    const cell = (value, y, x) => `<rect x="${x}" y="${y}" width="1.01" height="1.01" fill="rgb(${color(value).map(Math.round)})"/>`;
    const picture = (rows) => rows.map((row, y) => row.map((value, x) => cell(value, y, x)).join("")).join("");
    const box = ([y, x], style) => `<rect x="${x}" y="${y}" width="${long}" height="${tall}" fill="none" ${style}/>`;
    const put = (name, rows, columns, content, label) => {
      this.part(name).setAttribute("viewBox", `0 0 ${columns} ${rows}`);
      this.part(name).innerHTML = content;
      this.part(name).setAttribute("aria-label", label);
    };
    const [rows, columns] = layer.epitomeShape;
    const cells = Array.from({ length: rows }, (_, row) => [...layer.epitome.subarray(row * columns, (row + 1) * columns)]);
    const grid = patchGrid(layer);
    const patches = Array.from({ length: grid[0] * grid[1] }, (_, i) => [Math.floor(i / grid[1]), i % grid[1]]);
    const [start, hot] = [this.starts(), 'stroke="var(--hot)" stroke-width="0.09"'];
    const others = patches.map((each) => box([0, 1].map((axis) => startOf(layer, axis, ...each)), 'stroke="var(--ink)" stroke-width="0.04" stroke-dasharray="0.2 0.15" opacity="0.7"'));
    const halo = box(start, 'stroke="#fff" stroke-width="0.2"');
    put("epitome", rows, columns, picture(cells) + others.join("") + halo + box(start, hot), `Epitome of ${rows} by ${columns} cells. The window of patch ${patch.join(", ")} begins at row ${fixed(start[0])}, column ${fixed(start[1])}.`);
    const weight = weightMatrix(layer, []);
    const numbers = Array.from({ length: weight.rows }, (_, row) => [...weight.values.subarray(row * weight.columns, (row + 1) * weight.columns)]);
    const corner = (each) => [each[0] * tall, each[1] * long];
    const lines = patches.map((each) => box(corner(each), 'stroke="var(--ink)" stroke-width="0.05" opacity="0.7"')).join("");
    put("weight", weight.rows, weight.columns, picture(numbers) + lines + box(corner(patch), 'stroke="#fff" stroke-width="0.26"') + box(corner(patch), 'stroke="var(--hot)" stroke-width="0.12"'), `Weight of ${weight.rows} by ${weight.columns} numbers. Patch ${patch.join(", ")} is chosen.`);
    [0, 1].forEach((axis) => put(axis ? "across" : "down", tall, long, picture(slopes(layer, patch, axis)), `Derivatives with respect to the ${axis ? "column" : "row"} start`));
    this.part("cells").textContent = `${rows} × ${columns} = ${rows * columns} numbers, stored`;
    this.part("numbers").textContent = `${weight.rows} × ${weight.columns} = ${weight.rows * weight.columns} numbers, read`;
    ["row", "column"].forEach((name, axis) => {
      this.part(name).value = start[axis];
      this.part(`${name}-text`).textContent = fixed(start[axis]);
    });
    this.drawTaps(start);
    this.drawCount(patches);
  }

  /** The hats of the first row and the first column of the patch, over the cells. */
  drawTaps(start) {
    const { layer, patch } = this;
    const [wide, high] = [280, 62];
    const parts = [0, 1].map((axis) => {
      const cells = layer.epitomeShape[axis];
      const x = (at) => 34 + (at * (wide - 50)) / (cells - 1);
      const top = axis * (high + 34) + 16;
      const y = (share) => top + high - share * (high - 14);
      const read = taps(layer, axis, patch[axis] * layer.patchShape[axis], ...patch);
      const left = (i) => i === 0 && read.length > 1;
      const axisLine = `<line x1="4" x2="${wide - 4}" y1="${y(0)}" y2="${y(0)}" stroke="var(--line)"/>`;
      const names = Array.from({ length: cells }, (_, at) => `<text x="${x(at)}" y="${y(0) + 14}" text-anchor="middle">${at}</text>`);
      const hat = `<path d="M${x(start[axis] - 1)} ${y(0)} L${x(start[axis])} ${y(1)} L${x(start[axis] + 1)} ${y(0)}" fill="none" stroke="var(--cool)" stroke-width="1.5"/>`;
      const bars = read.map(([at, share], i) => `<line x1="${x(at)}" x2="${x(at)}" y1="${y(0)}" y2="${y(share)}" stroke="var(--hot)" stroke-width="5"/><text x="${x(at) + (left(i) ? -5 : 5)}" y="${y(share) + 3}" text-anchor="${left(i) ? "end" : "start"}">${fixed(share)}</text>`);
      return `<text x="0" y="${top}">first ${axis ? "column" : "row"}, start ${fixed(start[axis])}</text>${axisLine}${names.join("")}${hat}${bars.join("")}`;
    });
    const svg = this.part("hats");
    svg.setAttribute("viewBox", `0 0 ${wide} ${2 * (high + 34)}`);
    svg.innerHTML = parts.join("");
    const terms = [0, 1].map((axis) => taps(layer, axis, patch[axis] * layer.patchShape[axis], ...patch));
    const read = terms[0].flatMap(([row, a]) => terms[1].map(([column, b]) => [a * b, layer.epitome[row * layer.epitomeShape[1] + column]]));
    const value = read.reduce((sum, [factor, cell]) => sum + factor * cell, 0);
    const text = `Its first number: ${read.map(([factor, cell]) => `${fixed(factor)} × ${fixed(cell)}`).join(" + ")} = ${fixed(value)}`;
    this.part("sum").textContent = text;
    svg.setAttribute("aria-label", text);
  }

  drawCount(patches) {
    const { layer, patch } = this;
    const { dense, spent, total } = counts(layer);
    const row = (name, number, sum) => `<tr${sum ? ' class="sum"' : ""}><td>${name}</td><td>${number}</td></tr>`;
    this.part("count").innerHTML = row("plain layer: every number of the weight", dense) + spent.map(([name, cost]) => row(name, cost)).join("") + row("with the epitome", total, true) + row("saved", `${dense - total} (${Math.round((100 * (dense - total)) / dense)} %)`);
    const near = patches.filter((each) => String(each) !== String(patch)).map((each) =>
      [0, 1].reduce((share, axis) => share * Math.max(0, layer.patchShape[axis] - Math.abs(startOf(layer, axis, ...each) - startOf(layer, axis, ...patch))), 1),
    );
    const size = layer.patchShape[0] * layer.patchShape[1];
    const most = Math.max(0, ...near);
    this.part("shared").textContent = `${patches.length} patches of ${size} numbers share ${layer.epitome.length} cells, so products are computed once and used again. The chosen patch shares up to ${fixed(most, 1)} of its ${size} cells with another one.`;
  }
}
