// A slider for a budget: what cannot be reached is hatched, and marks show the plan and published budgets.

/**
 * Draw a slider into a node. data is { label, value, least, plan, marks, words }: shares of the dense network, and a line of text.
 * onSlide gets the new share when the user has moved the slider. Drawing again keeps the focus.
 */
export function drawSlider(node, data, onSlide) {
  node.nesSlide = onSlide;
  node.nesData = data;
  if (!node.nesInput) build(node);
  const input = node.nesInput;
  input.setAttribute("aria-label", data.label);
  if (!node.nesTimer) input.value = String(Math.round(1000 * Math.min(data.value, 1)));
  paint(node);
}

const SECONDS_AT_REST = 0.2; // the new budget is sent when the slider has rested for so long
const STEP = 5; // of an arrow key, in thousandths

function build(node) {
  const input = document.createElement("input");
  Object.assign(input, { type: "range", min: "0", max: "1000", step: String(STEP) });
  const style = document.createElement("style");
  style.textContent = `
    .nes-slider { position: relative; padding-top: 2px; }
    .nes-slider input { -webkit-appearance: none; appearance: none; width: 100%; height: 18px; margin: 0; background: none; cursor: pointer; }
    .nes-slider input::-webkit-slider-runnable-track { height: 8px; border-radius: 4px; background: var(--track); }
    .nes-slider input::-moz-range-track { height: 8px; border-radius: 4px; background: var(--track); }
    .nes-slider input::-webkit-slider-thumb { -webkit-appearance: none; width: 16px; height: 16px; margin-top: -4px; border-radius: 50%;
      border: 2px solid white; background: #0072b2; box-shadow: 0 0 3px rgba(0,0,0,.5); }
    .nes-slider input::-moz-range-thumb { width: 12px; height: 12px; border-radius: 50%; border: 2px solid white; background: #0072b2; }
    .nes-slider input:focus-visible { outline: 2px solid #0072b2; outline-offset: 2px; border-radius: 6px; }
    .nes-slider i { position: absolute; top: 0; width: 0; height: 20px; pointer-events: none; }
    .nes-slider small { display: block; opacity: .75; font-size: .8rem; line-height: 1.25; }`;
  const words = document.createElement("small");
  node.append(style, input, words);
  Object.assign(node, { nesInput: input, nesWords: words, nesMarks: [] });
  const send = () => {
    node.nesTimer = null;
    node.nesSlide(Number(input.value) / 1000);
  };
  input.addEventListener("input", () => {
    const least = Math.ceil(1000 * node.nesData.least - 1e-9);
    if (Number(input.value) < least) {
      input.step = "1";
      input.value = String(least);
    } else input.step = String(STEP);
    clearTimeout(node.nesTimer);
    node.nesTimer = setTimeout(send, 1000 * SECONDS_AT_REST);
    paint(node);
  });
}

/** The track, the marks and the text for the place of the slider. */
function paint(node) {
  const { least, plan, marks, words } = node.nesData;
  const share = 100 * Math.min(least, 1);
  const value = Number(node.nesInput.value) / 10;
  const hatched = `repeating-linear-gradient(135deg, rgba(138,138,138,.55) 0 2px, transparent 2px 6px) 0 0 / ${share}% 100% no-repeat`;
  node.style.setProperty(
    "--track",
    `linear-gradient(to right, transparent ${share}%, #0072b2 ${share}% ${Math.max(value, share)}%, rgba(0,114,178,.25) 0), ${hatched}`,
  );
  node.nesMarks.forEach((mark) => mark.remove());
  const places = [...(plan == null ? [] : [[plan, "2px solid #d55e00"]]), ...marks.map((mark) => [mark, "2px dashed #8a8a8a"])];
  node.nesMarks = places.map(([at, border]) => {
    const mark = document.createElement("i");
    const inside = Math.min(Math.max(at, 0), 1);
    mark.style.cssText = `left:calc(8px + ${inside} * (100% - 16px));border-left:${border}`;
    node.append(mark);
    return mark;
  });
  node.nesInput.setAttribute("aria-valuetext", `${value} %`);
  node.nesWords.textContent = node.nesTimer ? `${value} %` : words;
}
