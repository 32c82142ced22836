"""Show interactive widgets in notebooks.

- ``start_explorer``: move a slider along an epitome, and see the patch that begins there and its gradient.
"""

try:
    import ipywidgets  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("widgets need ipywidgets: pip install 'nes-lab[notebooks]'", name=error.name) from error

from nes_lab.widgets.start_explorer import StartExplorer, read_patch

__all__ = ["StartExplorer", "read_patch"]
