"""Show interactive widgets in notebooks.

- ``start_explorer``: move a slider along an epitome, and see the patch that begins there and its gradient.
"""

from nes_lab.packages import needed_for

with needed_for("showing widgets"):
    from nes_lab.widgets.start_explorer import StartExplorer, read_patch

__all__ = ["StartExplorer", "read_patch"]
