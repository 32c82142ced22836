"""Import packages that only some tasks need, and say how to install one that is missing.

:data:`PACKAGES` is the only list of these packages. An import of one of them stands in a ``with needed_for(...)`` block, or
behind a call of :func:`need`.

Tests: tests/house/test_packages.py
"""

from __future__ import annotations

from importlib import import_module
from types import TracebackType
from typing import Any

from nes_lab.errors import MissingPackageError

__all__ = ["PACKAGES", "need", "needed_for"]

PACKAGES = {
    "timm": ("timm", "train"),
    "torchvision": ("torchvision", "train"),
    "PIL": ("pillow", "train"),
    "sklearn": ("scikit-learn", "train"),
    "scipy": ("scipy", "train"),
    "yaml": ("pyyaml", "train"),
    "psutil": ("psutil", "train"),
    "plotly": ("plotly", "train"),
    "accelerate": ("accelerate", "train"),
    "streamlit": ("streamlit", "app"),
    "ipywidgets": ("ipywidgets", "notebooks"),
    "anywidget": ("anywidget", "notebooks"),
    "captum": ("captum", "explain"),
    "onnx": ("onnx", "export"),
    "onnxscript": ("onnxscript", "export"),
    "onnxruntime": ("onnxruntime", "export"),
    "huggingface_hub": ("huggingface-hub", "export"),
    "optuna": ("optuna", "sweep"),
    "sqlalchemy": ("sqlalchemy", "sweep"),
    "ray": ("ray", "cluster"),
    "pydantic": ("pydantic", ""),
    "pydantic_core": ("pydantic", ""),
    "tyro": ("tyro", ""),
    "rich": ("rich", ""),
    "humanize": ("humanize", ""),
    "tabulate": ("tabulate", ""),
    "packaging": ("packaging", ""),
}
"""Module of each package -> its name on the package index, and the extra of NES Lab that brings it.

The extra is empty for packages that every installation of NES Lab has.
"""


def need(module: str, purpose: str) -> Any:
    """Import a module of a package in :data:`PACKAGES`, and return it.

    Args:
        module: Name of the module, such as ``"plotly"``.
        purpose: What the package is needed for, as the beginning of a sentence, such as ``"drawing figures"``.

    Raises:
        MissingPackageError: If the package is not installed; the message says how to install it.

    Examples:
        >>> need("packaging.version", "comparing versions").Version("2.10") > need("packaging.version", "x").Version("2.9")
        True
    """
    with needed_for(purpose):
        return import_module(module)


class needed_for:
    """Context manager around imports: if a package in :data:`PACKAGES` is missing, its error says how to install the package.

    Args:
        purpose: What the package is needed for, as the beginning of a sentence.

    Raises:
        MissingPackageError: At the end of the ``with`` block, if an import in it failed because a package is not installed.

    Examples:
        >>> with needed_for("telling pi"):
        ...     from math import pi
    """

    def __init__(self, purpose: str) -> None:
        self.purpose = purpose

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not isinstance(error, ModuleNotFoundError) or isinstance(error, MissingPackageError):
            return
        module = (error.name or "").partition(".")[0]
        if module not in PACKAGES:
            return
        package, extra = PACKAGES[module]
        wanted = f"nes-lab[{extra}]" if extra else package
        message = f"{self.purpose} needs {package}, which is not installed; install it with: pip install '{wanted}'"
        raise MissingPackageError(message, name=module) from error
