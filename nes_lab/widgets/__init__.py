"""Show interactive widgets in notebooks.

- ``figure_view``: show a figure that changes, as wide as the page and in its theme.
- ``start_explorer``: move a slider along an epitome, and see the patch that begins there and its gradient.
- ``epitome_explorer``: point at a layer's weight, and see where in the epitome it is read.
- ``budget_explorer``: move budgets, and see the plan that meets them.
- ``sampler_playground``: drag the window of a patch over a small epitome.
- ``watch``: follow a run that trains in the background.
"""

from nes_lab.packages import needed_for

with needed_for("showing widgets"):
    from nes_lab.widgets.budget_explorer import BudgetExplorer
    from nes_lab.widgets.epitome_explorer import EpitomeExplorer
    from nes_lab.widgets.sampler_playground import SamplerPlayground
    from nes_lab.widgets.start_explorer import StartExplorer, read_patch
    from nes_lab.widgets.watch import RunWatch, watch

__all__ = ["BudgetExplorer", "EpitomeExplorer", "RunWatch", "SamplerPlayground", "StartExplorer", "read_patch", "watch"]
