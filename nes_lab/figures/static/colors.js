// Turn numbers into colors, and matrices into pictures with one pixel per number.

const NEGATIVE = [[5, 48, 97], [67, 147, 195]];
const POSITIVE = [[214, 96, 77], [103, 0, 31]];
const COUNTS = [[0, 32, 76], [66, 78, 108], [124, 123, 120], [187, 175, 113], [255, 233, 69]];

/** A picture of a matrix: a canvas with one pixel per number. */
export function heat(matrix, color) {
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

/** Colors from blue (negative) to red (positive), up to a limit. Zero has the color `middle`. */
export function diverging(limit, middle) {
  const table = Array.from({ length: 511 }, (_, i) => {
    const value = (i - 255) / 255;
    return between([middle, ...(value < 0 ? [...NEGATIVE].reverse() : POSITIVE)], Math.abs(value));
  });
  return (value) => table[Math.round(Math.min(Math.max(value / limit, -1), 1) * 255) + 255] || middle;
}

/** Colors of counts from 0 to a limit. */
export function sequential(limit) {
  return (value) => between(COUNTS, Math.min(value / limit, 1));
}

function between(colors, share) {
  const at = Math.min(share * (colors.length - 1), colors.length - 1 - 1e-9);
  const [low, part] = [Math.floor(at), at % 1];
  return colors[low].map((value, i) => value + (colors[low + 1][i] - value) * part);
}

/** How light a color of a style sheet is, from 0 to 1. */
export function luminance(color) {
  const [red, green, blue] = (color.match(/[\d.]+/g) || [0, 0, 0]).map(Number);
  return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255;
}
