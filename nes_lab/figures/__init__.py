"""Draw figures and write reports: each function takes plain data and returns a plotly figure or an HTML page.

No code here trains a network, measures one or loads one.

To add a figure, write ``figures/NAME.py`` with one function ``NAME`` that returns a figure made by ``theme.new_figure``.

Figures of a layer's epitome. A patch is a block of the layer's weight that is read from the epitome. The start of a
patch is the position on the epitome where the patch begins:
``epitome_atlas``: draw all cells of an epitome.
``patches_on_epitome``: draw where on the epitome each patch is read.
``routing_map``: draw the start of each patch.
``coverage``: draw how often each cell of an epitome is read.
``start_trajectories``: draw how starts move over training.
``windows``: compute where each patch is read, for the figures above.

Figures of an epitome with one axis, for explanations:
``patch_by_hand``: draw patches read from an epitome of one axis.
``start_curves``: draw how a patch depends on its start, and how gradient descent moves a start.

Figures of plans, fits and runs:
``layer_bars``: draw params and MAdds of every layer.
``sensitivity``: draw how much the loss grows when each layer is shrunk.
``fit_residuals``: draw how close fitted epitomes are to the weights.
``live_run``: draw the training curves of a run.
``accuracy_vs_madds``: draw accuracy against multiply-adds of many runs.
``reported``: list published ImageNet results, which ``accuracy_vs_madds`` can draw.
``progress``: describe the progress of a run in one line.

Figures of data sets:
``contact_sheet``: draw examples of every class.
``data_statistics``: draw the sizes of classes and examples.

Pages:
``report``: write sections of text, tables and figures as one HTML document.
``run_report``, ``demo_report``, ``data_page``: write the page about a run, the demo or a data set.

Shared by the figures:
``theme``: define the colors, fonts and templates of all figures.
``grids``: shrink large arrays before they are drawn.
"""
