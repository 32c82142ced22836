"""Draw figures and write reports: each function takes plans, reports, layers, runs or plain data, and returns a plotly figure.

All public names can be used without further imports, as ``nes_lab.figures.layer_bars(plan)``. No code here trains a network,
measures one or loads one.

To add a figure, write ``figures/NAME.py`` with one function ``NAME`` that returns a figure made by ``theme.new_figure``, and list
the function at the end of this file.

Examples:
    >>> import torch, nes_lab
    >>> layer = nes_lab.EpitomeConv2d(16, 32, 3, epitome_shape=(16, 8, 3, 3))
    >>> nes_lab.figures.coverage(layer).layout.title.text
    'Coverage of EpitomeConv2d'

Figures of a layer's epitome. A patch is a block of the layer's weight that is read from the epitome. The start of a
patch is the position on the epitome where the patch begins:
``epitome_atlas``: draw all cells of an epitome.
``patches_on_epitome``: draw where on the epitome each patch is read.
``patch_chooser``: draw one patch in the weight and on the epitome; a slider chooses it.
``routing_map``: draw the start of each patch.
``coverage``: draw how often each cell of an epitome is read.
``start_trajectories``: draw how starts move over training.
``windows``: compute where each patch is read, for the figures above.

Figures of an epitome with one axis, for explanations:
``patch_by_hand``: draw patches read from an epitome of one axis.
``small_example``: give the browser an epitome of 6 numbers and the weight of 12 that is read from it.
``computing_steps``: draw the steps of computing a layer, with their multiply-adds.
``start_curves``: draw how a patch depends on its start, and how gradient descent moves a start.

Figures of plans, fits and runs:
``budget_plane``: draw which params and MAdds a network can have, with a plan and its budgets.
``paper_budgets``: list published budgets of networks, which ``budget_plane`` can draw.
``plan_bars``: draw the MAdds or the params of the layers of a plan, for the app.
``layer_bars``: draw params and MAdds of every layer.
``sensitivity``: draw how much the loss grows when each layer is shrunk.
``fit_residuals``: draw how close fitted epitomes are to the weights.
``live_run``: draw the training curves of a run.
``compare_runs``: draw the curves of several runs over each other.
``run_panels``: draw a run's loss, accuracy, moves of the starts, and speed as four figures, for the app.
``start_moves``: sum up how far the starts of a run have moved.
``accuracy_vs_madds``: draw accuracy against multiply-adds of many runs.
``time_against_madds``: draw the time of layers against their multiply-adds.
``predictions``: draw examples with their labels and predictions.
``confusion``: draw which classes are taken for which.
``attributions``: draw which parts of their inputs two networks look at.
``deletion_curves``: draw how fast answers fall when the parts that matter most are deleted first.
``trade_off_marks``: draw limits, bands, the dense reference and names of methods for ``trade_off``.
``trade_off``: draw any cost against any result of many runs, with a front for each method.
``flat_epitome``: draw a flat epitome, and which layers read its cells.
``setting_seeds``: draw the result of every seed of some settings.
``measured_study``: draw what the accuracy study measured, in a panel of its own.
``published``: draw published results in a panel of their own.
``reported``: list published ImageNet results, which ``published`` and ``accuracy_vs_madds`` can draw.
``inputs``: turn a plan, a report, a layer or a run into the data that a figure draws.
``progress``: describe the progress of a run in one line.

Figures of data sets:
``contact_sheet``: draw examples of every class.
``data_statistics``: draw the sizes of classes and examples.

Pages:
``report``: write sections of text, tables and figures as one HTML document.
``run_report``, ``demo_report``, ``data_page``: write the page about a run, the demo or a data set.

Drawn by JavaScript in the browser:
``explorer_data``: prepare the linked explorer of one layer, whose code is in ``static/``.
``slider_data``: prepare a slider for a budget, on which the part that cannot be reached is hatched.

Shared by the figures:
``theme``: define the colors, fonts and templates of all figures.
``still_picture``, ``still_sheet``: draw a plotly figure as a PNG picture without a browser.
``grids``: shrink large arrays before they are drawn.
"""

from nes_lab.packages import needed_for

with needed_for("drawing figures"):
    from nes_lab.figures.accuracy_vs_madds import MeasuredPoint, ReportedPoint, accuracy_vs_madds
    from nes_lab.figures.attributions import attributions
    from nes_lab.figures.compare_runs import compare_runs
    from nes_lab.figures.computing_steps import ComputingStep, computing_steps
    from nes_lab.figures.contact_sheet import contact_sheet
    from nes_lab.figures.coverage import coverage
    from nes_lab.figures.data_statistics import data_statistics
    from nes_lab.figures.deletion_curves import deletion_curves
    from nes_lab.figures.epitome_atlas import epitome_atlas
    from nes_lab.figures.fit_residuals import fit_residuals
    from nes_lab.figures.flat_epitome import shared_epitome
    from nes_lab.figures.layer_bars import layer_bars
    from nes_lab.figures.live_run import live_run
    from nes_lab.figures.measured_study import measured_study, studied_networks
    from nes_lab.figures.patch_by_hand import PatchReading, patch_and_gradient, patch_by_hand
    from nes_lab.figures.patch_chooser import patch_chooser
    from nes_lab.figures.patches_on_epitome import patches_on_epitome
    from nes_lab.figures.published import published
    from nes_lab.figures.report import Section, report_html
    from nes_lab.figures.reported import IMAGENET
    from nes_lab.figures.routing_map import routing_map
    from nes_lab.figures.sensitivity import sensitivity
    from nes_lab.figures.setting_seeds import setting_seeds
    from nes_lab.figures.start_curves import gradient_over_starts, start_descent
    from nes_lab.figures.start_moves import StartMoves, start_moves
    from nes_lab.figures.start_trajectories import start_trajectories
    from nes_lab.figures.theme import apply_theme
    from nes_lab.figures.time_against_madds import time_against_madds
    from nes_lab.figures.trade_off import trade_off

__all__ = [
    "IMAGENET",
    "ComputingStep",
    "MeasuredPoint",
    "PatchReading",
    "ReportedPoint",
    "Section",
    "StartMoves",
    "accuracy_vs_madds",
    "apply_theme",
    "attributions",
    "compare_runs",
    "computing_steps",
    "contact_sheet",
    "coverage",
    "data_statistics",
    "deletion_curves",
    "epitome_atlas",
    "fit_residuals",
    "gradient_over_starts",
    "layer_bars",
    "live_run",
    "measured_study",
    "patch_and_gradient",
    "patch_by_hand",
    "patch_chooser",
    "patches_on_epitome",
    "published",
    "report_html",
    "routing_map",
    "sensitivity",
    "setting_seeds",
    "shared_epitome",
    "start_descent",
    "start_moves",
    "start_trajectories",
    "studied_networks",
    "time_against_madds",
    "trade_off",
]
