"""Write one page per public name, from its docstring, and lists of the names by what they are for.

Tests: tests/docs/test_site.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

__all__ = ["GROUPS", "public_names", "write_reference"]

GROUPS = {
    "Compress a network": (
        "compress", "plan_for_budget", "preset", "Budget", "fit", "create_model", "create_backbone", "materialize",
        "measure_sensitivity", "reestimate_norms",
    ),
    "Count and measure": ("count", "measure_latency", "measure_peak_memory", "tune", "optimize",
        "calibrate_device", "fuse", "for_inference"),
    "Train, and look after runs": (
        "train", "fine_tune", "evaluate", "Run", "list_runs", "open_run", "import_run", "run_sweep",
        "best_setting", "compare_settings", "sweep_importances", "open_data", "check_data", "write_image_folder", "parameter_groups",
    ),
    "Save, load and export": ("save_pretrained", "from_pretrained", "push_to_hub", "export_onnx", "export_torch"),
    "Layers": (
        "EpitomeConv1d", "EpitomeConv2d", "EpitomeConv3d", "EpitomeConv2dSame", "EpitomeStdConv2d", "EpitomeLinear",
        "EpitomeLayer", "RoutingMap",
    ),
}  # fmt: skip
"""Heading of the reference -> names below it. Names that are in no group come under "Results" or "Errors"."""

ROOMS = {"attribution": "Attributions", "figures": "Figures", "widgets": "Widgets"}
"""Rooms whose public names have pages too, and the headings above them."""


def public_names() -> dict[str, list[str]]:
    """Return the headings of the reference with the public names below each, such as ``nes_lab.count``."""
    library = import_module("nes_lab")
    names = [name for name in library.__all__ if not name.startswith("_")]
    grouped = {name for group in GROUPS.values() for name in group}
    missing = sorted(grouped - set(names))
    if missing:
        raise ValueError(f"docs/site/reference.py groups names that are not public: {', '.join(missing)}")
    headings = {heading: [f"nes_lab.{name}" for name in group] for heading, group in GROUPS.items()}
    others = [name for name in names if name not in grouped]
    errors = [name for name in others if name.endswith("Error")]
    headings["Results"] = [f"nes_lab.{name}" for name in others if name not in errors]
    for room, heading in ROOMS.items():
        headings[heading] = [f"nes_lab.{room}.{name}" for name in import_module(f"nes_lab.{room}").__all__]
    headings["Errors"] = [f"nes_lab.{name}" for name in errors]
    return headings


def write_reference(folder: Path) -> None:
    """Write the pages of the reference into a folder: an index, and one page per public name."""
    folder.mkdir(parents=True, exist_ok=True)
    index = ["# Reference", "", "Every public name, by what it is for."]
    for heading, names in public_names().items():
        index += ["", f"## {heading}", "", "| name | what it does |", "|---|---|"]
        for name in names:
            folder.joinpath(f"{name}.md").write_text(_page(name), encoding="utf-8")
            index.append(f"| [`{name.removeprefix('nes_lab.')}`]({name}.md) | {_first_line(_thing(name))} |")
    listed = [name for names in public_names().values() for name in names]
    entries = [f"{name.removeprefix('nes_lab.')} <{name}>" for name in listed]
    index += ["", "```{toctree}", ":hidden:", "", *entries, "```", ""]
    folder.joinpath("index.md").write_text("\n".join(index), encoding="utf-8")


def _thing(name: str) -> object:
    module, _, last = name.rpartition(".")
    return getattr(import_module(module), last)


def _page(name: str) -> str:
    return "\n".join([f"# {name}", "", "```{eval-rst}", *_directive(name), "```", ""])


def _directive(name: str) -> Iterator[str]:
    thing = _thing(name)
    if inspect.isclass(thing):
        yield f".. autoclass:: {name}"
        if not issubclass(thing, BaseException):
            yield "   :members:"
    elif callable(thing):
        yield f".. autofunction:: {name}"
    else:
        yield f".. autodata:: {name}"


def _first_line(thing: object) -> str:
    text = (inspect.getdoc(thing) or "").split("\n", 1)[0]
    return (
        text.replace("``", "`").replace("|", "\\|")
        if inspect.isclass(thing) or callable(thing)
        else "A table of values."
    )
