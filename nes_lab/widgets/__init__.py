"""Show interactive widgets in notebooks.

- ``figure_view``: show a figure that changes, as wide as the page and in its theme.
- ``start_explorer``: move a slider along an epitome, and see the patch that begins there and its gradient.
- ``epitome_explorer``: point at a layer's weight, and see where in the epitome it is read.
- ``watch``: follow a run that trains in the background.
"""

from nes_lab.packages import needed_for

with needed_for("showing widgets"):
    from nes_lab.widgets.epitome_explorer import EpitomeExplorer
    from nes_lab.widgets.start_explorer import StartExplorer, read_patch
    from nes_lab.widgets.watch import RunWatch, watch

__all__ = ["EpitomeExplorer", "RunWatch", "StartExplorer", "read_patch", "watch"]
