"""Where the shared real data and weights are, and their reader; tests that need them skip aloud without."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

from tests.house.tree import ROOT

FOLDER = Path(os.environ.get("NES_LAB_SHARED") or ROOT.parent / "shared") / "data"


def reader() -> ModuleType:
    """``load.py`` beside the data; skips the test where there is none."""
    path = FOLDER / "load.py"
    if not path.exists():
        pytest.skip(f"no shared data at {FOLDER}; set NES_LAB_SHARED to the folder that holds data/load.py")
    spec = importlib.util.spec_from_file_location("shared_load", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
