"""Write text, tables and figures as one HTML document that can be read offline."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio
from plotly.offline import get_plotlyjs

from nes_lab.figures.theme import PLOT_CONFIG, figure_json
from nes_lab.text import format_number

__all__ = ["Section", "plotly_js", "report_html"]


@dataclass(frozen=True)
class Section:
    """One part of an HTML report: a heading with text, a table or a figure.

    Args:
        title: Heading of the section. The table of contents shows it too.
        text: Paragraphs of plain text, separated by blank lines.
        figure: Figure of the section, made by ``nes_lab.figures``; None if there is none.
        table: Rows of the table. All rows are mappings with the same keys; the keys are the titles of the columns.
        note: Remark in small print under the table or the figure.

    Examples:
        >>> import nes_lab
        >>> nes_lab.figures.Section("Result", table=[{"network": "mine", "top-1": 91.5}]).title
        'Result'
    """

    title: str
    text: str = ""
    figure: go.Figure | None = None
    table: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    note: str = ""


def plotly_js() -> str:
    """Return the source of plotly.js that comes with the plotly package."""
    return get_plotlyjs()


def report_html(title: str, sections: Sequence[Section]) -> str:
    """Return a report as one HTML document that can be read offline and needs no other file.

    Args:
        title: Title of the document.
        sections: Parts of the report in order. plotly.js is included once, and only if a section has a figure.

    Returns:
        The document. It is light or dark as the browser prefers. Texts, titles and table cells are escaped.

    Examples:
        >>> import nes_lab
        >>> page = nes_lab.figures.report_html("Runs", [nes_lab.figures.Section("<b>", text="1 < 2", table=[{"run": "a", "top-1": 91.5}])])
        >>> "&lt;b&gt;" in page and "1 &lt; 2" in page and "91.5" in page
        True
    """
    body = "\n".join(_section(index, section) for index, section in enumerate(sections))
    contents = "".join(
        f'<li><a href="#s{index}">{html.escape(section.title)}</a></li>' for index, section in enumerate(sections)
    )
    drawn = any(section.figure is not None for section in sections)
    scripts = f"<script>{_script_safe(plotly_js())}</script>\n<script>{_script()}</script>" if drawn else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{html.escape(title)}</h1>\n<nav aria-label="Contents"><ul>{contents}</ul></nav>\n{body}\n</main>\n'
        f"{scripts}\n</body>\n</html>\n"
    )


def _section(index: int, section: Section) -> str:
    parts = [f'<section id="s{index}">', f"<h2>{html.escape(section.title)}</h2>"]
    parts += [f"<p>{html.escape(part)}</p>" for part in section.text.split("\n\n") if part.strip()]
    if section.table:
        parts.append(_table(section.table))
    if section.figure is not None:
        parts.append(_figure(section.figure))
    if section.note:
        parts.append(f'<p class="note">{html.escape(section.note)}</p>')
    return "\n".join([*parts, "</section>"])


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    head = "".join(f'<th scope="col">{html.escape(str(column))}</th>' for column in columns)
    lines = []
    for row in rows:
        cells = "".join(_cell(row.get(column)) for column in columns)
        lines.append(f"<tr>{cells}</tr>")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _cell(value: object) -> str:
    if value is None:
        return "<td>–</td>"
    if isinstance(value, bool):
        return f"<td>{'yes' if value else 'no'}</td>"
    if isinstance(value, int | float):
        text = f"{value:g}" if abs(value) < 1000 else format_number(float(value))
        return f'<td class="number">{html.escape(text)}</td>'
    return f"<td>{html.escape(str(value))}</td>"


def _figure(figure: go.Figure) -> str:
    spec = figure_json(figure)
    spec["layout"].pop("template", None)
    alt = html.escape(str((spec["layout"].get("meta") or {}).get("alt", "")), quote=True)
    height = int(spec["layout"].get("height") or 480)
    payload = _json(spec)
    return (
        f'<figure><div class="plot" role="img" aria-label="{alt}" style="height:{height}px">'
        f'<script type="application/json">{payload}</script></div><figcaption>{alt}</figcaption></figure>'
    )


def _json(value: object) -> str:
    """Return a value as JSON that is safe inside a ``<script>`` element."""
    # It is safe because ``<`` is escaped.
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c").replace("\u2028", "\\u2028")


def _script_safe(source: str) -> str:
    return source.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _script() -> str:
    templates = {name: pio.templates[f"nes_{name}"].to_plotly_json() for name in ("light", "dark")}
    return _DRAW.replace("TEMPLATES", _json(templates)).replace("CONFIG", _json(PLOT_CONFIG))


_DRAW = """
(function () {
  var templates = TEMPLATES;
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  var plots = Array.prototype.map.call(document.querySelectorAll(".plot"), function (node) {
    return { node: node, spec: JSON.parse(node.querySelector("script").textContent) };
  });
  function draw() {
    plots.forEach(function (plot) {
      var layout = Object.assign({}, plot.spec.layout, { template: dark.matches ? templates.dark : templates.light });
      Plotly.react(plot.node, plot.spec.data, layout, CONFIG);
    });
  }
  dark.addEventListener("change", draw);
  draw();
})();
"""

_STYLE = """
:root { --ink: #1f2430; --paper: #ffffff; --soft: #5b6472; --line: #e4e7ec; --link: #0072b2; --head: #f5f7fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --paper: #0e1117; --soft: #a3acbb; --line: #2a303c; --link: #56b4e9; --head: #181c25; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 Inter, "Source Sans 3", "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 24px 20px 64px; }
h1 { font-size: 1.8rem; line-height: 1.25; margin: 0.4em 0; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2em 0 0.5em; border-top: 1px solid var(--line); padding-top: 1em;
  overflow-wrap: anywhere; }
p { max-width: 46em; overflow-wrap: anywhere; white-space: pre-line; }
a { color: var(--link); }
nav ul { display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 0; list-style: none; font-size: 0.92rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; min-width: 50%; }
th, td { text-align: left; padding: 6px 14px 6px 8px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { background: var(--head); font-weight: 600; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 1em 0; }
figcaption, .note { color: var(--soft); font-size: 0.85rem; }
.plot { width: 100%; min-width: 0; }
@media print { nav { display: none; } figure { break-inside: avoid; } }
"""
