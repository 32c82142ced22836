// Draw a layer's weight beside the epitome that it is read from, with every pane linked: pointing at a patch shows where it is read.
//
// mount(node, data, options) draws into a node of a page. data comes from nes_lab/figures/explorer_data.py. options.onStep(step) is called
// when the user chooses a training step. Calling mount again with new data keeps what the user has chosen.

import { decodeFloats, overlap, patchGrid, patchLength, readCounts, startOf, taps, terms, weightMatrix } from "./sampling.js";

const STYLE = `
.nes-ex { --ink: var(--st-text-color, var(--jp-ui-font-color1, #1b2733)); --card: var(--st-background-color, var(--jp-layout-color1, #fff));
  --soft: color-mix(in srgb, var(--ink) 62%, var(--card)); --line: color-mix(in srgb, var(--ink) 16%, var(--card));
  --mark: #d9480f; --move: #0072b2; color: var(--ink); font: 14px/1.45 var(--st-font, Inter, "Source Sans 3", "Segoe UI", "DejaVu Sans", sans-serif);
  container-type: inline-size; }
.nes-ex .grid { display: grid; grid-template-columns: minmax(0, 1fr) minmax(250px, 330px); gap: 14px; }
.nes-ex .wide { grid-column: 1 / -1; }
.nes-ex section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 14px; min-width: 0; }
.nes-ex h3 { font-size: 14px; font-weight: 650; margin: 0 0 6px; padding: 0; } .nes-ex h3 small { font-size: 13px; font-weight: 400; color: var(--soft); }
.nes-ex p { margin: 6px 0 0; font-size: 14px; } .nes-ex .dim { color: var(--soft); font-size: 13px; }
.nes-ex .finding { border-left: 4px solid var(--move); border-radius: 4px; padding: 9px 12px; }
.nes-ex canvas { display: block; max-width: 100%; border-radius: 3px; outline-offset: 2px; }
.nes-ex canvas:focus-visible { outline: 2px solid var(--move); }
.nes-ex .sum { background: color-mix(in srgb, var(--ink) 6%, var(--card)); border-radius: 8px; padding: 8px 10px; margin-top: 8px; overflow-x: auto;
  font: 12.5px/1.6 "Source Code Pro", "DejaVu Sans Mono", monospace; white-space: pre; }
.nes-ex .hot { color: var(--mark); font-weight: 650; font-variant-numeric: tabular-nums; }
.nes-ex .bar { display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: center; margin-bottom: 12px; }
.nes-ex select, .nes-ex button { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 4px 10px; }
.nes-ex button:hover, .nes-ex select:hover { border-color: var(--soft); cursor: pointer; }
.nes-ex button.play { background: var(--move); border-color: var(--move); color: #fff; font-weight: 600; min-width: 84px; }
.nes-ex .right { margin-left: auto; display: flex; gap: 8px; }
.nes-ex .film { display: flex; gap: 12px; align-items: center; } .nes-ex .film > div { flex: 1; min-width: 0; }
.nes-ex .thumbs { display: flex; gap: 8px; overflow-x: auto; padding-bottom: 4px; } .nes-ex .thumbs button { padding: 2px; border-radius: 5px; flex: none; font-size: 12px; }
.nes-ex .thumbs button.now { border-color: var(--mark); box-shadow: 0 0 0 1px var(--mark); }
.nes-ex input[type=range] { width: 100%; accent-color: var(--move); margin: 8px 0 0; }
@container (max-width: 720px) { .nes-ex .grid { grid-template-columns: minmax(0, 1fr); } }
`;

const NEGATIVE = [[5, 48, 97], [67, 147, 195]];
const POSITIVE = [[214, 96, 77], [103, 0, 31]];
const COUNTS = [[0, 32, 76], [66, 78, 108], [124, 123, 120], [187, 175, 113], [255, 233, 69]];
const TALLEST = 400; // pixels
const MOST_LINES = 150;

/** Draw the explorer into a node, or give the explorer that is there new data. */
export function mount(node, data, options = {}) {
  if (!node.nesExplorer) node.nesExplorer = new Explorer(node);
  node.nesExplorer.show(data, options);
  return node.nesExplorer;
}

class Explorer {
  constructor(node) {
    this.node = node;
    this.state = { patch: [0, 0], position: null, kernel: 0, step: null, color: "value", cell: null };
    this.build();
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(this.root);
  }

  show(data, options) {
    const text = JSON.stringify([data.name, data.steps, data.epitomeShape, data.routing]);
    this.options = options;
    if (text === this.shown) {
      if (options.step != null) this.choose(options.step, false);
      this.draw();
      return;
    }
    const follows = this.state.step === null || (this.data && this.state.step === this.data.steps.at(-1));
    const sameLayer = this.data && this.data.name === data.name && String(this.data.weightShape) === String(data.weightShape);
    this.shown = text;
    this.data = data;
    this.epitomes = new Map(Object.entries(data.epitomes).map(([step, text]) => [Number(step), decodeFloats(text)]));
    this.kernels = positions(data.weightShape.slice(2));
    if (!sameLayer) Object.assign(this.state, { patch: [0, 0], position: null, cell: null, kernel: Math.floor(this.kernels.length / 2) });
    if (options.step != null && data.steps.includes(options.step)) this.state.step = options.step;
    else if (follows || !data.steps.includes(this.state.step)) this.state.step = data.steps.at(-1);
    this.fillControls();
    this.compute();
    this.draw();
  }

  build() {
    const style = document.createElement("style");
    style.textContent = STYLE;
    this.root = document.createElement("div");
    this.root.className = "nes-ex";
    this.root.innerHTML = `
      <div class="bar"><label>Color <select data-part="color"><option value="value">value</option><option value="change">change since the first step</option>
        <option value="reuse">times read</option></select></label>
        <label data-part="kernel-label">Kernel position <select data-part="kernel"></select></label>
        <span class="right"><button data-part="png" title="Download the weight and the epitome as a picture">PNG</button>
        <button data-part="csv" title="Download the numbers of the weight">CSV</button></span></div>
      <div class="grid">
        <div class="finding wide" data-part="finding" style="background: color-mix(in srgb, var(--move) 8%, var(--card))"></div>
        <section><h3>Weight the layer uses <small data-part="weight-size"></small></h3>
          <canvas data-part="weight" tabindex="0" role="img"></canvas>
          <p class="dim">Rows: output channels. Columns: input channels. <b style="color: var(--mark)">Orange</b>: the patch under the pointer. Dashed: patches that read more than
          half of the same cells. Arrow keys move between patches.</p></section>
        <section data-part="words" aria-live="polite"></section>
        <section><h3>Epitome it is read from <small data-part="epitome-size"></small></h3>
          <canvas data-part="epitome" role="img"></canvas>
          <p class="dim">Dots on the rulers: where patches start. Click a cell to see every number of the weight that reads it.</p></section>
        <section><h3>Starts during training <small>moves, in cells</small></h3><div data-part="moves"></div></section>
        <section class="wide film" data-part="film"><button class="play" data-part="play">▶ Play</button>
          <div><div class="thumbs" data-part="thumbs"></div><input type="range" data-part="slider" min="0" step="1" aria-label="Training step"></div></section>
      </div>`;
    this.part = (name) => this.root.querySelector(`[data-part="${name}"]`);
    this.node.replaceChildren(style, this.root);
    this.listen();
  }

  listen() {
    const on = (name, kind, act) => this.part(name).addEventListener(kind, act);
    on("color", "change", (event) => this.set({ color: event.target.value }, true));
    on("kernel", "change", (event) => this.set({ kernel: Number(event.target.value) }, true));
    on("weight", "pointermove", (event) => this.point(event));
    on("weight", "pointerdown", (event) => this.point(event));
    on("weight", "keydown", (event) => this.key(event));
    on("epitome", "click", (event) => this.click(event));
    on("slider", "input", (event) => this.choose(this.data.steps[Number(event.target.value)], true));
    on("play", "click", () => this.play());
    on("png", "click", () => this.png());
    on("csv", "click", () => this.csv());
  }

  fillControls() {
    const kernel = this.part("kernel");
    kernel.replaceChildren(...this.kernels.map((index, i) => new Option(`(${index.join(", ")})`, i)));
    kernel.value = this.state.kernel;
    this.part("kernel-label").hidden = this.kernels.length < 2;
    const { steps } = this.data;
    this.part("film").hidden = steps.length < 2;
    this.part("slider").max = steps.length - 1;
    const pictured = steps.filter((step) => this.epitomes.has(step));
    this.part("thumbs").replaceChildren(...thinned(pictured, 12).map((step) => this.thumb(step)));
    const change = this.part("color").querySelector('[value="change"]');
    change.disabled = pictured.length < 2;
    if (change.disabled && this.state.color === "change") this.state.color = "value";
    this.part("color").value = this.state.color;
  }

  thumb(step) {
    const button = document.createElement("button");
    button.dataset.step = step;
    button.title = `Show step ${step}`;
    button.append(document.createElement("canvas"), document.createElement("div"));
    button.lastChild.textContent = `step ${step}`;
    button.addEventListener("click", () => this.choose(step, true));
    return button;
  }

  set(change, again = false) {
    Object.assign(this.state, change);
    if (again) this.compute();
    this.draw();
  }

  choose(step, tell) {
    if (step === this.state.step || !this.data.steps.includes(step)) return;
    this.set({ step }, true);
    if (tell && this.options.onStep) {
      clearTimeout(this.telling);
      this.telling = setTimeout(() => this.options.onStep(step), 400);
    }
  }

  /** The layer at the chosen step. Where no epitome was saved, the one before it is shown. */
  layerAt(step) {
    const { data } = this;
    const pictured = [...this.epitomes.keys()].sort((a, b) => a - b);
    const from = pictured.filter((kept) => kept <= step).at(-1) ?? pictured[0];
    return { ...data, starts: data.starts[data.steps.indexOf(step)], epitome: this.epitomes.get(from), from };
  }

  compute() {
    const layer = (this.layer = this.layerAt(this.state.step));
    const kernel = this.kernels[this.state.kernel];
    this.weight = weightMatrix(layer, kernel);
    this.cells = this.plane(layer, kernel);
    this.counts = readCounts(layer);
    this.most = Math.max(1, ...this.data.steps.length ? [largest(this.counts.values)] : []);
    this.shownWeight = this.weight;
    this.shownCells = this.cells;
    this.limit = this.data.largest;
    if (this.state.color === "change") {
      const first = this.layerAt(this.data.steps[0]);
      this.shownWeight = minus(this.weight, weightMatrix(first, kernel));
      this.shownCells = minus(this.cells, this.plane(first, kernel));
      this.limit = Math.max(largest(this.shownCells.values), 1e-12);
    } else if (this.state.color === "reuse") {
      this.shownCells = this.counts;
      this.shownWeight = weightMatrix({ ...layer, epitomeShape: layer.epitomeShape.slice(0, 2), weightShape: layer.weightShape.slice(0, 2), epitome: this.counts.values }, []);
    }
    this.images = new Map();
    this.part("finding").innerHTML = this.finding();
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

  finding() {
    const { layer, data } = this;
    const [rows, columns] = patchGrid(layer);
    const stored = [0, 1].flatMap((axis) => layer.starts[axis] || []).length;
    const share = size(layer.epitomeShape) / size(layer.weightShape);
    const reads = mean(this.counts.values);
    const parts = [];
    if (!stored) parts.push(`<b>${count(rows * columns, "patch", "patches")}.</b> No axis has starts: the cells are read in order.`);
    else parts.push(`<b>${count(stored, "start places", "starts place")} ${count(rows * columns, "patch", "patches")}.</b>`);
    const moves = this.largestMove();
    if (stored && data.steps.length > 1)
      parts.push(moves.size < 0.005 ? "No start has moved." : `The largest move is ${fixed(moves.size)} cells (${moves.axis} start ${moves.index}).`);
    const near = [0, 1].reduce((sum, axis) => sum + crowded(layer, axis), 0);
    if (near && layer.scope === "separable") parts.push(`${near} starts lie within half a cell of another, so their patches share nearly the same numbers.`);
    parts.push(`The epitome has ${fixed(share * 100, 1)} % of the weight's numbers; each is read ${fixed(reads, 1)} times on average.`);
    if (layer.from !== this.state.step) parts.push(`Only the starts were saved at this step: the epitome is that of step ${layer.from}.`);
    if (data.rounded.includes(layer.from)) parts.push("At this step the epitome was saved with 8 bits per number.");
    return parts.join(" ");
  }

  largestMove() {
    let best = { size: 0, axis: "", index: 0 };
    const first = this.data.starts[0];
    for (const axis of [0, 1])
      (this.layer.starts[axis] || []).forEach((start, index) => {
        const move = Math.abs(start - first[axis][index]);
        if (move > best.size) best = { size: move, axis: axis ? "input" : "output", index };
      });
    return best;
  }

  point(event) {
    const { scale } = this.frame;
    const box = event.currentTarget.getBoundingClientRect();
    const row = Math.floor((event.clientY - box.top) / scale);
    const column = Math.floor((event.clientX - box.left) / scale);
    if (row < 0 || column < 0 || row >= this.weight.rows || column >= this.weight.columns) return;
    const patch = [Math.floor(row / this.layer.patchShape[0]), Math.floor(column / this.layer.patchShape[1])];
    this.since = event.timeStamp;
    this.set({ patch, position: [row, column], cell: null });
  }

  key(event) {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (event.key === "Escape") this.set({ cell: null });
    if (!step) return;
    event.preventDefault();
    const grid = patchGrid(this.layer);
    const patch = this.state.patch.map((index, axis) => Math.min(Math.max(index + step[axis], 0), grid[axis] - 1));
    this.set({ patch, position: null, cell: null });
  }

  click(event) {
    const { left, top, scale } = this.ruler;
    const box = event.currentTarget.getBoundingClientRect();
    const cell = [Math.floor((event.clientY - box.top - top) / scale), Math.floor((event.clientX - box.left - left) / scale)];
    const inside = cell.every((index, axis) => index >= 0 && index < this.layer.epitomeShape[axis]);
    this.set({ cell: inside && String(cell) !== String(this.state.cell) ? cell : null });
  }

  play() {
    if (this.playing) {
      clearInterval(this.playing);
      this.playing = null;
    } else {
      const { steps } = this.data;
      let at = this.state.step === steps.at(-1) ? -1 : steps.indexOf(this.state.step);
      this.playing = setInterval(() => {
        at += 1;
        if (at >= steps.length || !this.root.isConnected) this.play();
        else this.choose(steps[at], at === steps.length - 1);
      }, Math.max(120, Math.min(700, 6000 / steps.length)));
    }
    this.part("play").textContent = this.playing ? "❚❚ Pause" : "▶ Play";
  }

  draw() {
    if (!this.data || this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = null;
      this.paint();
      if (this.since) this.node.dataset.hoverMs = (performance.now() - this.since).toFixed(1);
      this.since = null;
      this.node.dataset.drawn = "yes";
    });
  }

  paint() {
    const { layer } = this;
    const dark = luminance(getComputedStyle(this.root).getPropertyValue("color")) > 0.5;
    if (dark !== this.dark) this.images = new Map();
    this.dark = dark;
    const [rows, columns] = patchGrid(layer);
    this.part("weight-size").textContent =
      `${layer.weightShape[0]} output × ${layer.weightShape[1]} input channels` +
      (this.kernels.length > 1 ? `, one of ${this.kernels.length} kernel positions` : ` = ${thousands(size(layer.weightShape))} numbers`) +
      `, cut into ${rows} × ${columns} patches`;
    this.part("epitome-size").textContent = `${short(layer.epitomeShape).join(" × ")} = ${thousands(size(layer.epitomeShape))} numbers, same colors`;
    this.part("slider").value = this.data.steps.indexOf(this.state.step);
    this.part("slider").setAttribute("aria-valuetext", `step ${this.state.step}`);
    this.others = this.near();
    this.paintWeight();
    this.paintEpitome();
    this.paintMoves();
    this.paintThumbs();
    this.part("words").innerHTML = this.words();
  }

  near() {
    const [rows, columns] = patchGrid(this.layer);
    if (rows * columns > 20000) return [];
    const found = [];
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++) {
        if (row === this.state.patch[0] && column === this.state.patch[1]) continue;
        const share = overlap(this.layer, this.state.patch, [row, column]);
        if (share > 0.5) found.push({ row, column, share });
      }
    return found.sort((a, b) => b.share - a.share);
  }

  image(matrix) {
    if (!this.images.has(matrix)) this.images.set(matrix, heat(matrix, this.colorOf()));
    return this.images.get(matrix);
  }

  colorOf() {
    if (this.state.color === "reuse") return sequential(this.most);
    return diverging(this.limit, this.dark ? [38, 42, 52] : [247, 247, 247]);
  }

  paintWeight() {
    const { weight, layer, state } = this;
    const canvas = this.part("weight");
    const width = canvas.parentElement.clientWidth - 28;
    const scale = Math.min(width / weight.columns, TALLEST / weight.rows, 24);
    this.frame = { scale };
    const pen = prepare(canvas, weight.columns * scale, weight.rows * scale);
    pen.imageSmoothingEnabled = scale < 1;
    pen.drawImage(this.image(this.shownWeight), 0, 0, weight.columns * scale, weight.rows * scale);
    const [height, length] = [layer.patchShape[0] * scale, layer.patchShape[1] * scale];
    const box = (row, column) => [column * length, row * height, patchLength(layer, 1, column) * scale, patchLength(layer, 0, row) * scale];
    const [rows, columns] = patchGrid(layer);
    pen.strokeStyle = this.dark ? "rgba(255,255,255,.28)" : "rgba(27,39,51,.28)";
    pen.lineWidth = 0.6;
    if (Math.min(height, length) > 5)
      for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) pen.strokeRect(...box(row, column));
    pen.strokeStyle = "#d9480f";
    pen.setLineDash([4, 3]);
    pen.lineWidth = 1.2;
    for (const other of this.others.slice(0, 400)) {
      const [x, y, w, h] = box(other.row, other.column);
      pen.strokeRect(x + 1.5, y + 1.5, w - 3, h - 3);
    }
    pen.setLineDash([]);
    outline(pen, box(...state.patch));
    if (state.cell) this.paintReaders(pen, scale);
    canvas.setAttribute("aria-label", `The weight of ${layer.name}: ${weight.rows} output by ${weight.columns} input channels. Patch ${state.patch.join(", ")} is chosen.`);
  }

  /** Mark every number of the weight that reads the chosen cell of the epitome. */
  paintReaders(pen, scale) {
    const { layer, state } = this;
    const [rows, columns] = patchGrid(layer);
    pen.fillStyle = "rgba(0,0,0,.35)";
    pen.fillRect(0, 0, this.weight.columns * scale, this.weight.rows * scale);
    pen.fillStyle = "#ffd43b";
    const size = Math.max(scale, 2);
    const readers = (axis, row, column) => {
      const own = axis ? column : row;
      const first = own * layer.patchShape[axis];
      return Array.from({ length: patchLength(layer, axis, own) }, (_, i) => first + i).filter((at) =>
        taps(layer, axis, at, row, column).some(([cell]) => cell === state.cell[axis]),
      );
    };
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++) {
        const across = readers(1, row, column);
        if (across.length) for (const y of readers(0, row, column)) for (const x of across) pen.fillRect(x * scale, y * scale, size, size);
      }
  }

  paintEpitome() {
    const { layer, state, cells } = this;
    const canvas = this.part("epitome");
    const width = canvas.parentElement.clientWidth - 28;
    const [left, top] = [46, 40];
    const scale = Math.min((width - left - 8) / cells.columns, (TALLEST - top) / cells.rows, this.frame.scale * 1.6, 26);
    this.ruler = { left, top, scale };
    const [w, h] = [cells.columns * scale, cells.rows * scale];
    const pen = prepare(canvas, width, h + top + 8);
    pen.imageSmoothingEnabled = scale < 1;
    pen.drawImage(this.image(this.shownCells), left, top, w, h);
    pen.strokeStyle = this.dark ? "#4a5260" : "#b7c0ca";
    pen.strokeRect(left, top, w, h);
    this.paintRulers(pen, left, top, scale);
    const [row, column] = state.patch;
    const [r, c] = [startOf(layer, 0, row, column), startOf(layer, 1, row, column)];
    const [tall, long] = [patchLength(layer, 0, row), patchLength(layer, 1, column)];
    pen.save();
    pen.beginPath();
    pen.rect(left - 2, top - 2, w + 4, h + 4);
    pen.clip();
    const wraps = layer.boundary === "circular" ? [0, -1] : [0];
    const boxes = wraps.flatMap((i) =>
      wraps.map((j) => [left + (c + j * cells.columns) * scale, top + (r + i * cells.rows) * scale, long * scale, tall * scale]),
    );
    pen.beginPath(); // pale outside the window
    pen.rect(left, top, w, h);
    boxes.forEach((box) => pen.rect(...box));
    pen.fillStyle = this.dark ? "rgba(14,17,23,.5)" : "rgba(255,255,255,.5)";
    pen.fill("evenodd");
    boxes.forEach((box) => outline(pen, box));
    pen.restore();
    if (state.cell) {
      pen.fillStyle = "#ffd43b";
      pen.fillRect(left + state.cell[1] * scale, top + state.cell[0] * scale, Math.max(scale, 3), Math.max(scale, 3));
    }
    canvas.setAttribute("aria-label", `The epitome of ${layer.name}, ${short(layer.epitomeShape).join(" by ")} cells. The patch is read from row ${fixed(r)}, column ${fixed(c)}.`);
  }

  paintRulers(pen, left, top, scale) {
    const { layer, state } = this;
    pen.font = "11px DejaVu Sans, sans-serif";
    pen.lineWidth = 1;
    const ink = getComputedStyle(this.root).color;
    const dots = (axis, paint) => {
      const [rows, columns] = patchGrid(layer);
      const seen = new Map();
      for (let row = 0; row < (axis && layer.scope === "separable" ? 1 : rows); row++)
        for (let column = 0; column < (!axis && layer.scope === "separable" ? 1 : columns); column++)
          seen.set(startOf(layer, axis, row, column).toFixed(2), startOf(layer, axis, row, column));
      pen.fillStyle = this.blue(0.7);
      seen.forEach((start) => paint(start, 3.2));
      pen.fillStyle = "#d9480f";
      paint(startOf(layer, axis, ...state.patch), 5);
    };
    const dot = (x, y, radius) => {
      pen.beginPath();
      pen.arc(x, y, radius, 0, 7);
      pen.fill();
    };
    for (const axis of [1, 0]) {
      const cells = layer.epitomeShape[axis];
      const gap = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((step) => step * scale >= (axis ? 28 : 18)) || 1000;
      pen.strokeStyle = "rgba(127,127,127,.6)";
      pen.fillStyle = ink;
      pen.textAlign = axis ? "center" : "right";
      pen.textBaseline = axis ? "alphabetic" : "middle";
      pen.beginPath();
      if (axis) pen.moveTo(left, top - 9), pen.lineTo(left + cells * scale, top - 9);
      else pen.moveTo(left - 9, top), pen.lineTo(left - 9, top + cells * scale);
      pen.stroke();
      for (let at = 0; at <= cells; at += gap) axis ? pen.fillText(at, left + at * scale, top - 20) : pen.fillText(at, left - 18, top + at * scale);
      dots(axis, (start, radius) => (axis ? dot(left + start * scale, top - 9, radius) : dot(left - 9, top + start * scale, radius)));
    }
  }

  paintMoves() {
    const { data, layer, state } = this;
    const place = this.part("moves");
    const [row, column] = state.patch;
    const columns = patchGrid(layer)[1];
    const lines = [0, 1].flatMap((axis) => {
      if (!data.starts[0][axis]) return [];
      const own = layer.scope === "joint" ? row * columns + column : axis ? column : row;
      return data.starts[0][axis].map((first, index) => ({ axis, hot: index === own, moves: data.starts.map((all) => all[axis][index] - first) }));
    });
    if (!lines.length || data.steps.length < 2) {
      place.innerHTML = `<p class="dim">${lines.length ? "One step was saved so far." : "The cells are read in order: there are no starts that could move."}</p>`;
      return;
    }
    const kept = [...thinned(lines.filter((line) => !line.hot), MOST_LINES), ...lines.filter((line) => line.hot)];
    const [width, height, left, right] = [Math.max(place.clientWidth, 200), 180, 40, 64];
    const most = Math.max(0.01, ...kept.flatMap((line) => line.moves.map(Math.abs)));
    const last = data.steps.at(-1) - data.steps[0] || 1;
    const x = (step) => left + ((step - data.steps[0]) / last) * (width - left - right);
    const y = (move) => height / 2 - 8 - (move / most) * (height / 2 - 22);
    const path = (line) => line.moves.map((move, i) => `${x(data.steps[i]).toFixed(1)},${y(move).toFixed(1)}`).join(" ");
    const curve = (line) =>
      `<polyline fill="none" points="${path(line)}" stroke="${line.hot ? "#d9480f" : this.blue(0.35)}" stroke-width="${line.hot ? 2.2 : 1}" ${line.axis ? 'stroke-dasharray="5 3"' : ""}/>`;
    const hot = kept.filter((line) => line.hot).sort((a, b) => a.moves.at(-1) - b.moves.at(-1));
    let above = Infinity;
    const labels = hot.map((line) => {
      above = Math.min(above - 14, y(line.moves.at(-1)) + 4);
      return `<text x="${width - right + 5}" y="${above}" fill="#d9480f" font-size="11">${line.axis ? "column" : "row"} ${line.axis ? column : row}</text>`;
    });
    const grid = [-most, 0, most].map(
      (move) => `<line x1="${left}" x2="${width - right}" y1="${y(move)}" y2="${y(move)}" stroke="rgba(127,127,127,.35)"/><text x="${left - 5}" y="${y(move) + 4}" text-anchor="end" font-size="11" fill="currentColor">${fixed(move)}</text>`,
    );
    const now = `<line x1="${x(state.step)}" x2="${x(state.step)}" y1="6" y2="${height - 22}" stroke="rgba(127,127,127,.8)" stroke-dasharray="2 2"/>`;
    const ends = `<text x="${left}" y="${height - 4}" font-size="11" fill="currentColor">step ${data.steps[0]}</text><text x="${width - right}" y="${height - 4}" text-anchor="end" font-size="11" fill="currentColor">${data.steps.at(-1)}</text>`;
    place.innerHTML = `<svg width="${width}" height="${height}" role="img" aria-label="How far each start has moved at each step, in cells">${grid.join("")}${now}${kept.map(curve).join("")}${labels.join("")}${ends}</svg>`;
  }

  paintThumbs() {
    const kernel = this.kernels[this.state.kernel];
    const color = diverging(this.data.largest, this.dark ? [38, 42, 52] : [247, 247, 247]);
    const key = `${this.shown} ${this.state.kernel} ${this.dark}`;
    for (const button of this.part("thumbs").children) {
      const step = Number(button.dataset.step);
      button.classList.toggle("now", step === this.state.step);
      if (button.dataset.key === key) continue;
      button.dataset.key = key;
      const cells = this.plane(this.layerAt(step), kernel);
      const scale = Math.min(96 / cells.columns, 54 / cells.rows);
      const pen = prepare(button.firstChild, cells.columns * scale, cells.rows * scale);
      pen.drawImage(heat(cells, color), 0, 0, cells.columns * scale, cells.rows * scale);
    }
  }

  words() {
    const { layer, state } = this;
    const [row, column] = state.patch;
    if (state.cell) {
      const reads = this.counts.values[state.cell[0] * this.counts.columns + state.cell[1]];
      return `<h3>Cell (${state.cell.join(", ")}) of the epitome</h3><p>Its value is <span class="hot">${number(this.cells.values[state.cell[0] * this.cells.columns + state.cell[1]])}</span>.
        <span class="hot">${thousands(reads)}</span> pairs of an output and an input channel read it. They are yellow in the weight.</p>
        <p class="dim">Escape, or another click on the cell, ends this.</p>`;
    }
    const span = (axis, patch) => `${patch * layer.patchShape[axis]}–${patch * layer.patchShape[axis] + patchLength(layer, axis, patch) - 1}`;
    const at = [0, 1].map((axis) => startOf(layer, axis, row, column));
    const position = [...(state.position || [row * layer.patchShape[0], column * layer.patchShape[1]]), ...this.kernels[state.kernel]];
    const sum = terms(layer, position);
    const between = sum.length > 1;
    const lines = sum.slice(0, 8).map((term, i) => {
      const factor = between ? `${fixed(term.factor)} · ` : "";
      return `${i ? "+ " : "  "}${factor}E[${this.indices(term.cells)}]  (${number(term.value)})`;
    });
    if (sum.length > 8) lines.push(`+ ${sum.length - 8} more`);
    const value = sum.reduce((total, term) => total + term.factor * term.value, 0);
    const names = this.others.slice(0, 3).map((other) => `(${other.row}, ${other.column}) ${Math.round(other.share * 100)} %`);
    const others = this.others.length
      ? `${count(this.others.length, "other patch reads", "other patches read")} more than half of this window${this.others.length > 3 ? ", first of all" : ":"} ${names.join(", ")}.`
      : "No other patch reads more than half of this window.";
    return `<h3>Patch (${row}, ${column})</h3><div class="dim">output channels ${span(0, row)}, input channels ${span(1, column)}</div>
      <p>It is read from the epitome, starting at row <span class="hot">${fixed(at[0])}</span>, column <span class="hot">${fixed(at[1])}</span>.
      ${between ? "A start between cells mixes neighbors:" : "Both are whole cells, so the numbers are copied:"}</p>
      <div class="sum">W[${this.indices(position)}] =\n${lines.join("\n")}\n= <b>${number(value)}</b></div>
      <p><b>Who else reads these cells?</b> ${others}</p>`;
  }

  /** The color of starts, on a light and on a dark page. */
  blue(opacity) {
    return this.dark ? `rgba(86,180,233,${opacity})` : `rgba(0,114,178,${opacity})`;
  }

  /** Indices as text, without those of kernel axes that have one position only. */
  indices(all) {
    return all.filter((_, axis) => axis < 2 || this.layer.epitomeShape[axis] > 1).join(", ");
  }

  png() {
    const [weight, epitome] = ["weight", "epitome"].map((name) => this.part(name));
    const sheet = document.createElement("canvas");
    sheet.width = Math.max(weight.width, epitome.width);
    sheet.height = weight.height + epitome.height + 24;
    const pen = sheet.getContext("2d");
    pen.fillStyle = getComputedStyle(this.root.querySelector("section")).backgroundColor;
    pen.fillRect(0, 0, sheet.width, sheet.height);
    pen.drawImage(weight, 0, 0);
    pen.drawImage(epitome, 0, weight.height + 24);
    sheet.toBlob((blob) => save(blob, `${this.data.name}-step-${this.state.step}.png`));
  }

  csv() {
    const { rows, columns, values } = this.weight;
    const lines = Array.from({ length: rows }, (_, row) => Array.from(values.subarray(row * columns, (row + 1) * columns)).join(","));
    save(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }), `${this.data.name}-step-${this.state.step}.csv`);
  }
}

/** An orange box with a white edge, which shows on every color. */
function outline(pen, box) {
  for (const [color, width] of [["#fff", 5], ["#d9480f", 2.6]]) {
    pen.strokeStyle = color;
    pen.lineWidth = width;
    pen.strokeRect(...box);
  }
}

function prepare(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  return pen;
}

function heat(matrix, color) {
  const canvas = document.createElement("canvas");
  canvas.width = matrix.columns;
  canvas.height = matrix.rows;
  const pen = canvas.getContext("2d");
  const picture = pen.createImageData(matrix.columns, matrix.rows);
  for (let i = 0; i < matrix.values.length; i++) {
    const [red, green, blue] = color(matrix.values[i]);
    picture.data.set([red, green, blue, 255], 4 * i);
  }
  pen.putImageData(picture, 0, 0);
  return canvas;
}

function diverging(limit, middle) {
  const table = Array.from({ length: 511 }, (_, i) => {
    const value = (i - 255) / 255;
    return between([middle, ...(value < 0 ? [...NEGATIVE].reverse() : POSITIVE)], Math.abs(value));
  });
  return (value) => table[Math.round(Math.min(Math.max(value / limit, -1), 1) * 255) + 255] || middle;
}

function sequential(limit) {
  return (value) => between(COUNTS, Math.min(value / limit, 1));
}

function between(colors, share) {
  const at = Math.min(share * (colors.length - 1), colors.length - 1 - 1e-9);
  const [low, part] = [Math.floor(at), at % 1];
  return colors[low].map((value, i) => value + (colors[low + 1][i] - value) * part);
}

function luminance(color) {
  const [red, green, blue] = (color.match(/[\d.]+/g) || [0, 0, 0]).map(Number);
  return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255;
}

function crowded(layer, axis) {
  const starts = [...(layer.starts[axis] || [])].sort((a, b) => a - b);
  return starts.filter((start, i) => start - (starts[i - 1] ?? -9) < 0.5 || (starts[i + 1] ?? start + 9) - start < 0.5).length;
}

const positions = (sizes) => sizes.reduce((all, size) => all.flatMap((index) => Array.from({ length: size }, (_, i) => [...index, i])), [[]]);
const thinned = (items, most) => (items.length <= most ? items : Array.from({ length: most }, (_, i) => items[Math.round((i * (items.length - 1)) / (most - 1))]));
const minus = (a, b) => ({ ...a, values: a.values.map((value, i) => value - b.values[i]) });
const largest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / (values.length || 1);
const size = (shape) => shape.reduce((product, length) => product * length, 1);
const short = (shape) => (size(shape.slice(2)) === 1 ? shape.slice(0, 2) : shape);
const fixed = (value, digits = 2) => value.toFixed(digits).replace("-", "−");
const number = (value) => (Math.abs(value) >= 0.001 || value === 0 ? fixed(value, 3) : value.toExponential(1).replace("-", "−"));
const thousands = (value) => Math.round(value).toLocaleString("en-US");
const count = (n, one, many) => `${thousands(n)} ${n === 1 ? one : many}`;

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name.replaceAll("/", "-");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
