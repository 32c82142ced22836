// Turn numbers into text, and small helpers for lists of numbers.

export const positions = (sizes) => sizes.reduce((all, size) => all.flatMap((index) => Array.from({ length: size }, (_, i) => [...index, i])), [[]]);
export const thinned = (items, most) =>
  items.length <= most ? items : Array.from({ length: most }, (_, i) => items[Math.round((i * (items.length - 1)) / (most - 1))]);
export const minus = (a, b) => ({ ...a, values: a.values.map((value, i) => value - b.values[i]) });
export const largest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
export const mean = (values) => values.reduce((sum, value) => sum + value, 0) / (values.length || 1);
export const size = (shape) => shape.reduce((product, length) => product * length, 1);
export const short = (shape) => (size(shape.slice(2)) === 1 ? shape.slice(0, 2) : shape);
export const fixed = (value, digits = 2) => value.toFixed(digits).replace("-", "−");
export const number = (value) => (Math.abs(value) >= 0.001 || value === 0 ? fixed(value, 3) : value.toExponential(1).replace("-", "−"));
export const thousands = (value) => Math.round(value).toLocaleString("en-US");
export const count = (n, one, many) => `${thousands(n)} ${n === 1 ? one : many}`;
export const escaped = (text) => String(text).replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
