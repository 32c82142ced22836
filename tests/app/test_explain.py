"""The page Explain in all its states. The worker is stood in for; tests/worker/test_explanations.py has the real one."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest

from nes_lab.experiment.kept_answers import keep_answer
from nes_lab.experiment.open_runs import open_run
from nes_lab.worker.client import Refusal, Worker
from tests.app.test_views import figures, open_page, words
from tests.figures.samples import write_run

PICTURE = "data:image/jpeg;base64,AAAA"


def example(index, answers):
    row = {
        "index": index,
        "label": answers[0],
        "answers": answers,
        "probability": 0.6,
        "disagreement": 0.9 / (1 + index),
    }
    return row | {"picture": PICTURE}


CANDIDATES = {
    "same": 0.925,
    "total": 360,
    "classes": [str(number) for number in range(10)],
    "worst": [example(index, [3, 8]) for index in (41, 7, 12)],
    "spaced": [example(index, [1, 1]) for index in (0, 100)],
}
CURVES = {"shares": [0, 1], "deletion": [[0.9, 0.1]], "insertion": [[0.1, 0.9]]}


def explained(arguments):
    named = [{"index": index, "label": 3} for index in arguments.get("indices") or []]
    named = named or [{"name": file["name"], "label": None} for file in arguments["uploads"]]
    areas = {f"{half}_{side}": 0.5 for half in ("deletion", "insertion") for side in ("first", "second")}
    maps = {"first": [[0, 1], [0.5, 0]], "second": [[0, -1], [0.5, 0]], "picture": PICTURE}
    row = {"target": 3, "answers": [3, 8], "rank_correlation": 0.4, "overlap": 0.2} | areas | maps
    about = {"classes": CANDIDATES["classes"], "layers": ["features.3", "features.3"], "device": "cpu"}
    return {"rows": [row | each for each in named], "curves": [CURVES, CURVES], "finding": "On these images.", **about}


class Desk:
    """Stands in for the worker, and remembers what it was asked."""

    def __init__(self):
        self.asked, self.refusal = [], None

    def __call__(self, worker, name, arguments, *, seconds, waiting):
        if name not in ("disagreements", "explain"):
            raise AssertionError(name)
        if self.refusal is not None:
            raise self.refusal
        self.asked.append((name, dict(arguments)))
        names = ("run", "reference") if name == "disagreements" else ("run", "reference", "method", "indices", "marks")
        found = copy.deepcopy(CANDIDATES) if name == "disagreements" else explained(arguments)
        return found | {"asked": {each: arguments.get(each) for each in names}}


@pytest.fixture
def desk(monkeypatch):
    desk = Desk()
    monkeypatch.setattr(
        Worker, "ask", lambda worker, name, arguments, **options: desk(worker, name, arguments, **options)
    )
    return desk


def box(at, label):
    return next(box for box in at.selectbox if box.label == label)


def press(at, label="Explain"):
    next(button for button in at.button if button.label == label).click().run()
    assert not at.exception, at.exception
    return at


def test_explain_compares_a_run_with_the_dense_one_on_the_worst_disagreements(store, desk):
    dense, small = write_run(store, label="large", routing=None), write_run(store, label="small")
    at = open_page("explain", number="2")
    assert box(at, "Compared with").value == dense and desk.asked == [] and not at.error
    assert "other parts of the image" in words(at) and "Press **Explain**" in words(at)
    press(at)
    (first, about), (second, question) = desk.asked
    assert (first, second, about["reference"], question["run"]) == ("disagreements", "explain", dense, small)
    assert (question["method"], question["indices"], question["keep"]) == ("gradcam", [41, 7], True)
    assert "On these images." in at.success[0].value and "92.5 %" in words(at) and "features.3" in words(at)
    maps, curves = figures(at)
    assert len(maps["layout"]["images"]) == 2 and "label 3 · dense: 3 · compressed: 8" in str(
        maps["layout"]["annotations"]
    )
    assert [trace["name"] for trace in curves["data"][::2]] == ["dense", "compressed"]
    at.run()
    assert len(desk.asked) == 2 and figures(at)  # the answer stays
    at.selectbox(key="method").set_value("Occlusion").run()
    assert not figures(at) and "Press **Explain**" in words(at)  # it was for another method
    press(at)
    assert [name for name, _ in desk.asked] == ["disagreements", "explain", "explain"]


def test_explain_shows_a_kept_answer_for_the_choices_in_the_address(store, desk):
    dense, small = write_run(store, routing=None), write_run(store)
    asked = {"run": small, "reference": dense, "method": "occlusion", "indices": [100, 7], "marks": None}
    keep_answer(open_run(small, root=store.root), "explanation", explained(asked) | {"asked": asked})
    keep_answer(
        open_run(small, root=store.root), "disagreements", CANDIDATES | {"asked": {"run": small, "reference": dense}}
    )
    chosen = {"run": small, "against": dense, "method": "Occlusion", "images": "Chosen", "chosen": "100,7,999"}
    at = open_page("explain", **chosen)
    assert at.multiselect[0].value == ["100", "7"] and desk.asked == []
    sheet, maps, _ = figures(at)
    assert len(sheet["layout"]["images"]) == 5 and len(maps["layout"]["images"]) == 2


@pytest.mark.parametrize(("trained_since", "is_shown"), [(0, True), (1, False)])
def test_explain_forgets_an_answer_when_the_run_was_trained_further(store, desk, trained_since, is_shown):
    dense, small = write_run(store, routing=None), write_run(store)
    about = {"asked": {"run": small, "reference": dense}, "step": open_run(small).info.step - trained_since}
    at = open_page("explain", run=small, against=dense)
    at.session_state["explain-disagreements"] = CANDIDATES | about
    assert ("92.5 % of 360 validation examples" in words(at.run())) == is_shown


def test_explain_asks_for_examples_before_they_can_be_chosen(store, desk):
    dense, other = (write_run(store, label="same", routing=None) for _ in range(2))
    small = write_run(store)
    at = open_page("explain", images="Chosen", run=small, against=dense)
    explain = next(button for button in at.button if button.label == "Explain")
    assert explain.disabled and not figures(at)
    press(at, "Show examples")
    at.run()
    assert len(at.multiselect[0].options) == 5
    at.multiselect[0].set_value(["7", "0"]).run()
    press(at)
    assert desk.asked[-1][1]["indices"] == [7, 0] and desk.asked[-1][1]["reference"] == dense != other
    assert at.query_params["chosen"] in ("7,0", ["7,0"])


def test_explain_shows_the_demo_without_runs_and_with_dense_runs_only(store, desk):
    at = open_page("explain")
    assert len(at.selectbox) >= 3 and not at.error and "dense" in box(at, "Compared with").options[0]
    write_run(store, routing=None)
    at = open_page("explain")
    assert "None of your runs has a compressed network" in words(at) and not at.error
    press(at)
    assert desk.asked[-1][1]["keep"] is False  # nothing is written into the demo


def test_explain_says_what_is_missing_to_compare_with(store, desk):
    write_run(store)
    at = open_page("explain")
    assert "There is nothing to compare this run with" in words(at) and not at.error


@pytest.mark.parametrize(
    "message",
    [
        "checkpoint step-60.safetensors is damaged: its SHA-256 differs",
        "attributing answers to inputs needs captum, which is not installed; install it with: pip install 'nes-lab[explain]'",
    ],
)
def test_explain_says_why_the_worker_could_not_answer(store, desk, message):
    write_run(store, routing=None), write_run(store)
    desk.refusal = Refusal(message, "CheckpointError")
    at = press(open_page("explain"))
    assert message in words(at) and len(at.error) == 1 and not figures(at)


def upload(monkeypatch, *files):
    monkeypatch.setattr("app.components.explain_images.st.file_uploader", lambda *args, **options: list(files))


def file(name, content, size=None):
    return SimpleNamespace(name=name, size=size or len(content), file_id="1", getvalue=lambda: content)


def test_explain_takes_uploaded_images(store, desk, monkeypatch):
    write_run(store, routing=None), write_run(store)
    upload(monkeypatch, file("<b>mine</b>.png", b"123"))
    at = press(open_page("explain", images="My images"))
    (name, question) = desk.asked[-1]
    assert name == "explain" and question["uploads"] == [{"name": "<b>mine</b>.png", "data": "MTIz"}]
    assert "<b>mine" not in str(figures(at)[0]["layout"]["annotations"])


def test_explain_refuses_uploads(store, desk, monkeypatch):
    write_run(store, routing=None), write_run(store)
    upload(monkeypatch, file("big.png", b"1", size=11 * 2**20))
    at = open_page("explain", images="My images")
    assert "big.png has more than" in words(at) and next(b for b in at.button if b.label == "Explain").disabled
    upload(monkeypatch, file("text.png", b"no image"))
    desk.refusal = Refusal("The file 'text.png' cannot be read as an image.", "DataError")
    at = press(open_page("explain", images="My images"))
    assert "The file 'text.png' cannot be read as an image." in words(at)


def test_of_the_demo_only_runs_with_a_network_are_offered(home):
    at = open_page("explain")
    offered = [option for box in at.selectbox if box.label in ("Run", "Compared with") for option in box.options]
    assert any("dense, width 0.5, seed 0" in each for each in offered) and not at.exception
    assert not [each for each in offered if "seed 1" in each or "0.7" in each or "width 1" in each]
