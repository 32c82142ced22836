"""Let the processes of a run find the user's own functions that its configuration names as ``package.module:function``.

A run records the folder in which each module was found when the run was created. A process that trains or resumes the run
later puts this folder on Python's path. A run that came from another machine has no such record. Its functions are then not
imported, because importing them runs code that the sender of the run chose.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from nes_lab.errors import RunError
from nes_lab.import_spec import folder_importable, origin_of, own_names
from nes_lab.runs.info import read_config, read_run

__all__ = ["imports_of_run", "import_folders"]

IMPORTS = "imports"
"""Key in ``run.json``: the folder of each module, by the field of the configuration that names the function."""


def import_folders(config: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the entry of ``run.json`` that allows a run to import the functions that its configuration names.

    Nothing is imported here.

    Args:
        config: The configuration of the run.

    Returns:
        A dict with the key ``imports``. Its value is a dict with one entry for each field that names a function of the
        user's own: the dotted path of the field, and the folder that must be on Python's path to import the function. The
        result is empty if there is no such field.

    Examples:
        >>> import_folders({"backbone": {"name": "resnet18"}})
        {}
    """
    names = own_names(config)
    return {IMPORTS: {field: origin_of(spec) for field, spec in names.items()}} if names else {}


@contextmanager
def imports_of_run(folder: Path) -> Iterator[None]:
    """Make the functions that a run's configuration names importable inside the ``with`` block.

    Args:
        folder: Folder of the run.

    Raises:
        RunError: If the run came from another machine and may not import its functions, if a module is nowhere to be found,
            or if this process has already loaded another module of the same name.
    """
    names = own_names(read_config(folder))
    recorded = read_run(folder).get(IMPORTS)
    if names and not isinstance(recorded, dict):
        raise RunError(
            f"run {folder.name} came from another machine and names your own code ({', '.join(names.values())}), which "
            "is not imported. If you trust the run, delete it and import it again with: nes-lab runs import FILE --allow-import"
        )
    with ExitStack() as stack:
        for field, spec in names.items():
            place = recorded.get(field) if isinstance(recorded, dict) else ""
            stack.enter_context(_importable(folder.name, spec, place if isinstance(place, str) else ""))
        yield


@contextmanager
def _importable(run_id: str, spec: str, place: str) -> Iterator[None]:
    module, top = spec.partition(":")[0], spec.partition(":")[0].partition(".")[0]
    exists = bool(place) and os.path.isdir(place)
    with folder_importable(place if exists else ""):
        found = origin_of(spec)
        if not found:
            where = f"it was in {place}" if place else "it is not on Python's path"
            raise RunError(
                f"run {run_id} needs the module {module!r}, which is not found: {where}. Go to the folder that now holds it, "
                "or add that folder to PYTHONPATH, and resume the run"
            )
        if exists and top in sys.modules and not os.path.samefile(found, place):
            raise RunError(
                f"run {run_id} needs the module {module!r} in {place}, but this process has loaded the one in {found}; "
                f"continue the run in a process of its own: nes-lab resume {run_id}"
            )
        yield
