// Draw a plotly figure into a node of a page. Drawing again with new data keeps the user's zoom and the hidden curves.

import { drawHandles } from "./handles.js";

const libraries = new Map();

/** Load plotly.js from an address, once per page. */
function load(address) {
  if (window.Plotly) return Promise.resolve(window.Plotly);
  if (!libraries.has(address))
    libraries.set(
      address,
      new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = address;
        script.onload = () => resolve(window.Plotly);
        script.onerror = () => reject(new Error(`${address} could not be loaded`));
        document.head.append(script);
      }),
    );
  return libraries.get(address);
}

/**
 * Draw a figure: { data, layout, config }. The newest call wins if several wait for plotly.js.
 * onClick, if given, is called with the customdata of a point that the user clicks. onMove, if given, is called with { id, x, y } when
 * the user moves a handle of `layout.meta.handles` (handles.js). onChoose, if given, is called with the customdata of the points inside of
 * the user's box or lasso; a click with Shift adds a point to `layout.meta.chosen` or takes it away.
 */
export async function drawPlot(node, spec, address, onClick, onMove, onChoose) {
  node.nesSpec = spec;
  node.nesClick = onClick;
  node.nesChoose = onChoose;
  node.setAttribute("aria-label", spec.layout.meta.alt);
  node.style.minHeight = `${spec.layout.height}px`;
  const plotly = await load(address);
  if (!node.isConnected || node.nesSpec !== spec) return;
  node.nesConfig ??= config(plotly, spec); // with another configuration, plotly would forget the zoom
  node.nesDrawing = true; // to take the user's box away is then not the user's choice
  await plotly.react(node, spec.data, spec.layout, node.nesConfig);
  node.nesDrawing = false;
  if (onClick && !node.nesClicks) {
    node.nesClicks = true;
    node.on("plotly_click", (event) => {
      const chosen = event.points.find((point) => point.customdata != null);
      if (!chosen) return;
      if (event.event?.shiftKey && node.nesChoose) node.nesChoose(toggled(node, chosen.customdata));
      else node.nesClick?.(list(chosen.customdata));
    });
  }
  if (onChoose && !node.nesChoices) {
    node.nesChoices = true;
    node.on("plotly_selected", (event) => {
      if (event && !node.nesDrawing) node.nesChoose?.(event.points.map((point) => point.customdata).filter((value) => value != null));
    });
    node.on("plotly_deselect", () => node.nesDrawing || node.nesChoose?.([]));
  }
  if (node.dataset.drawn !== "yes" && spec.layout.meta.linked) link(node, plotly);
  if (spec.layout.meta.handles || node.nesHandles) drawHandles(node, spec.layout.meta.handles ?? [], onMove);
  node.dataset.drawn = "yes";
}

/** The chosen points of a figure, with one more, or without it if it is among them. */
function toggled(node, point) {
  const chosen = node.nesSpec.layout.meta.chosen ?? [];
  return chosen.includes(point) ? chosen.filter((other) => other !== point) : [...chosen, point];
}

let pointed = false; // while this file moves the pointer of other figures

/** Point at the same place of the horizontal axis in all figures of the page with the same `meta.linked`. */
function link(node, plotly) {
  const others = () =>
    [...document.querySelectorAll(".nes-plot[data-drawn]")].filter(
      (other) => other !== node && other.nesSpec.layout.meta.linked === node.nesSpec.layout.meta.linked && other.data.length,
    );
  const each = (act) => {
    if (pointed) return;
    pointed = true;
    try {
      others().forEach(act);
    } finally {
      pointed = false;
    }
  };
  node.on("plotly_hover", (event) => {
    const xval = event.points[0].x;
    each((other) => plotly.Fx.hover(other, { xval, yval: 0 }, ["xy"]));
  });
  node.on("plotly_unhover", () => each((other) => plotly.Fx.unhover(other)));
}

/** The configuration of plotly.js, with buttons for the picture and the numbers. */
function config(plotly, spec) {
  const buttons = [
    button("nes-svg", "Download as SVG", "M500 900 L200 500 H380 V100 H620 V500 H800 Z", (plot) =>
      plotly.downloadImage(plot, { format: "svg", filename: name(plot) }),
    ),
    button("nes-csv", "Download the numbers as CSV", "M100 100 H900 V300 H100 Z M100 400 H900 V600 H100 Z M100 700 H900 V900 H100 Z", (plot) =>
      save(csv(plot.data), `${name(plot)}.csv`),
    ),
  ];
  const image = { format: "png", scale: 2, filename: name(spec) };
  return { ...spec.config, modeBarButtonsToAdd: buttons, toImageButtonOptions: image };
}

function button(id, title, path, click) {
  return { name: id, title, icon: { width: 1000, height: 1000, path }, click };
}

function name(plot) {
  const title = (plot.layout.title && plot.layout.title.text) || "figure";
  return title.replace(/<[^>]*>/g, "").replace(/[^\w.-]+/g, "-").slice(0, 60);
}

/** The numbers of all traces: one row per point, or per row of a heatmap. Cells that a spreadsheet would compute are made text. */
export function csv(traces) {
  const cell = (value) => {
    const text = value == null ? "" : String(value);
    const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const lines = [];
  for (const trace of traces) {
    if (trace.z) lines.push(...Array.from(list(trace.z), (row) => [trace.name ?? "", ...list(row)]));
    else {
      const x = list(trace.meta?.x ?? trace.x ?? []); // points that are drawn beside their place keep it there
      if (!trace.meta?.decoration) list(trace.x ?? trace.y ?? []).forEach((_, i) => lines.push([trace.name ?? "", x[i], list(trace.y ?? [])[i]]));
    }
  }
  return ["series,x,y", ...lines.map((line) => Array.from(line, cell).join(","))].join("\n") + "\n";
}

// plotly keeps typed arrays under _inputArray where Python sent base64
const list = (values) => values._inputArray ?? values;

function save(text, file) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = file;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
