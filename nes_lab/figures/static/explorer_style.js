// The style sheet of the explorer, and its fixed HTML. Colors follow Streamlit's or JupyterLab's theme.

export const STYLE = `
.nes-ex { --ink: var(--st-text-color, var(--jp-ui-font-color1, #1b2733)); --card: var(--st-background-color, var(--jp-layout-color1, #fff));
  --soft: color-mix(in srgb, var(--ink) 66%, var(--card)); --line: color-mix(in srgb, var(--ink) 16%, var(--card));
  --mark: #d9480f; --move: #0072b2; color: var(--ink); font: 14px/1.45 var(--st-font, Inter, "Source Sans 3", "Segoe UI", "DejaVu Sans", sans-serif);
  container-type: inline-size; }
.nes-ex .grid, .nes-ex .side, .nes-ex .view { display: grid; gap: 14px; align-content: start; min-width: 0; }
.nes-ex .grid { grid-template-columns: minmax(0, 1fr) minmax(250px, 330px); }
.nes-ex .views { display: grid; gap: 14px; grid-template-columns: repeat(var(--columns, 1), minmax(0, 1fr)); min-width: 0; }
.nes-ex .view { grid-template-rows: auto auto 1fr; } .nes-ex .side { grid-template-rows: 1fr auto; }
.nes-ex .compare .views { grid-column: 1 / -1; }
.nes-ex .compare .side { display: none; }
.nes-ex .compare .view { grid-template-rows: subgrid; grid-row: span 5; }
.nes-ex .wide { grid-column: 1 / -1; }
.nes-ex section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 14px; min-width: 0; overflow-wrap: anywhere; }
.nes-ex h3 { font-size: 14px; font-weight: 650; margin: 0 0 6px; padding: 0; } .nes-ex h3 small { font-size: 13px; font-weight: 400; color: var(--soft); }
.nes-ex p { margin: 6px 0 0; font-size: 14px; } .nes-ex .dim { color: var(--soft); font-size: 13px; }
.nes-ex .finding { border-left: 4px solid var(--move); border-radius: 4px; padding: 9px 12px; background: color-mix(in srgb, var(--move) 8%, var(--card)); }
.nes-ex canvas { display: block; max-width: 100%; border-radius: 3px; outline-offset: 2px; }
.nes-ex canvas:focus-visible { outline: 2px solid var(--move); }
.nes-ex .pair { display: flex; flex-wrap: wrap; gap: 10px 26px; align-items: flex-start; } .nes-ex .window { flex: 1 1 180px; min-width: 0; } .nes-ex .window[hidden] { display: none; } .nes-ex .pair b { font-size: 13px; display: block; margin-bottom: 6px; }
.nes-ex .sum { background: color-mix(in srgb, var(--ink) 6%, var(--card)); border-radius: 8px; padding: 8px 10px; margin-top: 8px; overflow-x: auto;
  font: 12.5px/1.6 "Source Code Pro", "DejaVu Sans Mono", monospace; white-space: pre; overflow-wrap: normal; }
.nes-ex .hot { color: color-mix(in srgb, var(--mark) 78%, var(--ink)); font-weight: 650; font-variant-numeric: tabular-nums; }
.nes-ex .bar { display: flex; flex-wrap: wrap; gap: 8px 18px; align-items: center; margin-bottom: 12px; }
.nes-ex .scale { display: inline-flex; flex-wrap: wrap; gap: 4px 16px; font-size: 13px; color: var(--soft); font-variant-numeric: tabular-nums; }
.nes-ex .scale span { display: inline-flex; gap: 6px; align-items: center; white-space: nowrap; }
.nes-ex .scale i { width: 110px; height: 10px; border-radius: 3px; border: 1px solid var(--line); }
.nes-ex select, .nes-ex button { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 4px 10px; }
.nes-ex button:hover, .nes-ex select:hover { border-color: var(--soft); cursor: pointer; }
.nes-ex button.play { background: var(--move); border-color: var(--move); color: #fff; font-weight: 600; min-width: 84px; }
.nes-ex .tools { float: right; display: flex; gap: 2px; margin: -3px -6px 0 8px; }
.nes-ex .tools button { background: transparent; border-color: transparent; padding: 1px 6px; font-size: 12px; color: var(--soft); }
.nes-ex .tools button:hover, .nes-ex .tools button:focus-visible { color: var(--ink); border-color: var(--line); }
.nes-ex .film { display: flex; flex-wrap: wrap; gap: 12px; align-items: center; } .nes-ex .film > div { flex: 1 1 220px; min-width: 0; }
.nes-ex .film[hidden] { display: none; }
.nes-ex .film > p { flex: 1 1 100%; margin: 0; }
.nes-ex .thumbs { display: flex; gap: 6px; overflow-x: auto; padding: 2px 2px 4px; } .nes-ex .thumbs button { padding: 2px; border-radius: 5px; flex: none; font-size: 12px; }
.nes-ex .thumbs button.now { border-color: var(--mark); box-shadow: 0 0 0 1px var(--mark); }
.nes-ex input[type=range] { width: 100%; accent-color: var(--move); margin: 8px 0 0; }
@container (max-width: 720px) { .nes-ex .grid, .nes-ex .views { grid-template-columns: minmax(0, 1fr); }
  .nes-ex .compare .view { grid-template-rows: auto; grid-row: auto; } .nes-ex .film .tools { float: none; justify-content: flex-end; } }
`;

const tools = (pane, what) =>
  `<span class="tools">${["png", "svg", "csv"].map((kind) => `<button data-file="${kind}" data-pane="${pane}" title="Download ${what} as ${kind.toUpperCase()}" aria-label="${kind.toUpperCase()} of ${what}">${kind.toUpperCase()}</button>`).join("")}</span>`;

export const FRAME = `
  <div class="bar"><label>Color <select data-part="color"><option value="value">value</option><option value="change">change since the first step</option>
    <option value="reuse">times read</option><option value="gradient">gradient</option></select></label>
    <span class="scale" data-part="scale"></span>
    <label data-part="kernel-label">Kernel position <select data-part="kernel"></select></label></div>
  <div class="grid" data-part="grid">
    <div class="finding wide" data-part="finding"></div>
    <div class="views" data-part="views"></div>
    <div class="side" data-part="side"></div>
    <section class="wide film" data-part="film"><button class="play" data-part="play">▶ Play</button>
      <div>${tools("film", "the pictures of all steps")}<div class="thumbs" data-part="thumbs"></div>
        <input type="range" data-part="slider" min="0" step="1" aria-label="Training step"></div><p class="dim" data-part="kept"></p></section>
  </div>`;

/** HTML of the words about a patch or a cell and of the moves of the starts, for one run. */
export const told = (end) => `<section data-part="words${end}" aria-live="${end ? "off" : "polite"}"></section>
  <section>${tools(`moves${end}`, "the moves of the starts")}<h3>Starts during training <small>moves, in cells</small></h3>
    <canvas data-part="moves${end}" role="img"></canvas><p class="dim" data-part="moves-note${end}"></p></section>`;

/** HTML of one column: the weight and the epitome of a layer. `end` makes the names of its parts differ from those of the other columns. `kind` has texts. */
export const column = (end, kind) => `
  <div data-part="head${end}" class="head"></div>
  <section>${tools(`weight${end}`, "the weight")}<h3>Weight the layer uses <small data-part="weight-size${end}"></small></h3>
    <canvas data-part="weight${end}" tabindex="0" role="img"></canvas>
    ${end ? "" : `<p class="dim">Rows: output channels. Columns: input channels. <b style="color: var(--mark)">Orange</b>: the patch under the pointer.
    ${kind.weightHelp} Arrow keys move, Enter or a click keeps the patch.</p>`}</section>
  <section>${tools(`epitome${end}`, "the epitome")}<h3>Epitome it is read from <small data-part="epitome-size${end}"></small></h3>
    <div class="pair"><canvas data-part="epitome${end}" tabindex="0" role="img"></canvas>
    <div class="window" data-part="window-box${end}">${tools(`window${end}`, "the window")}<b>${kind.windowTitle}</b><canvas data-part="window${end}" role="img"></canvas><p class="dim" data-part="window-text${end}"></p></div></div>
    ${end ? "" : `<p class="dim">${kind.cellHelp}</p>`}</section>`;
