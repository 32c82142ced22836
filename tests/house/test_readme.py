"""The README's example runs and is as short as it says; docs/architecture.md shows the tree there is."""

import re
import tomllib

import pytest

from tests.house.tree import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLE = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
TREE = re.search(r"## The tree\n\n```\n(.*?)```", ARCHITECTURE, re.DOTALL)[1]


def test_the_library_example_runs(capsys):
    exec(compile(EXAMPLE, "<the README's example>", "exec"), {"__name__": "readme"})
    assert "params" in capsys.readouterr().out


def test_the_library_example_is_ten_lines():
    assert len([line for line in EXAMPLE.splitlines() if line.strip()]) == 10


@pytest.mark.parametrize("folder", ["nes_lab", "app", "tests", "data"])
def test_the_tree_has_a_line_for_each_folder(folder):
    assert re.search(rf"^{folder}/ +\S", TREE, re.MULTILINE)


def test_the_tree_names_every_room_of_the_library():
    shown = set(re.findall(r"^  ([a-z_]+)/ ", TREE, re.MULTILINE))
    there = {path.parent.name for path in (ROOT / "nes_lab").glob("*/*.py")}
    assert shown == there, f"not shown: {there - shown}; not there: {shown - there}"


def test_it_says_plainly_what_was_not_done():
    assert "ImageNet accuracy was not reproduced here" in README


def test_every_make_target_it_names_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for document in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        for target in set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{document}: make {target}"


def test_every_extra_it_names_exists():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = re.search(r"rest are extras: (.*?)\.", README, re.DOTALL)[1]
    assert set(re.findall(r"`(\w+)`", named)) == set(project["optional-dependencies"])


def test_readme_is_short():
    assert len(README.splitlines()) <= 80, "long texts go to docs/, with a link in the table"


CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`((?:nes_lab|app|tests|docs|benchmarks)/[\w/.]+)`", ARCHITECTURE + CONTRIBUTING))
NAMED |= {
    f"nes_lab/{name}" for name in re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", CONTRIBUTING) if not name.startswith("tests/")
}


@pytest.mark.parametrize("file", sorted(NAMED))
def test_files_that_architecture_and_contributing_name_exist(file):
    assert (ROOT / file).exists()
