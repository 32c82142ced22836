"""Every example in a docstring runs. Those of public names run in ``test_public_names.py``, without any name from outside."""

import doctest
import importlib

import pytest

from tests.house.test_public_names import PUBLIC
from tests.house.tree import ROOT

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


ALONE = {f"{value.__module__}.{value.__qualname__}" for value in PUBLIC.values()}


def module_names() -> list[str]:
    """Every module of the library, found without importing any."""
    paths = [path for path in (ROOT / "nes_lab").rglob("*.py") if path.name != "__main__.py"]
    return sorted(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths)


def examples(name: str) -> list[doctest.DocTest]:
    import torch
    from torch import nn

    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = finder.find(module, name, globs={"torch": torch, "nn": nn, **vars(module)})
    return [example for example in found if example.name not in ALONE]


@pytest.mark.parametrize("name", module_names())
def test_examples_run(name, tmp_path, monkeypatch):
    import torch

    if name.startswith("nes_lab.epitome.triton_"):
        pytest.importorskip("triton", reason="triton comes with torch on Linux with CUDA only")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path / "home"))
    report: list[str] = []
    for example in examples(name):
        torch.manual_seed(0)
        doctest.DocTestRunner(optionflags=FLAGS).run(example, out=report.append)
    assert not report, "".join(report)


def test_a_wrong_example_would_be_noticed():
    report: list[str] = []
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, None)
    doctest.DocTestRunner(optionflags=FLAGS).run(wrong, out=report.append)
    assert report
