// The film strip of the explorer: small pictures of the epitome at the saved steps.

import { diverging, heat } from "./colors.js";
import { prepare, rowsOf } from "./files.js";

const THUMB = [96, 54]; // pixels

/** A button with the picture of a step, which shows this step. */
export function thumb(explorer, step) {
  const button = document.createElement("button");
  button.dataset.step = step;
  button.title = `Show step ${step}`;
  button.setAttribute("aria-label", button.title);
  button.append(document.createElement("canvas"), document.createElement("div"));
  button.addEventListener("click", () => explorer.choose(step));
  return button;
}

/** Draw the pictures of all steps whose epitomes were saved, and mark the chosen step. */
export function paintThumbs(explorer) {
  const [main] = explorer.views;
  const place = explorer.part("thumbs");
  const room = Math.min(THUMB[0], Math.max(58, place.clientWidth / (place.children.length || 1) - 14));
  const key = `${explorer.shown} ${explorer.state.kernel} ${explorer.look.dark} ${room} ${main.data.largest}`;
  const cells = main.cells;
  const scale = Math.min(room / cells.columns, THUMB[1] / cells.rows);
  const [width, height] = [cells.columns * scale, cells.rows * scale];
  const color = diverging(explorer.data.largest, explorer.look.dark ? [38, 42, 52] : [247, 247, 247]);
  const planeAt = (step) => main.plane(main.at(step), main.kernel);
  for (const button of place.children) {
    const step = Number(button.dataset.step);
    button.classList.toggle("now", step === explorer.state.step);
    button.setAttribute("aria-pressed", step === explorer.state.step);
    if (button.dataset.key === key) continue;
    button.dataset.key = key;
    button.lastChild.textContent = room > 80 ? `step ${step}` : step;
    prepare(button.firstChild, width, height).drawImage(heat(planeAt(step), color), 0, 0, width, height);
  }
  const strip = (pen) =>
    explorer.pictured.forEach((step, i) => {
      pen.imageSmoothingEnabled = scale < 1;
      pen.drawImage(heat(planeAt(step), color), i * (width + 10), 0, width, height);
      Object.assign(pen, { fillStyle: explorer.look.ink, font: "11px sans-serif", textAlign: "left", textBaseline: "alphabetic" });
      pen.fillText(step, i * (width + 10), height + 16);
    });
  const table = () => [["step", "row", "values"], ...explorer.pictured.flatMap((step) => rowsOf(planeAt(step)).map((values, row) => [step, row, ...values]))];
  explorer.panes.set("film", { width: explorer.pictured.length * (width + 10), height: height + 22, paint: strip, table });
}
