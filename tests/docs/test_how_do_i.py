"""Each recipe of docs/how_do_i.md runs alone, as a reader would paste it."""

import re

import pytest

from tests.house.tree import ROOT

PAGE = (ROOT / "docs" / "how_do_i.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^### \.\.\. (.+?)\n+```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


def test_there_are_at_least_twenty_recipes_and_each_has_code():
    assert len(RECIPES) == len(re.findall(r"^### ", PAGE, re.MULTILINE)) >= 20


@pytest.mark.slow
@pytest.mark.parametrize("question", RECIPES)
def test_recipe_runs_when_pasted_alone(question, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path / "home"))
    exec(compile(RECIPES[question], question, "exec"), {"__name__": "recipe"})  # our own page, not a user's text
