"""The page Data in all its states, and the check of the data beside the form on Compress."""

from __future__ import annotations

import pytest

from nes_lab.datasets.uploads.stored import list_uploads
from nes_lab.worker.client import Refusal, Worker, WorkerError
from nes_lab.worker.data import check_for_page, samples_for_form
from tests.app.test_views import PLAN, figures, open_page, plain, words
from tests.datasets.samples import break_file, make_tree
from tests.datasets.uploads.zips import make_zip, two_classes

ANSWERS = {"data": check_for_page, "samples": samples_for_form, "plan": lambda given: PLAN}


@pytest.fixture
def asked(home, monkeypatch):
    """Answer the questions of the pages in this process; return what was asked."""
    questions = []

    def answer(self, name, arguments, **options):
        questions.append((self.kind, name, dict(arguments)))
        try:
            return ANSWERS[name](arguments)
        except Exception as error:
            raise Refusal(str(error), type(error).__name__) from error

    monkeypatch.setattr(Worker, "ask", answer)
    monkeypatch.setattr("app.data_answers._ANSWERS", {})
    return questions


def link_to_compress(at):
    return next(item.proto for item in at.get("page_link") if item.proto.label == "Use it on Compress").query_string


def test_digits_are_there_from_the_start(asked):
    at = open_page("data")
    assert "1,797 images · 10 classes, 174 to 183 each" in plain(at.subheader[-1].value)
    assert "Ready" in at.success[0].value and not at.error
    sheet, statistics = figures(at)
    assert len(sheet["layout"]["images"]) == 80 and statistics["layout"]["title"]["text"] == "Images of 10 classes"
    assert "data.name=digits" in link_to_compress(at)
    at.run()
    assert [name for _, name, _ in asked] == ["data"]  # the answer is kept
    next(button for button in at.button if button.label == "Check again").click().run()
    assert [name for _, name, _ in asked] == ["data", "data"] and asked[0][0] == "jobs"


def test_an_answer_that_another_page_forgets_at_once_is_still_shown(asked, monkeypatch):
    monkeypatch.setattr("app.data_answers.MOST_KEPT", 0)
    assert "1,797 images" in plain(open_page("data").subheader[-1].value)


def test_a_folder_is_checked_again_when_it_changes(asked, tmp_path):
    tree = make_tree(tmp_path / "pets")
    at = open_page("data", set="a folder by its path")
    assert "Type the path of a folder" in words(at) and asked == []
    at.text_input(key="folder").set_value(str(tree)).run()
    assert "12 images · 2 classes, 6 each" in plain(at.subheader[-1].value) and not at.error
    link = link_to_compress(at)
    assert not {"data.name=image_folder", "classes=2", "data.image_size=24"} - set(link.split("&")), link
    make_tree(tree, names=("<b>bird</b>",))
    at.run()
    assert "18 images · 3 classes" in plain(at.subheader[-1].value) and not at.error


def test_a_damaged_folder_is_explained(asked, home):
    tree = make_tree(home / "pets", names=("cat", "<b>dog</b>"))
    break_file(tree / "train" / "cat" / "0.png")
    (tree / "val" / "bird").mkdir()
    at = open_page("data", set="pets (any images, one folder per class)")
    text = words(at)
    assert "A training would fail: 3 problems" in text and "1 unreadable" in plain(at.subheader[-1].value)
    assert "0.png" in text and "only in val: bird" in text


@pytest.mark.parametrize("folder", ["/no/such/folder", "a\0b", "../<b>"])
def test_a_folder_that_is_not_there_is_explained(asked, folder):
    at = open_page("data", set="a folder by its path", folder=folder)
    assert "neither a folder nor a data set" in words(at) and not at.get("page_link")


def test_a_set_that_is_gone_gives_way(asked):
    assert "1,797 images" in plain(open_page("data", set="upload gone.zip (123456)").subheader[-1].value)


def test_a_worker_that_failed_is_explained(asked, monkeypatch):
    def fail(*given, **options):
        raise WorkerError("It died.", "the <i>log</i>")

    monkeypatch.setattr(Worker, "ask", fail)
    at = open_page("data")
    assert "It died." in words(at) and any("the <i>log</i>" in str(code.value) for code in at.code)


def test_a_stopped_check_waits_for_a_click(asked):
    at = open_page("data")
    at.session_state["data-stopped"] = {"source": "digits", "root": None}
    next(button for button in at.button if button.label == "Check again").click().run()
    assert "The check was stopped" in words(at) and len(asked) == 1
    next(button for button in at.button if button.label == "Check it").click().run()
    assert len(asked) == 2 and figures(at)


def upload(at, content, name="my <pets>.zip"):
    at.get("file_uploader")[0].set_value((name, content, "application/zip")).run()
    next(button for button in at.button if button.label == "Unpack it").click().run()
    assert not at.exception
    return at


def test_an_upload_is_unpacked_shown_used_and_deleted(asked):
    at = upload(open_page("data"), make_zip(two_classes(10) | {"cat/gone.png": b""}).getvalue())
    (made,) = list_uploads()
    assert at.selectbox(key="set").value == f"upload my <pets>.zip ({made.id[-6:]})"
    said = plain("\n".join(item.value for item in at.success))
    assert "20 images unpacked" in said and "Ready" in said
    assert "1 unreadable, skipped: cat/gone.png" in plain(at.warning[0].value)
    assert made.id in link_to_compress(at) and "20 images · 2 classes" in plain(at.subheader[-1].value)
    at.button(key=f"delete-{made.id}").click().run()
    assert list_uploads() == [] and "was deleted" in at.success[0].value and not at.exception
    assert "1,797 images" in plain(at.subheader[-1].value)


def test_a_refused_upload_leaves_nothing(asked, home):
    at = upload(open_page("data"), make_zip(two_classes() | {"../evil.png": b""}).getvalue())
    assert "my <pets>.zip: The path '../evil.png' in the zip file leads out of its folder" in words(at)
    assert list_uploads() == [] and not list(home.rglob("*.png"))


def test_an_upload_that_a_run_uses_is_kept(asked, store):
    at = upload(open_page("data"), make_zip(two_classes()).getvalue())
    store.create({"data": {"name": "image_folder", "root": str(list_uploads()[0].folder)}})
    at.run()
    assert "A run trains on it" in words(at) and not any(button.label == "Delete for good" for button in at.button)


def launch(at):
    return next(button for button in at.button if button.label == "Launch")


def test_compress_checks_the_data_before_launch(asked, tmp_path):
    at = open_page("compress")
    assert "1,797 images · 10 classes · ready" in words(at) and not launch(at).disabled
    assert at.get("image") and "Samples of 0, 1" in words(at)
    at.selectbox(key="data.name").set_value("image_folder").run()
    assert launch(at).disabled and "The folder of the images is missing" in plain(at.warning[0].value)
    tree = make_tree(tmp_path / "pets")
    at.text_input(key="data.root").set_value(str(tree)).run()
    assert launch(at).disabled and "The data has 2 classes, and the form says 1,000" in at.warning[0].value
    next(button for button in at.button if button.label == "Set classes to 2").click().run()
    assert not launch(at).disabled and "12 images · 2 classes, 6 each · ready" in words(at)
    assert next(given for _, name, given in asked[::-1] if name == "samples")["root"] == str(tree)
    at.text_input(key="data.root").set_value(str(tmp_path)).run()
    assert launch(at).disabled and "has no folder train; it holds pets" in plain(at.warning[0].value)


def test_compress_needs_a_download_to_be_there_or_allowed(asked):
    at = open_page("compress", **{"data.name": "cifar10"})
    assert launch(at).disabled and "cifar10 is not on this computer" in words(at) + plain(at.warning[0].value)
    at.toggle(key="data.download").set_value(True).run()
    assert not launch(at).disabled and "downloaded when the run starts" in words(at)
