"""A figure in a notebook: what it sends to the page, what it keeps, and what is shown where widgets cannot be."""

from __future__ import annotations

import gzip

import plotly.graph_objects as go
import pytest

from nes_lab.figures.theme import handle, new_figure
from nes_lab.widgets.epitome_explorer import EpitomeExplorer
from nes_lab.widgets.figure_view import FigureView
from nes_lab.widgets.start_explorer import StartExplorer
from tests.widgets.test_epitome_explorer import network

VIEW = "application/vnd.jupyter.widget-view+json"


def figure(alt="A line of three points."):
    drawn = new_figure(alt, width=700)
    drawn.add_scatter(y=[1, 2, 3])
    return drawn


def test_it_sends_a_figure_without_a_fixed_width_or_background():
    view = FigureView(figure())
    layout = view.spec["layout"]
    assert "width" not in layout and "template" not in layout and layout["autosize"]
    assert view.spec["data"][0]["y"] == [1, 2, 3]
    inks = {name: theme["layout"]["font"]["color"] for name, theme in view.themes.items()}
    assert inks == {"light": "#1F2430", "dark": "#E6E9EF"}
    view.figure = figure("Another.")
    assert view.spec["layout"]["meta"]["alt"] == "Another." == repr(view).split(": ")[1]


def test_figures_of_a_kernel_share_one_copy_of_plotly():
    first, second = FigureView(figure()), FigureView(figure())
    assert first.library is second.library
    assert b"plotly.js" in gzip.decompress(first.library.code)[:200]
    assert len(first.library.code) < 2_000_000
    first.library.close()  # as Widget.close_all() does
    assert FigureView(figure()).library is not second.library


def test_a_moved_handle_is_told():
    places = []
    drawn = figure()
    handle(drawn, "madds", "MAdds budget", x=1)
    view = FigureView(drawn, on_move=lambda *place: places.append(place))
    view._handle_custom_msg({"id": "madds", "x": 0.5, "y": None}, [])
    view._handle_custom_msg({"other": 1}, [])
    assert places == [("madds", 0.5, None)]


def test_plain_figures_can_be_read_on_white_and_on_black():
    shown = go.Figure(figure()).layout.template.layout
    assert shown.paper_bgcolor == shown.plot_bgcolor == "rgba(0,0,0,0)"
    levels = [contrast(shown.font.color, page) for page in ("#ffffff", "#111111")]
    assert min(levels) > 4, levels


@pytest.mark.parametrize(
    ("widget", "kind"),
    [
        (lambda: FigureView(figure()), "application/vnd.plotly.v1+json"),
        (lambda: StartExplorer([0.0, 1.0, 3.0], length=2), "application/vnd.plotly.v1+json"),
        (lambda: EpitomeExplorer(network()), "text/html"),
    ],
    ids=["FigureView", "StartExplorer", "EpitomeExplorer"],
)
def test_widgets_have_other_forms_where_there_is_no_kernel(widget, kind):
    shown = widget()
    bundle = shown._repr_mimebundle_()
    bundle = bundle[0] if isinstance(bundle, tuple) else bundle
    assert VIEW in bundle and bundle["text/plain"].startswith(type(shown).__name__ + ": ")
    assert bundle[kind]


def contrast(ink, page):
    def light(color):
        parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    low, high = sorted([light(ink), light(page)])
    return (high + 0.05) / (low + 0.05)
