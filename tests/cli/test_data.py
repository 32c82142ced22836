"""``nes-lab data check`` as a user meets it: what it prints, and its exit status."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from nes_lab.cli.entry import main
from tests.datasets.samples import make_shards, make_sounds, make_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "tree")


def test_data_check_says_that_a_good_set_is_usable(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(tree)]) == 0
    said = capsys.readouterr().out
    assert f"image_folder in {tree}: 2 classes (cat, dog)" in said
    assert said.endswith("usable\n")
    assert "no validation example is also in the training split" in said


def test_data_check_names_the_problems_of_a_bad_set(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "val" / "cat" / "0.png").write_bytes(b"no pixels")
    assert main(["data", "check", str(tree)]) == 2
    said = capsys.readouterr().out
    assert "problem: val: 1 of 4 images checked cannot be read" in said and "cat/0.png" in said
    assert said.endswith("not usable: 1 problem(s)\n")


def test_data_check_shows_the_first_twenty_problems(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mistake that every archive of a set has filled the screen a thousand times."""
    shards = make_shards(tree, tree / "shards")
    text = next((shards / "train").glob("*.tar")).read_bytes()[:700]
    for number in range(30):
        (shards / "train" / f"cut{number}.tar").write_bytes(text)
    assert main(["data", "check", str(shards)]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("problem: ") for line in lines) == 20
    assert "and 10 more problems; --json lists all" in lines


def test_data_check_prints_one_json_value(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(tree), "--json", "--all"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["usable"] is True
    assert [split["total"] for split in report["splits"]] == [8, 4]


@pytest.mark.parametrize("kind", ["images", "sounds"])
def test_data_check_writes_a_page_that_needs_no_network(tmp_path: Path, tree: Path, kind: str) -> None:
    root = tree if kind == "images" else make_sounds(tmp_path / "sounds", names=("<b>dog", "rain"))
    page = tmp_path / "page.html"
    assert main(["data", "check", str(root), "--val-fold", "3", "--html", str(page)]) == 0
    text = page.read_text()
    assert "It can be used as it is." in text and "Examples by class" in text
    assert "<b>dog" not in text.split("<script>")[0]
    assert 'src="http' not in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "data needs a command. Write: nes-lab data check PATH|NAME"),
        (["chek", "x"], "'chek' is not a command of data. Did you mean 'check'?"),
        (["check", "nowhere"], "'nowhere' is neither a folder nor a data set"),
        (["check", "digits", "--skip-broken", "0.5"], "skip_broken=0.5 should be a share from 0 to 0.01"),
        (["check", "digits", "--html", "no/such/folder/a.html"], "--html no/such/folder/a.html cannot be written"),
    ],
)
def test_data_check_names_mistakes_and_exits_with_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", *words]) == 2
    assert said in capsys.readouterr().err


def test_data_check_help_explains_its_flags(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], ["check", "--help"]):
        assert main(["data", *words]) == 0
        assert "PATH|NAME" in capsys.readouterr().out


def test_data_check_prints_no_control_characters_of_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_tree(tmp_path / "tree", names=("c\x1b[31mat", "dog"))
    (root / "val" / "c\x1b[31mat" / "0.png").write_bytes(b"")
    assert main(["data", "check", str(root)]) == 2
    assert "\x1b" not in capsys.readouterr().out


def test_data_check_accepts_file_names_that_are_not_utf8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_tree(tmp_path / "tree", names=(os.fsdecode(b"caf\xe9"), "dog"))
    page = tmp_path / "page.html"
    assert main(["data", "check", str(root), "--html", str(page)]) == 0
    assert "caf" in page.read_text()
    assert main(["data", "check", str(root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["usable"]


def test_data_check_says_how_a_backbone_takes_its_images(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(tree), "--backbone", "vit_tiny_patch16_224"]) == 0
    said = capsys.readouterr().out
    assert "prepared with bilinear, crop 0.875, mean 0.485" in said and "but with bicubic, crop 0.9, mean 0.5" in said
    assert "data.preprocess: backbone" in said
    for wrong in (["digits", "--backbone", "m5"], [str(tree), "--backbone", "no_such_net"]):
        assert main(["data", "check", *wrong]) == 2
        assert "only for networks of timm" in capsys.readouterr().err


def test_data_check_takes_an_order_of_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_tree(tmp_path / "tree", names=("1", "10", "2"))
    assert main(["data", "check", str(root)]) == 0
    assert "timm's ImageFolder gives 2 of 3 another label" in capsys.readouterr().out
    assert main(["data", "check", str(root), "--class-order", "natural"]) == 0
    said = capsys.readouterr().out
    assert "3 classes (1, 2, 10)" in said and "timm" not in said
    assert main(["data", "check", str(root), "--class-order", "natural.txt"]) == 2
    assert "problem: data.class_order='natural.txt' is not a file" in capsys.readouterr().out
