"""The notebooks, and private Jupyter folders, so that a person's own settings and kernels play no part."""

from __future__ import annotations

import os
import sys

from tests.house.tree import ROOT

FOLDER = ROOT / "notebooks"
SOURCES = sorted(FOLDER.glob("[0-9]*.py"))


def private(home):
    """Environment in which Jupyter reads and writes below ``home`` only; kernels come from this interpreter's own prefix."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "IPYTHON", "PLOTLY"))}
    names = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    own = {f"JUPYTER_{name}": str(home / name.lower()) for name in names}
    return (
        kept
        | own
        | {
            "IPYTHONDIR": str(home / "ipython"),
            "JUPYTER_PREFER_ENV_PATH": "1",
            "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
            "PATH": os.pathsep.join([os.path.dirname(sys.executable), kept.get("PATH", "")]),
        }
    )
