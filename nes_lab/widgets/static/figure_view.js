// Show a plotly figure in a notebook: it takes the width it is given, follows the theme of the page, and its handles can be dragged.

/** The address of plotly.js, which the kernel sends once per page, compressed. */
async function address(library) {
  if (!window.nesPlotly)
    window.nesPlotly = (async () => {
      const code = library.get("code");
      const stream = new Blob([code]).stream().pipeThrough(new DecompressionStream("gzip"));
      return URL.createObjectURL(new Blob([await new Response(stream).text()], { type: "text/javascript" }));
    })();
  return window.nesPlotly;
}

/** Whether the page is dark: as JupyterLab says, otherwise if the text at a node is light. */
function isDark(node) {
  const theme = document.body.dataset.jpThemeLight;
  if (theme) return theme === "false";
  const [red, green, blue] = (getComputedStyle(node).color.match(/[\d.]+/g) || [0, 0, 0]).map(Number);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 128;
}

export default {
  async render({ model, el }) {
    const library = await model.widget_manager.get_model(model.get("library").replace("IPY_MODEL_", ""));
    const plotly = await address(library);
    const node = document.createElement("div");
    node.className = "nes-plot";
    node.style.cssText = "width:100%;min-width:0;overflow:hidden";
    node.setAttribute("role", "group");
    el.style.minWidth = "0"; // in a row of figures it may become narrower than its drawing
    el.append(node);
    const move = (place) => model.send(place);
    let drawn = {};
    // JupyterLab takes cells that are far off the screen out of the page: what changed meanwhile is drawn when they come back
    const draw = () => {
      if (!node.isConnected || !node.clientWidth) return;
      const now = { spec: model.get("spec"), dark: isDark(el), width: node.clientWidth };
      if (Object.keys(now).every((name) => now[name] === drawn[name])) return;
      drawn = now;
      const { data, layout, config } = now.spec;
      const clear = "rgba(0,0,0,0)";
      const themed = { ...layout, template: model.get("themes")[now.dark ? "dark" : "light"], paper_bgcolor: clear, plot_bgcolor: clear };
      drawPlot(node, { data, layout: themed, config }, plotly, undefined, move);
    };
    const resized = new ResizeObserver(() => {
      draw();
      if (node.dataset.drawn === "yes") window.Plotly.Plots.resize(node);
    });
    resized.observe(el);
    const theme = new MutationObserver(() => [0, 400].forEach((wait) => setTimeout(draw, wait))); // the page may be hidden for a moment
    theme.observe(document.body, { attributeFilter: ["data-jp-theme-light", "class"] });
    model.on("change:spec", draw);
    draw();
    return () => {
      resized.disconnect();
      theme.disconnect();
      model.off("change:spec", draw);
      window.Plotly?.purge(node);
    };
  },
};
