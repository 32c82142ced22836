"""NES Lab compresses neural networks by Neural Epitome Search, to exact budgets of params and multiply-adds.

Public names are listed only in ``__init__.pyi`` and load when they are first used, so ``import nes_lab`` does not import torch.

Source: Zhou et al., *Neural Epitome Search for Architecture-Agnostic Network Compression*, ICLR 2020, arXiv:1907.05642.
"""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

from nes_lab.after_import import call_after
from nes_lab.packages import needed_for

__version__ = "0.2.0"

_LIST = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
_HOMES = {name.name: line.module for line in _LIST.body if isinstance(line, ast.ImportFrom) for name in line.names}
_ROOMS = {
    name for name, home in _HOMES.items() if home == __name__
}  # such as nes_lab.figures, which need more packages

__all__ = ["__version__", *(name for name in _HOMES if name not in _ROOMS)]  # pyright: ignore[reportUnsupportedDunderAll]

call_after("transformers.quantizers.auto", "nes_lab.export.hugging_face:register")


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'nes_lab' has no attribute {name!r}")
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    with needed_for(f"nes_lab.{name}"):
        value = globals()[name] = getattr(import_module(str(_HOMES[name])), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
