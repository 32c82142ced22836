// Draw a layer's weight beside the epitome that it is read from, with every pane linked: pointing at a patch shows where it is read.
//
// mount(node, data, options) draws into a node of a page. data comes from nes_lab/figures/explorer_data.py. options.others lists the same
// layer of other runs, drawn in columns. options.view is what the user has chosen before, and options.onView(view) is called when the user
// chooses something: { step, color, kernel, pin, cell }, all text. Calling mount again with new data keeps what the user has chosen.

import { patchGrid } from "./sampling.js";
import { escaped, number, thinned } from "./numbers.js";
import { diverging, heat, luminance, sequential } from "./colors.js";
import { download, prepare, rowsOf } from "./files.js";
import { viewOf } from "./flat_view.js";
import { paintMoves, paintWeight } from "./panes.js";
import { LEARNED, head, kept } from "./words.js";
import { paintThumbs, thumb } from "./film.js";
import { FRAME, STYLE, column, told } from "./explorer_style.js";
import { kindOf } from "./kinds.js";

const TALLEST = 400; // pixels
const COLORS = ["value", "change", "reuse", "gradient"];
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** Draw the explorer into a node, or give the explorer that is there new data. */
export function mount(node, data, options = {}) {
  if (!node.nesExplorer) node.nesExplorer = new Explorer(node);
  node.nesExplorer.show(data, options);
  return node.nesExplorer;
}

class Explorer {
  constructor(node) {
    this.node = node;
    this.state = { position: [0, 0], kernel: null, step: null, color: "value", cell: null, pinned: false };
    this.panes = new Map();
    const style = document.createElement("style");
    style.textContent = STYLE;
    this.root = document.createElement("div");
    this.root.className = "nes-ex";
    this.root.innerHTML = FRAME;
    this.node.replaceChildren(style, this.root);
    this.part = (name) => this.root.querySelector(`[data-part="${name}"]`);
    this.listen();
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(this.root);
  }

  show(data, options) {
    this.options = options;
    const runs = [data, ...(options.others || [])];
    const text = JSON.stringify(runs.map((each) => [each.name, each.steps, each.epitomeShape, each.about, each.largest, each.missing, Object.keys(each.epitomes || {})]));
    const wanted = JSON.stringify(options.view || {});
    if (text === this.shown && wanted === this.told) return this.draw(); // the page has run again, nothing is new
    if (text !== this.shown) this.take(data, runs, text);
    if (wanted !== this.told) this.apply(options.view || {});
    this.told = wanted;
    this.fillControls();
    this.compute();
    this.draw();
  }

  /** Take new data. What the user has chosen is kept as far as the data has it. */
  take(data, runs, text) {
    const before = this.data;
    const follows = this.state.step === null || (before && this.state.step === before.steps.at(-1));
    const sameLayer = before && before.name === data.name && String(before.weightShape) === String(data.weightShape);
    this.shown = text;
    this.data = data;
    this.runs = runs;
    this.views = runs.filter((each) => !each.missing).map(viewOf);
    const middle = Math.floor(this.views[0].kernels.length / 2);
    if (!sameLayer) Object.assign(this.state, { position: [0, 0], cell: null, pinned: false, kernel: middle });
    if (follows || !data.steps.includes(this.state.step)) this.state.step = data.steps.at(-1);
    this.buildColumns();
  }

  /** Choose what an address names. Values that the data does not have are ignored. */
  apply(view) {
    const { data, state } = this;
    if (data.steps.includes(Number(view.step)) && view.step !== undefined) state.step = Number(view.step);
    if (COLORS.includes(view.color)) state.color = view.color;
    if (/^\d{1,4}$/.test(view.kernel || "") && this.views[0].kernels[Number(view.kernel)]) state.kernel = Number(view.kernel);
    const pin = /^\d{1,6}\.\d{1,6}$/.test(view.pin || "") ? view.pin.split(".").map(Number) : null;
    if (pin && pin.every((index, axis) => index < data.weightShape[axis])) Object.assign(state, { position: pin, pinned: true });
    const cell = this.views[0].cellNamed(view.cell);
    if (cell) Object.assign(state, { cell, pinned: true });
  }

  /** Tell the page what the user has chosen, a moment after the last change. What is as usual is left out. */
  tell() {
    if (!this.options.onView) return;
    clearTimeout(this.telling);
    this.telling = setTimeout(() => {
      const { state, data } = this;
      const view = {};
      if (state.step !== data.steps.at(-1)) view.step = String(state.step);
      if (state.color !== "value") view.color = state.color;
      if (state.kernel !== Math.floor(this.views[0].kernels.length / 2)) view.kernel = String(state.kernel);
      if (state.pinned && state.cell) view.cell = state.cell.join(".");
      else if (state.pinned) view.pin = state.position.join(".");
      const text = JSON.stringify(view);
      if (text === this.told) return;
      this.told = text;
      this.options.onView(view);
    }, 400);
  }

  buildColumns() {
    const place = this.part("views");
    this.panes.clear();
    place.replaceChildren();
    place.style.setProperty("--columns", this.runs.length);
    const compares = this.runs.length > 1;
    this.part("grid").classList.toggle("compare", compares);
    this.part("side").innerHTML = compares ? "" : told("");
    let at = 0;
    for (const run of this.runs) {
      const box = document.createElement("div");
      box.className = "view";
      if (run.missing) box.innerHTML = `<div class="head"><b>${escaped(run.about.title)}</b></div><section><p>${escaped(run.missing)}</p></section>`;
      place.append(box);
      if (run.missing) continue;
      const view = this.views[at];
      view.end = at ? `-${at}` : "";
      box.innerHTML = column(view.end, kindOf(view)) + (compares ? told(view.end) : "");
      this.listenColumn(view);
      at += 1;
    }
  }

  listen() {
    const on = (name, kind, act) => this.part(name).addEventListener(kind, act);
    on("color", "change", (event) => this.set({ color: event.target.value }, true));
    on("kernel", "change", (event) => this.set({ kernel: Number(event.target.value) }, true));
    on("slider", "input", (event) => this.choose(this.data.steps[Number(event.target.value)]));
    on("play", "click", () => this.play());
    this.root.addEventListener("click", (event) => {
      const { file, pane } = event.target.dataset;
      if (event.target.dataset.part === "release") this.set({ pinned: false, cell: null });
      if (file && this.panes.has(pane)) download(this.panes.get(pane), file, `${this.data.name}-${pane}-step-${this.state.step}`, this.background());
    });
  }

  listenColumn(view) {
    const [weight, epitome] = [this.part(`weight${view.end}`), this.part(`epitome${view.end}`)];
    weight.addEventListener("pointermove", (event) => this.point(view, event));
    weight.addEventListener("pointerdown", (event) => this.point(view, event));
    weight.addEventListener("click", (event) => this.pin(view, event));
    weight.addEventListener("keydown", (event) => this.key(view, event));
    epitome.addEventListener("click", (event) => this.click(view, event));
    epitome.addEventListener("keydown", (event) => this.cellKey(view, event));
  }

  fillControls() {
    const [main] = this.views;
    const kernel = this.part("kernel");
    kernel.replaceChildren(...main.kernels.map((index, i) => new Option(`(${index.join(", ")})`, i)));
    kernel.value = this.state.kernel;
    this.part("kernel-label").hidden = main.kernels.length < 2;
    const { steps } = this.data;
    this.part("film").hidden = steps.length < 2;
    this.part("slider").max = steps.length - 1;
    this.pictured = thinned([...main.epitomes.keys()].sort((a, b) => a - b), 12);
    if (String(this.pictured) !== this.thumbed) this.part("thumbs").replaceChildren(...this.pictured.map((step) => thumb(this, step)));
    this.thumbed = String(this.pictured);
    this.part("kept").textContent = kept(main);
    const change = this.part("color").querySelector('[value="change"]');
    change.disabled = main.epitomes.size < 2;
    if (change.disabled && this.state.color === "change") this.state.color = "value";
    this.part("color").value = this.state.color;
  }

  set(change, again = false) {
    Object.assign(this.state, change);
    if (again) this.compute();
    this.draw();
    this.tell();
  }

  choose(step) {
    if (step !== this.state.step && this.data.steps.includes(step)) this.set({ step }, true);
  }

  compute() {
    const { state } = this;
    this.views.forEach((view) => view.compute(state.step, state.kernel, state.color));
    this.limit = Math.max(...this.views.map((view) => view.limit), 1e-12); // one color scale for all columns
    this.storeLimit = Math.max(...this.views.map((view) => view.storeLimit), 1e-12);
    const text = kindOf(this.views[0]).finding(this.views[0], state.color);
    const lacking = state.color === "gradient" && !this.views[0].gradients.size;
    this.part("finding").innerHTML = lacking ? `<b>No gradients.</b> ${escaped(this.data.gradientNote)}` : text;
    this.part("scale").hidden = lacking;
    this.part("scale").style.display = lacking ? "none" : "";
    this.paintScale();
  }

  paintScale() {
    const isFlat = this.views.some((view) => view.isFlat);
    const scales = isFlat && this.state.color !== "reuse" ? [["weight", this.limit], [this.views.every((view) => view.isFlat) ? "epitome" : "flat epitome", this.storeLimit]] : [["", this.limit]];
    this.part("scale").innerHTML = scales.map(([name, limit]) => this.scaleOf(limit, name)).join("");
  }

  scaleOf(limit, name) {
    const { color } = this.state;
    const stops = Array.from({ length: 11 }, (_, i) => this.colorOf(limit)(color === "reuse" ? (i / 10) * limit : (i / 5 - 1) * limit));
    const shades = stops.map((rgb) => `rgb(${rgb.map(Math.round).join(",")})`).join(", ");
    const ends = color === "reuse" ? ["0", number(limit).replace(/\.0+$/, "")] : [number(-limit), number(limit)];
    return `<span>${name} ${ends[0]} <i style="background: linear-gradient(90deg, ${shades})"></i> ${ends[1]}</span>`;
  }

  /** The position of the weight under the pointer, or null. */
  positionAt(view, event) {
    const box = event.currentTarget.getBoundingClientRect();
    const position = [event.clientY - box.top, event.clientX - box.left].map((pixels) => Math.floor(pixels / view.frame.scale));
    return position.every((index, axis) => index >= 0 && index < this.data.weightShape[axis]) ? position : null;
  }

  point(view, event) {
    const position = this.state.pinned ? null : this.positionAt(view, event);
    if (!position) return;
    this.since = event.timeStamp;
    Object.assign(this.state, { position, cell: null });
    this.draw();
  }

  pin(view, event) {
    const { state } = this;
    const position = this.positionAt(view, event);
    if (!position) return;
    const same = state.pinned && !state.cell && String(view.patchOf(position)) === String(view.patchOf(state.position));
    this.set({ position, pinned: !same, cell: null });
  }

  key(view, event) {
    const { state } = this;
    if (event.key === "Escape") this.set({ cell: null, pinned: false });
    if (event.key === "Enter") this.set({ pinned: !state.pinned || state.cell !== null, cell: null });
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    event.preventDefault();
    const grid = patchGrid(view.layer);
    const patch = view.patchOf(state.position).map((index, axis) => Math.min(Math.max(index + arrow[axis], 0), grid[axis] - 1));
    this.set({ position: patch.map((index, axis) => index * view.layer.patchShape[axis]), cell: null });
  }

  click(view, event) {
    const { left, top, scale } = view.ruler;
    const box = event.currentTarget.getBoundingClientRect();
    const cell = view.cellAt([(event.clientY - box.top - top) / scale, (event.clientX - box.left - left) / scale]);
    const chosen = String(cell) === String(this.state.cell) ? null : cell;
    this.set({ cell: chosen, pinned: chosen !== null });
  }

  cellKey(view, event) {
    const { cell, pinned } = this.state;
    if (event.key === "Escape") this.set({ cell: null, pinned: false });
    if (event.key === "Enter") this.set({ pinned: !pinned, cell: cell || view.cellBeside(null) });
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    event.preventDefault();
    this.set({ cell: view.cellBeside(view.inside(cell), arrow) });
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
        else this.choose(steps[at]);
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

  /** Draw a pane on its canvas, and remember how, for downloads. */
  pane(name, width, height, paint, table) {
    this.panes.set(name, { width, height, paint, table });
    paint(prepare(this.part(name), width, height));
  }

  paint() {
    const ink = getComputedStyle(this.root).getPropertyValue("color");
    const dark = luminance(ink) > 0.5;
    if (this.look && dark !== this.look.dark) this.views.forEach((view) => (view.images = new Map()));
    const blue = (opacity) => (dark ? `rgba(86,180,233,${opacity})` : `rgba(0,114,178,${opacity})`);
    const changed = !this.look || dark !== this.look.dark;
    this.look = { dark, ink, blue, card: this.background(), image: (view, matrix) => this.image(view, matrix) };
    if (changed) this.paintScale();
    this.part("slider").value = this.data.steps.indexOf(this.state.step);
    this.part("slider").setAttribute("aria-valuetext", `step ${this.state.step}`);
    for (const view of this.views) {
      this.paintColumn(view);
      this.paintMoves(view);
      this.write(view);
    }
    paintThumbs(this);
  }

  /** Write what is chosen. A run whose epitome does not have the chosen cell says what its patch reads. */
  write(view) {
    const { state } = this;
    const release = state.pinned && !view.end ? `<p><button data-part="release">Let go</button> <span class="dim">or press Escape</span></p>` : "";
    const kind = kindOf(view);
    const words = view.inside(state.cell) ? kind.cellWords(view, state) : kind.patchWords(view, state, view.others);
    this.part(`words${view.end}`).innerHTML = words + release;
  }

  image(view, matrix) {
    if (!view.images.has(matrix)) view.images.set(matrix, heat(matrix, this.colorOf(matrix.isStore ? this.storeLimit : this.limit, matrix.limit)));
    return view.images.get(matrix);
  }

  /** Colors up to a limit. `values` is the limit of a picture that shows values, whatever else the colors show. */
  colorOf(limit, values) {
    if (this.state.color === "reuse" && !values) return sequential(limit);
    return diverging(values || limit, this.look?.dark ? [38, 42, 52] : [247, 247, 247]);
  }

  background() {
    return getComputedStyle(this.root.querySelector("section")).backgroundColor;
  }

  paintColumn(view) {
    const { state, look } = this;
    const { end, layer } = view;
    const [patch, cell] = [view.shownPatch(state), view.inside(state.cell)];
    const [rows, columns] = patchGrid(layer);
    const texts = kindOf(view).sizes(view, rows, columns);
    this.part(`weight-size${end}`).textContent = this.runs.length > 1 ? `${rows} × ${columns} patches` : texts.weight;
    this.part(`epitome-size${end}`).textContent = texts.epitome;
    this.part(`head${end}`).innerHTML = this.runs.length > 1 ? head(view, state.step, state.color) : "";
    this.part(`head${end}`).hidden = this.runs.length < 2;
    view.others = view.near(patch);
    const room = this.part(`weight${end}`).parentElement.clientWidth - 28;
    const scale = Math.min(room / view.weight.columns, TALLEST / view.weight.rows, 24);
    view.frame = { scale };
    const readers = cell && view.readers(cell);
    const marks = { scale, patch, readers, dashed: readers || view.others };
    this.pane(`weight${end}`, view.weight.columns * scale, view.weight.rows * scale, (pen) => paintWeight(pen, view, look, marks), () => rowsOf(view.shownWeight));
    this.part(`weight${end}`).setAttribute("aria-label", `The weight of ${layer.name}: ${view.weight.rows} output by ${view.weight.columns} input channels. Patch ${patch.join(", ")} is chosen.`);
    this.paintEpitome(view, patch, cell, room);
  }

  paintEpitome(view, patch, cell, room) {
    const { look } = this;
    const { end, cells, frame, layer } = view;
    const kind = kindOf(view);
    const [left, top] = kind.margins(view);
    const wide = room > 560 && this.runs.length === 1 && !view.isFlat;
    const scale = Math.min(((wide ? 0.6 : 1) * room - left - 10) / cells.columns, (TALLEST - top) / cells.rows, view.isFlat ? 26 : frame.scale * 1.6, 26);
    view.ruler = { left, top, scale };
    const [width, height] = [left + cells.columns * scale + 10, cells.rows * scale + top + 8];
    const marks = { ...view.ruler, patch, cell };
    this.pane(`epitome${end}`, width, height, (pen) => kind.paintCells(pen, view, look, marks), () => kind.cellRows(view));
    const box = kind.windowSize(view, patch, wide ? room - width - 34 : room);
    const canvas = this.part(`epitome${end}`);
    canvas.setAttribute("aria-label", `The epitome of ${layer.name}, ${layer.epitomeShape.join(" by ")} cells. The patch is read from ${box.where || box.text}.${cell ? ` Cell ${cell.join(", ")} is chosen.` : ""}`);
    const shown = this.runs.length === 1 && box.scale >= 2;
    this.part(`window-box${end}`).hidden = !shown;
    if (!shown) return;
    const name = `window${end}`;
    this.pane(name, box.width, box.height, (pen) => kind.paintWindow(pen, view, look, { ...box, patch, cell }), () => kind.windowRows(view, patch));
    this.part(name).setAttribute("aria-label", `${kind.windowTitle}, patch ${patch.join(", ")}: ${box.text}`);
    this.part(`window-text${end}`).textContent = box.text;
  }

  paintMoves(view) {
    const { end, data } = view;
    const patch = view.shownPatch(this.state);
    const canvas = this.part(`moves${end}`);
    const all = data.steps.length > 1 ? kindOf(view).moveLines(view, patch) : [];
    const lines = LEARNED.includes(data.routing) ? all : [];
    canvas.hidden = !lines.length;
    canvas.style.display = lines.length ? "" : "none";
    const still = all.length ? "The starts of this run are not learned: they do not move." : "The cells are read in order: there are no starts that could move.";
    const none = data.steps.length > 1 ? still : "One step was saved so far.";
    this.part(`moves-note${end}`).textContent = lines.length ? kindOf(view).moveNote : none;
    if (!lines.length) return this.panes.delete(`moves${end}`);
    const [width, height] = [Math.max(canvas.parentElement.clientWidth - 28, 200), 190];
    const table = () => [["step", "axis", "start", "move in cells"], ...lines.flatMap(({ axis, index, moves }) => moves.map((move, i) => [data.steps[i], axis ? "input" : "output", index, move]))];
    this.pane(`moves${end}`, width, height, (pen) => paintMoves(pen, view, this.look, { lines, patch, width, height }), table);
    canvas.setAttribute("aria-label", "How far each start has moved at each step, in cells");
  }
}
