"""The worker checks a data set and draws it; an asker who left ends the work."""

from __future__ import annotations

import json

import pytest

from nes_lab.datasets.check.report import DataReport
from nes_lab.errors import DataError
from nes_lab.figures.theme import figure_from_json
from nes_lab.worker.data import check_for_page, samples_for_form
from nes_lab.worker.questions import KINDS
from nes_lab.worker.serve import Stopped
from tests.datasets.samples import break_file, make_tree


def test_check_for_page_reports_and_draws(tmp_path):
    tree, seen = make_tree(tmp_path / "pets"), []
    break_file(tree / "train" / "cat" / "0.png")
    answer = json.loads(json.dumps(check_for_page({"source": str(tree)}, seen.append)))
    assert answer["summary"] == "12 images · 2 classes, 6 each · 1 unreadable"
    report = DataReport.from_dict(answer["report"])
    assert not report.usable and report.splits[0].unreadable == 1
    assert len(figure_from_json(answer["sheet"]).layout.images) == 11 - 4  # the sheet shows the training split
    assert figure_from_json(answer["statistics"]).layout.title.text == "Images of 2 classes"
    assert [(event["phase"], event["done"]) for event in seen][-1] == ("reading val", 3)


def test_check_for_page_of_nothing(tmp_path):
    (tmp_path / "train").mkdir()
    answer = check_for_page({"source": str(tmp_path)})
    assert answer["sheet"] is None and answer["statistics"] is None and answer["report"]["problems"]
    with pytest.raises(DataError, match="neither a folder nor a data set"):
        check_for_page({"source": "nothing"})


def test_check_for_page_ends_when_nobody_waits(tmp_path):
    def leave(event):
        raise Stopped

    with pytest.raises(Stopped):
        check_for_page({"source": str(make_tree(tmp_path))}, leave)


def test_samples_for_form_shows_several_classes(tmp_path):
    samples = samples_for_form({"source": "image_folder", "root": str(make_tree(tmp_path))})
    assert [name for name, _ in samples] == ["cat", "dog", "cat", "dog"] and samples[0][1].startswith("data:image/jpeg")
    assert len(samples_for_form({"source": "digits"})) == 8


def test_the_jobs_worker_knows_both_questions():
    assert {"data", "samples"} <= set(KINDS["jobs"]())
