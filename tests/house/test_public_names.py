"""Every public name explains itself: its example runs when it is pasted alone, and it names its arguments, errors and source."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest

import nes_lab

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
ROOMS = {
    "": nes_lab,
    "attribution.": nes_lab.attribution,
    "figures.": nes_lab.figures,
    "widgets.": nes_lab.widgets,
}


def _documented() -> Iterator[tuple[str, Any]]:
    for room, module in ROOMS.items():
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                yield room + name, value


PUBLIC = {name: value for name, value in _documented() if not (inspect.isclass(value) and issubclass(value, Exception))}

NO_SOURCE = {  # why a name has no line Source, and the names
    "it holds results or settings": {
        *("Budget", "CompressionPlan", "CostReport", "DataReport", "ExportReport", "FitReport", "LatencyReport"),
        *(
            "LayerPlan",
            "DeviceTable",
            "Metric",
            "OptimizeReport",
            "Recipe",
            "SensitivityReport",
            "SettingComparison",
            "SweepResult",
            "TrainingReport",
            "TuneReport",
            "ZooRow",
        ),
    },
    "it measures or checks, by no published method": {
        *(
            "best_setting",
            "calibrate_device",
            "check_backbone",
            "check_data",
            "compare_settings",
            "evaluate",
            "measure_latency",
            "measure_peak_memory",
            "measure_sensitivity",
            "optimize",
            "sweep_importances",
            "tune",
        ),
    },
    "it trains what the configuration names, or finds runs": {
        *(
            "Run",
            "fine_tune",
            "import_run",
            "list_runs",
            "open_data",
            "open_run",
            "parameter_groups",
            "run_sweep",
            "train",
        ),
    },
    "it reads or writes files": {
        "export_onnx",
        "export_torch",
        "from_pretrained",
        "push_to_hub",
        "save_pretrained",
        "write_image_folder",
    },
    "it builds a dense network or changes one in a usual way": {
        "create_backbone",
        "for_inference",
        "fuse",
        "materialize",
        "reestimate_norms",
    },
}


def text_of(value: Any) -> str:
    return inspect.getdoc(value) or ""


def section(value: Any, title: str) -> str:
    """The lines of a section of a docstring, such as ``Args``; empty if there is none."""
    found = re.search(rf"^{title}:\n((?:    .*\n|\n)*)", text_of(value) + "\n", re.MULTILINE)
    return found[1] if found else ""


def failures(name: str, text: str) -> str:
    """What goes wrong if the examples of a docstring run without any name from outside."""
    report: list[str] = []
    example = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    doctest.DocTestRunner(optionflags=FLAGS).run(example, out=report.append)
    return "".join(report)


def unnamed(value: Any) -> list[str]:
    """Parameters that no line of Args (or Attributes) names."""
    lines = section(value, "Args") + section(value, "Attributes")
    heads = " ".join(re.findall(r"^    (\*{0,2}\w+(?:, \*{0,2}\w+)*):", lines, re.MULTILINE))
    wrapped = " ".join(re.findall(r"^    ((?:\*{0,2}\w+, ?)+\n? *\w*):?", lines, re.MULTILINE))
    known = set(re.findall(r"\w+", heads + " " + wrapped))
    return [name for name in inspect.signature(value).parameters if name not in known]


def raises(value: Any) -> bool:
    """Whether the function, or the class when it is made, has a ``raise`` or calls a ``check_...`` itself."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(value)))).body[0]
    making = ("__init__", "__post_init__")
    functions = [n for n in tree.body if getattr(n, "name", "") in making] if inspect.isclass(value) else [tree]  # type: ignore[attr-defined]
    nodes = [node for function in functions for node in ast.walk(function)]
    called = [n.func for n in nodes if isinstance(n, ast.Call)]
    return any(isinstance(n, ast.Raise) for n in nodes) or any(
        isinstance(f, ast.Name) and f.id.startswith("check_") and f.id not in ROOMS[""].__all__ for f in called
    )


@pytest.mark.parametrize("name", PUBLIC)
def test_public_examples_run_when_pasted_alone(name, tmp_path, monkeypatch):
    import torch

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path / "home"))
    torch.manual_seed(0)
    text = text_of(PUBLIC[name])
    assert ">>>" in text, f"{name} has no example"
    assert not (found := failures(name, text)), found


def test_public_examples_that_need_a_name_from_outside_would_be_noticed():
    assert "NameError" in failures("wrong", ">>> count(1)\n2\n")


def test_public_names_explain_each_argument():
    wrong = {name: missing for name, value in PUBLIC.items() if (missing := unnamed(value))}
    assert not wrong, wrong


def test_public_names_say_what_they_raise():
    wrong = [name for name, value in PUBLIC.items() if raises(value) and not section(value, "Raises")]
    assert not wrong, wrong
    assert raises(nes_lab.Budget) and raises(nes_lab.figures.layer_bars) and not raises(nes_lab.LatencyReport)


def test_public_names_have_a_source_or_a_reason():
    without = {name for name, value in PUBLIC.items() if "Source:" not in text_of(value) and "." not in name}
    assert without == set().union(*NO_SOURCE.values()) & PUBLIC.keys()


def test_errors_say_when_they_are_raised():
    errors = [value for _, value in _documented() if inspect.isclass(value) and issubclass(value, Exception)]
    assert len(errors) > 5 and all(text_of(error) for error in errors)
