"""Every example in a docstring runs, and every public name has one."""

import doctest
import importlib
import inspect

import pytest

import nes_lab
from tests.house.tree import ROOT

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def module_names() -> list[str]:
    """Every module of the library, found without importing any."""
    paths = [path for path in (ROOT / "nes_lab").rglob("*.py") if path.name != "__main__.py"]
    return sorted(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths)


def examples(name: str) -> list[doctest.DocTest]:
    import torch
    from torch import nn

    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    return finder.find(module, name, globs={"torch": torch, "nn": nn, **vars(module)})


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


@pytest.mark.parametrize("name", [name for name in nes_lab.__all__ if not name.startswith("__")])
def test_every_public_name_has_an_example(name):
    public = getattr(nes_lab, name)
    if inspect.isclass(public) and issubclass(public, Exception):
        assert public.__doc__, f"{name} has no docstring"
    else:
        documented = inspect.getdoc(public) or ""
        assert ">>>" in documented, f"{name} has no runnable example in its docstring"
