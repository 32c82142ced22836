// Draw the figures of a page, in the light or dark theme that the reader has chosen.
import { drawPlot } from "./plot.js";

const beside = (name) => new URL(name, import.meta.url).href;
const themes = await (await fetch(beside("themes.json"))).json();
const figures = [...document.querySelectorAll(".nes-plot")].map((node) => {
  const script = node.querySelector("script");
  script.remove();
  return [node, JSON.parse(script.textContent)];
});

function draw() {
  const template = themes[document.documentElement.dataset.theme === "dark" ? "dark" : "light"];
  for (const [node, spec] of figures) drawPlot(node, { ...spec, layout: { ...spec.layout, template } }, beside("plotly.min.js"));
}

// widgets that need no kernel
for (const node of document.querySelectorAll(".nes-live")) {
  const data = JSON.parse(node.querySelector("script").textContent);
  import(beside(`${node.dataset.module}.js`)).then((module) => module.mount(node, data));
}

draw();
new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
