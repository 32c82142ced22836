"""Settings of JupyterLab for the notebooks, in whose folder ``make lab`` starts it: saving an unchanged notebook changes no file."""

import re


def leave_out_versions(model, **_):
    """Leave out what JupyterLab and jupytext note about the Python and the jupytext of this machine."""
    content = model.get("content")
    if model["type"] == "notebook" and isinstance(content, dict):
        content["metadata"].pop("language_info", None)
    elif model["type"] == "file" and isinstance(content, str):
        model["content"] = re.sub(r"^# +jupytext_version: .*\n", "", content, count=1, flags=re.MULTILINE)


c.FileContentsManager.pre_save_hook = leave_out_versions  # noqa: F821  # Jupyter gives this file the name c
