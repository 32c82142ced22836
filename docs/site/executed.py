"""Run the notebooks, and keep their outputs in ``build/notebooks``. A notebook runs again only if it or the library has changed.

Tests: tests/notebooks/test_notebooks.py.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

__all__ = ["NOTEBOOKS", "ROOT", "execute", "executed"]

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
SECONDS = 300
"""Time that one cell may take."""


def executed(path: Path, keep: Path = ROOT / "build" / "notebooks") -> nbformat.NotebookNode:
    """Return a notebook with its outputs. It is executed if the kept outputs are not those of this notebook and this library.

    Args:
        path: The notebook without outputs.
        keep: Folder for executed notebooks.

    Raises:
        CellExecutionError: If a cell fails.
    """
    keep.mkdir(parents=True, exist_ok=True)
    target = keep / f"{path.stem}-{_fingerprint(path)}.ipynb"
    with _locked(keep / f"{path.stem}.lock"):
        if not target.is_file():
            notebook = execute(nbformat.read(path, as_version=4))
            for old in keep.glob(f"{path.stem}-*.ipynb"):
                old.unlink()
            new = target.with_suffix(".new")
            nbformat.write(notebook, new)
            new.replace(target)
        return nbformat.read(target, as_version=4)


def execute(notebook: nbformat.NotebookNode, variables: Mapping[str, str] | None = None) -> nbformat.NotebookNode:
    """Run a notebook from top to bottom in a new folder, with settings of its own, and return it with its outputs.

    Args:
        notebook: The notebook. It is changed.
        variables: Environment variables for its kernel, in addition to those that are kept. None: no more.

    Raises:
        CellExecutionError: If a cell fails.
    """
    with TemporaryDirectory() as home, _environment({**_private(Path(home)), **(variables or {})}):
        resources = {"metadata": {"path": home}}
        NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=resources).execute()
    return notebook


def _private(home: Path) -> dict[str, str]:
    """Return environment variables with which Jupyter and NES Lab read and write below ``home`` only."""
    jupyter = {f"JUPYTER_{name}": str(home / name.lower()) for name in ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")}
    paths = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH", "")) if part)
    return jupyter | {
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "NES_LAB_HOME": str(home / "nes-lab"),
        "PYTHONPATH": paths,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for some time. Variables of Jupyter, IPython, plotly and notebooks are dropped meanwhile."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("JUPYTER", "IPYTHON", "PLOTLY", "IMAGENET")):
            del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _fingerprint(path: Path) -> str:
    """Return a text that changes when the notebook or a file of the library changes."""
    digest = hashlib.sha256(path.read_bytes())
    for file in sorted((ROOT / "nes_lab").rglob("*")):
        if file.suffix in (".py", ".pyi", ".js", ".json", ".yaml"):
            digest.update(file.relative_to(ROOT).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
