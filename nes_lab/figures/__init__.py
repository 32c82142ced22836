"""Draw figures and write reports: each function takes records and returns a plotly figure or an HTML page.

Nothing here trains, measures or reads models.

To add a figure, write ``figures/NAME.py`` with one function ``NAME`` that returns a figure made by ``theme.new_figure``.

Figures of a layer's epitome:
``epitome_atlas``: draw all cells of an epitome.
``patches_on_epitome``: draw the windows that patches read.
``routing_map``: draw the starting index of each patch.
``coverage``: draw how often each cell of an epitome is read.
``start_trajectories``: draw how starts move over training.
``windows``: compute where patches read, for the figures above.

Figures of one axis, for explanations:
``patch_by_hand``: draw patches read from an epitome of one axis.
``start_curves``: draw a patch over all starts, and a start that gradient descent moves.

Figures of plans, fits and runs:
``layer_bars``: draw params and MAdds of every layer.
``sensitivity``: draw what shrinking each layer costs.
``fit_residuals``: draw how close fitted epitomes are to the weights.
``live_run``: draw the training curves of a run.
``accuracy_vs_madds``: draw accuracy against multiply-adds of many runs.
``reported``: list published ImageNet results for ``accuracy_vs_madds``.
``progress``: describe the progress of a run in one line.

Figures of data sets:
``contact_sheet``: draw examples of every class.
``data_statistics``: draw the sizes of classes and examples.

Pages:
``report``: write sections of text, tables and figures as one HTML document.
``run_report``, ``demo_report``, ``data_page``: write the page about a run, the demo or a data set.

Shared by the figures:
``theme``: define colors, fonts and templates.
``grids``: make arrays small enough to draw.
"""
