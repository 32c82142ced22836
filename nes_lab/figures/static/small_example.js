// Draw an epitome of a few numbers and the weight that is read from it. Pointing at a number of the weight, or the arrow keys, shows
// the cells that it is read from, and the sum.
//
// drawSmallExample(node, layer) draws into a node of a page. layer comes from nes_lab/figures/small_example.py.

import { patchGrid, startOf, terms, weightMatrix } from "./sampling.js";

const STYLE = `
.nes-small { --ink: var(--st-text-color, #1b2733); --card: var(--st-background-color, #fff); --soft: color-mix(in srgb, var(--ink) 62%, var(--card));
  --line: color-mix(in srgb, var(--ink) 30%, var(--card)); --mark: #d9480f; color: var(--ink); font: 14px/1.45 var(--st-font, Inter, "DejaVu Sans", sans-serif); }
.nes-small svg { display: block; width: 100%; border-radius: 6px; outline-offset: 2px; } .nes-small svg:focus-visible { outline: 2px solid #0072b2; }
.nes-small text { fill: var(--ink); } .nes-small .head { font-weight: 650; } .nes-small .dim { fill: var(--soft); }
.nes-small .hot { fill: var(--mark); font-weight: 650; } .nes-small path { fill: none; stroke: var(--line); stroke-width: 1.2; stroke-dasharray: 3 3; }
.nes-small path.now { stroke: var(--mark); stroke-width: 2; stroke-dasharray: none; } .nes-small .now.window { stroke-width: 4; }
.nes-small .sum { margin: 4px 0 0; min-height: 3em; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; } .nes-small .sum b { color: var(--mark); }
`;
const RED = [178, 24, 43];
const BLUE = [33, 102, 172];
const PERIOD = 1100; // milliseconds for one number while nobody points at one

/** Draw the example into a node. Drawing again keeps the number that the user points at. */
export function drawSmallExample(node, layer) {
  if (!node.nesSmall) node.nesSmall = new SmallExample(node, { ...layer, epitome: Float32Array.from(layer.epitome) });
}

class SmallExample {
  constructor(node, layer) {
    Object.assign(this, { layer, chosen: 4, node });
    this.weight = weightMatrix(layer, []).values;
    const style = document.createElement("style");
    style.textContent = STYLE;
    this.root = document.createElement("div");
    this.root.className = "nes-small";
    this.root.innerHTML = `<svg tabindex="0" role="slider" aria-valuemin="0" aria-valuemax="${this.weight.length - 1}"></svg><p class="sum"></p>`;
    node.replaceChildren(style, this.root);
    [this.svg, this.sum] = [this.root.querySelector("svg"), this.root.querySelector(".sum")];
    this.svg.setAttribute("aria-label", this.description());
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerdown", (event) => this.point(event));
    this.svg.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(this.root);
    this.play();
  }

  description() {
    const [cells, numbers, patches] = [this.layer.epitomeShape[1], this.weight.length, patchGrid(this.layer)[1]];
    return (
      `An epitome of ${cells} numbers and the weight of ${numbers} numbers that is read from it, in ${patches} patches of ` +
      `${this.layer.patchShape[1]} that start at ${this.layer.starts[1].join(", ")}. Choose a number of the weight with the arrow keys.`
    );
  }

  /** Show one number after another until the user points at one. Nothing moves by itself if the user prefers less motion. */
  play() {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const timer = setInterval(() => {
      if (this.driven || !this.node.isConnected) clearInterval(timer);
      else if (!document.hidden) this.choose((this.chosen + 1) % this.weight.length);
    }, PERIOD);
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - this.left) / this.cell);
    if (column < 0 || column >= this.weight.length) return;
    this.driven = true;
    this.choose(column);
  }

  key(event) {
    const last = this.weight.length - 1;
    const next = { ArrowLeft: this.chosen - 1, ArrowDown: this.chosen - 1, ArrowRight: this.chosen + 1, ArrowUp: this.chosen + 1, Home: 0, End: last }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    this.driven = true;
    this.choose(Math.min(Math.max(next, 0), last));
  }

  choose(column) {
    this.chosen = column;
    this.draw();
  }

  draw() {
    const width = this.root.clientWidth;
    if (!width) return;
    const { layer, weight, chosen } = this;
    const count = weight.length;
    this.cell = Math.min(48, (width - 4) / count);
    const [cell, high] = [this.cell, Math.max(this.cell * 0.9, 30)];
    this.left = (width - cell * count) / 2;
    const from = (width - cell * layer.epitomeShape[1]) / 2;
    const [top, below] = [26, 26 + high + 92];
    const patch = Math.floor(chosen / layer.patchShape[1]);
    const size = cell < 36 ? 10.5 : 12.5;
    const parts = terms(layer, [0, chosen]);
    const read = new Set(parts.map((part) => part.cells[1]));
    const dark = brightness(getComputedStyle(this.root).color) > 128;
    const drawn = [text(from, 16, `Epitome: ${layer.epitomeShape[1]} numbers stored`, "head", 13)];
    drawn.push(...boxes(layer.epitome, from, top, cell, high, size, dark, (i) => read.has(i)));
    const order = [...Array(patchGrid(layer)[1]).keys()].sort((a, b) => (a === patch) - (b === patch)); // the chosen one on top
    for (const each of order) {
      const kind = each === patch ? "now" : "";
      const [x, long] = [from + startOf(layer, 1, 0, each) * cell, layer.patchShape[1] * cell];
      const [y, end] = [top + high + 8 + 7 * each, this.left + each * long];
      drawn.push(`<path class="${kind} window" d="M${x} ${y} H${x + long}"/>`);
      for (const side of [0, long]) {
        const middle = (y + below) / 2;
        drawn.push(`<path class="${kind}" d="M${x + side} ${y} C${x + side} ${middle} ${end + side} ${middle} ${end + side} ${below}"/>`);
      }
    }
    drawn.push(...boxes(weight, this.left, below, cell, high, size, dark, (i) => i === chosen));
    for (const each of order) {
      const x = this.left + each * layer.patchShape[1] * cell;
      const label = width < 520 ? `from ${layer.starts[1][each]}` : `patch ${each}, starts at ${layer.starts[1][each]}`;
      if (each === patch) drawn.push(`<rect x="${x}" y="${below}" width="${layer.patchShape[1] * cell}" height="${high}" fill="none" stroke="#d9480f" stroke-width="3"/>`);
      drawn.push(text(x + (layer.patchShape[1] * cell) / 2, below + high + 17, label, each === patch ? "hot" : "dim", 12, "middle"));
    }
    drawn.push(text(this.left, below + high + 40, `Weight: ${count} numbers used`, "head", 13));
    this.svg.setAttribute("height", below + high + 46);
    this.svg.innerHTML = drawn.join("");
    const said = sentence(chosen, parts, weight[chosen]);
    this.sum.innerHTML = said;
    this.svg.setAttribute("aria-valuenow", chosen);
    this.svg.setAttribute("aria-valuetext", this.sum.textContent);
  }
}

/** The sum that gives one number of the weight, as HTML. */
function sentence(column, parts, value) {
  const names = parts.map(({ cells, factor }) => (factor === 1 ? `E[${cells[1]}]` : `${fixed(factor)} · E[${cells[1]}]`));
  const numbers = parts.map((part) => (part.factor === 1 ? fixed(part.value) : `${fixed(part.factor)} · ${part.value < 0 ? `(${fixed(part.value)})` : fixed(part.value)}`));
  const middle = parts.length > 1 ? ` = ${numbers.join(" + ")}` : "";
  return `W[${column}] = ${names.join(" + ")}${middle} = <b>${fixed(value)}</b>`;
}

function boxes(values, left, top, cell, high, size, dark, marked) {
  return Array.from(values, (value, i) => {
    const color = shade(value, dark);
    const ink = brightness(`rgb(${color})`) > 140 ? "#111" : "#fff";
    const edge = marked(i) ? 'stroke="#d9480f" stroke-width="3"' : 'stroke="var(--card)" stroke-width="1.5"';
    const box = `<rect x="${left + i * cell + 1}" y="${top + 1}" width="${cell - 2}" height="${high - 2}" fill="rgb(${color})" ${edge}/>`;
    return box + `<text x="${left + (i + 0.5) * cell}" y="${top + high / 2 + 4}" font-size="${size}" text-anchor="middle" style="fill:${ink}">${fixed(value)}</text>`;
  });
}

function text(x, y, words, kind, size, anchor = "start") {
  return `<text class="${kind}" x="${x}" y="${y}" font-size="${size}" text-anchor="${anchor}">${words}</text>`;
}

/** The color of a value from -1 (blue) to 1 (red). */
function shade(value, dark) {
  const middle = dark ? [58, 63, 75] : [247, 247, 247];
  const end = value < 0 ? BLUE : RED;
  return middle.map((part, i) => Math.round(part + (end[i] - part) * Math.min(Math.abs(value), 1)));
}

function brightness(color) {
  const [red, green, blue] = color.match(/[\d.]+/g).map(Number);
  return 0.299 * red + 0.587 * green + 0.114 * blue;
}

const fixed = (value) => (Math.round(value * 100) / 100).toFixed(2).replace("-", "−");
