// Write what a pane shows as a PNG, SVG or CSV file. A pane is { width, height, paint(pen), table() }.

/** Give a canvas a size in pixels of the page, and return a pen that draws in these pixels. */
export function prepare(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  return pen;
}

/** Download one pane as a file of the kind "png", "svg" or "csv". */
export function download(pane, kind, name, background) {
  if (kind === "csv") return save(new Blob([table(pane.table())], { type: "text/csv" }), `${name}.csv`);
  if (kind === "svg") {
    const pen = new SvgPen(pane.width, pane.height, background);
    pane.paint(pen);
    return save(new Blob([pen.text()], { type: "image/svg+xml" }), `${name}.svg`);
  }
  const sheet = document.createElement("canvas");
  [sheet.width, sheet.height] = [Math.ceil(2 * pane.width), Math.ceil(2 * pane.height)];
  const pen = sheet.getContext("2d");
  pen.setTransform(2, 0, 0, 2, 0, 0);
  pen.fillStyle = background;
  pen.fillRect(0, 0, pane.width, pane.height);
  pane.paint(pen);
  return sheet.toBlob((blob) => save(blob, `${name}.png`));
}

const table = (lines) => lines.map((line) => Array.from(line).join(",")).join("\n") + "\n";

/** The rows of a matrix, for a table. */
export const rowsOf = ({ rows, columns, values }) => Array.from({ length: rows }, (_, row) => values.subarray(row * columns, (row + 1) * columns));

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name.replaceAll("/", "-");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** A pen with the methods of a canvas that the panes use, which writes SVG. */
class SvgPen {
  constructor(width, height, background) {
    Object.assign(this, { fillStyle: "#000", strokeStyle: "#000", lineWidth: 1, font: "11px sans-serif", textAlign: "left", textBaseline: "alphabetic" });
    this.dash = [];
    this.clips = 0;
    this.open = [];
    this.size = [width, height];
    this.parts = [`<rect width="${width}" height="${height}" fill="${background}"/>`];
  }
  text() {
    const [width, height] = this.size;
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">${this.parts.join("\n")}</svg>\n`;
  }
  save() {
    this.open.push(0);
  }
  restore() {
    this.parts.push("</g>".repeat(this.open.pop() || 0));
  }
  beginPath() {
    this.path = "";
  }
  moveTo(x, y) {
    this.path += `M${x} ${y}`;
  }
  lineTo(x, y) {
    this.path += `L${x} ${y}`;
  }
  rect(x, y, w, h) {
    this.path += `M${x} ${y}h${w}v${h}h${-w}z`;
  }
  arc(x, y, r) {
    this.path += `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
  }
  clip() {
    this.clips += 1;
    this.parts.push(`<clipPath id="clip${this.clips}"><path d="${this.path}"/></clipPath><g clip-path="url(#clip${this.clips})">`);
    if (this.open.length) this.open[this.open.length - 1] += 1;
  }
  fill(rule = "nonzero") {
    this.parts.push(`<path d="${this.path}" fill="${this.fillStyle}" fill-rule="${rule}"/>`);
  }
  stroke() {
    const dash = this.dash.length ? ` stroke-dasharray="${this.dash.join(" ")}"` : "";
    this.parts.push(`<path d="${this.path}" fill="none" stroke="${this.strokeStyle}" stroke-width="${this.lineWidth}"${dash}/>`);
  }
  setLineDash(dash) {
    this.dash = dash;
  }
  fillRect(...box) {
    this.beginPath();
    this.rect(...box);
    this.fill();
  }
  strokeRect(...box) {
    this.beginPath();
    this.rect(...box);
    this.stroke();
  }
  fillText(text, x, y) {
    const anchor = { center: "middle", right: "end", left: "start" }[this.textAlign];
    const middle = this.textBaseline === "middle" ? ' dominant-baseline="middle"' : "";
    this.parts.push(
      `<text x="${x}" y="${y}" fill="${this.fillStyle}" text-anchor="${anchor}"${middle} style="font: ${this.font}">${String(text).replace(/[&<]/g, (letter) => `&#${letter.charCodeAt(0)};`)}</text>`,
    );
  }
  drawImage(image, x, y, w, h) {
    this.parts.push(
      `<image href="${image.toDataURL()}" x="${x}" y="${y}" width="${w}" height="${h}" preserveAspectRatio="none" style="image-rendering: pixelated"/>`,
    );
  }
}
