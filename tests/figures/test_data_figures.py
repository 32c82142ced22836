"""The contact sheet and the statistics of a data set: what is drawn, how heavy it is, what is refused."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from nes_lab.datasets.check.report import DataReport, SplitReport
from nes_lab.errors import OptionError
from nes_lab.figures.contact_sheet import contact_sheet
from nes_lab.figures.data_page import data_page
from nes_lab.figures.data_statistics import data_statistics
from nes_lab.figures.theme import apply_theme, figure_json


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)


def report(classes: int = 3, kind: str = "image", **options) -> DataReport:
    names = tuple(f"<i>class</i> {index}" for index in range(classes))
    train = SplitReport(
        "train", tuple(range(1, classes + 1)), 9, ((64, 48, 5), (32, 32, 4)), {"RGB": 9}, (0.5,) * 3, (0.2,) * 3
    )
    val = SplitReport("val", (1,) * classes, 3, ((32, 32, 3),), {"RGB": 3})
    return DataReport("image_folder", "here", kind, names, (train, val), 0, **options)


def test_contact_sheet_places_examples_in_the_row_of_their_class() -> None:
    figure = contact_sheet({"cat": [noise(8, 8)] * 3, "<b>": [noise(40, 90, 3)]})
    places = [(image.x, image.y) for image in figure.layout.images]
    assert places == [(0.5, 0.5), (1.5, 0.5), (2.5, 0.5), (0.5, 1.5)]
    assert list(figure.layout.yaxis.ticktext) == ["cat", "&lt;b&gt;"]
    assert "4 images of 2 classes" in figure.layout.meta["alt"]
    decoded = [Image.open(io.BytesIO(base64.b64decode(image.source.split(",")[1]))) for image in figure.layout.images]
    assert [picture.size for picture in decoded] == [(64, 64)] * 3 + [(90, 40)]


def test_contact_sheet_scales_each_sound_to_its_tile() -> None:
    wave = np.concatenate([np.zeros(500), np.sin(np.arange(500)) * 900]).astype(np.int16)
    figure = contact_sheet({"dog": [wave, wave // 100], "rain": [np.zeros(7, np.int16)]})
    first = [(x, y) for x, y in zip(figure.data[0].x, figure.data[0].y, strict=True) if x is not None]
    assert all(0 < x < 2 and 0 < y < 1 for x, y in first)
    quiet = [y for x, y in first if x < 0.4]
    assert set(quiet) == {0.5}
    assert min(y for x, y in first if x < 1) == pytest.approx(min(y for x, y in first if x > 1), abs=0.12)
    assert {y for y in figure.data[1].y if y is not None} == {1.5}


def test_contact_sheet_stays_under_two_megabytes() -> None:
    pictures = contact_sheet({f"class {index}": [noise(96, 96, 3)] * 8 for index in range(30)})
    sounds = contact_sheet({f"class {index}": [noise(50_000).astype(np.int16)] * 8 for index in range(30)})
    for figure in (pictures, sounds):
        assert len(json.dumps(figure_json(figure))) < 2e6


@pytest.mark.parametrize(
    ("examples", "said"),
    [
        ({}, "examples is empty"),
        ({"a": []}, "examples is empty"),
        ({"a": [noise(2, 2)] * 241}, "holds 241 examples; give at most 240"),
        ({"a": [noise(2, 2).astype(float)]}, r"has shape \(2, 2\) and type float64"),
        ({"a": [np.array([np.nan])]}, "finite and not empty"),
    ],
)
def test_contact_sheet_refuses_what_it_cannot_draw(examples: dict, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        contact_sheet(examples)


def test_data_statistics_show_each_class_and_size_of_each_split() -> None:
    figure = data_statistics(report())
    bars = [(list(bar.x), list(bar.y)) for bar in figure.data]
    assert bars == [
        ([1, 2, 3], [0, 1, 2]),
        ([4, 5], [0, 1]),
        ([1, 1, 1], [0, 1, 2]),
        ([3, 0], [0, 1]),
    ]
    assert figure.layout.yaxis.ticktext[0] == "&lt;i&gt;class&lt;/i&gt; 0"
    assert list(figure.layout.yaxis2.ticktext) == ["32×32", "64×48"]
    assert "6 in train, 3 in val;<br>per class: 1 to 3 in train, 1 in val" in figure.layout.title.subtitle.text


def test_data_statistics_draw_many_classes_as_curves() -> None:
    figure = data_statistics(report(1000))
    curve = figure.data[0]
    assert curve.type == "scatter"
    assert list(curve.y) == list(range(1000, 0, -1))
    assert len(json.dumps(figure_json(figure))) < 2e6


def test_data_statistics_show_the_lengths_of_sounds() -> None:
    split = SplitReport("train", (4,), 4, ((40000, 1, 4),), {"8,000 Hz": 4})
    figure = data_statistics(DataReport("audio_folder", None, "audio", ("dog",), (split,)))
    assert list(figure.layout.yaxis2.ticktext) == ["40 k samples"]
    assert figure.layout.title.text == "Clips of 1 classes"


def test_data_statistics_refuse_an_empty_report() -> None:
    with pytest.raises(OptionError, match="no example"):
        data_statistics(DataReport("image_folder", None, "image", (), ()))


@pytest.mark.parametrize("dark", [False, True])
def test_data_figures_apply_both_themes(dark: bool) -> None:
    for figure in (contact_sheet({"a": [noise(4, 4)]}), data_statistics(report())):
        assert apply_theme(figure, dark).layout.template.layout.paper_bgcolor == ("#0E1117" if dark else "#FFFFFF")


def test_data_page_says_why_a_set_cannot_be_used() -> None:
    page = data_page(report(problems=("1 image is <broken>",)), {})
    assert "It cannot be used as it is:" in page
    assert "1 image is &lt;broken&gt;" in page
    empty = data_page(DataReport("image_folder", None, "image", (), (), problems=("nothing",)), {})
    assert "Plotly.react" not in empty
