"""Figures of predictions: every example has its words, and the confusion has shares and counts."""

from __future__ import annotations

import numpy as np
import pytest

from nes_lab.errors import OptionError
from nes_lab.figures.confusion import class_table, confusion, pair_table
from nes_lab.figures.predictions import prediction_sheet

NAMES = ["<b>cat</b>", "dog"]


def example(index, label, predicted, **more):
    return {"index": index, "label": label, "predicted": predicted, "probability": 0.75, "loss": 0.5, **more}


def test_prediction_sheet_marks_wrong_ones_and_escapes_names():
    picture = "data:image/jpeg;base64,AA"
    rows = [
        example(0, 0, 0, picture=picture),
        example(1, 1, 0, picture=picture),
        example(2, 1, 1, outline=[[0, 1], [-1, 1]]),
    ]
    figure = prediction_sheet(rows, NAMES, "Validation", columns=2)
    right, wrong, sounds = figure.data
    assert len(right.text) == 2 and len(figure.layout.images) == 2
    assert wrong.text == ("dog<br>✗ &lt;b&gt;cat&lt;/b&gt; 75 %",)
    assert figure.layout.yaxis.range == (2, 0) and len(sounds.x) == 3
    assert 1 < sounds.y[0] < 1.7 and 0 < sounds.x[0] < 1  # in the second row, first column
    with pytest.raises(OptionError, match="empty"):
        prediction_sheet([], NAMES, "none")


def test_confusion_has_shares_of_rows_and_none_for_an_absent_class():
    figure = confusion([[8, 2, 0], [0, 5, 0], [0, 0, 0]], [*NAMES, "bird"])
    shares = np.asarray(figure.data[0].z)
    assert shares[0].tolist() == [0.8, 0.2, 0] and np.isnan(shares[2]).all()
    assert "&lt;b&gt;" in figure.layout.xaxis.ticktext[0]
    assert confusion(np.eye(60, dtype=int), [str(number) for number in range(60)]).data[0].texttemplate == ""


def test_tables_name_classes_and_sort_the_worst_first():
    classes = [
        {"name": "a", "precision": 1.0, "recall": 0.5, "f1": 0.67, "examples": 4},
        {"name": "b", "precision": None, "recall": None, "f1": None, "examples": 0},
        {"name": "c", "precision": 0.5, "recall": 0.5, "f1": 0.5, "examples": 2},
    ]
    assert [row["name"] for row in class_table(classes).rows] == ["c", "a", "b"]
    (row,) = pair_table([{"label": 0, "predicted": 2, "count": 1}], classes).rows
    assert (row["label"], row["predicted"], row["share"]) == ("a", "c", 0.25)
