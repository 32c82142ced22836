"""Budgets, plans and reports as frozen dataclasses, saved as JSON and shown as tables. No file here imports torch.

``record``: the base class of plans and reports, which reads and writes JSON and makes tables, HTML and CSV.
``counts``: the quantities of a model that a budget can limit.
``budget``: limits on the params, multiply-adds and time of a network.
``reachable``: the params and multiply-adds that a network can have.
``options``: names, defaults and help texts of the options of compression planning.
``keywords``: the keyword arguments that several functions pass on, with their types.
``measured_accuracy``: accuracies that were measured at equal cost, for advice and figures.
``compression_plan``: the layers of a model that are replaced, their epitomes, and the cost of the compressed model.
``layer_plan``: how a plan replaces one layer, and why it keeps another one dense.
``example_input``: describes the input that a plan was made for: its structure, shapes and types, without data.
``plan_table``: the tables of a compression plan.
``training_cost``: estimate the time of a training from a few measured steps, and say it in words.
``plan_words``: say in words what a plan costs and why a layer is as it is.
``fold_rows``: fold the rows of a plan with many layers by stages of the network.
``overrides_text``: change the settings for single layers as text.
``cost_report``: the counted and the measured cost of a model.
``fit_report``: how closely each fitted epitome reproduces the weight that it replaces.
``training_report``: the metrics of every epoch of a training, and which weights were the best.
``result_notes``: say when the numbers of a finished training mean little.
``network_forms``: say what the dense, trained, fused and tuned forms of a network differ in.
``explanations``: say how far two networks look at the same parts of their inputs.
``spread``: say how much measured times scatter, and whether two of them can be told apart.
``tune_report``: the fastest execution plan (way to compute the layer) of each layer, and how it was measured.
``device_table``: times of convolutions, folds and expansions on one device, from which a layer's time is predicted.
``optimize_report``: the time of each form in which a network can run, and the form that was chosen.
``sensitivity_report``: how much the loss or the fitting error grows when a single layer's epitome shrinks.
``preprocessing``: how images become the inputs of a network.
``glossary``: explain the words of NES Lab in a sentence each.
``cell_table``: the patches, of all layers, that read one cell of a flat epitome.
``columns``: every column that a table can have, with its title, help text and format.
``table``: tables as data that can be converted to text, HTML, CSV or a pandas data frame.
``html_table``: writes a table as HTML for notebooks.
``renamed_fields``: reads configurations that use old names of fields.
``backbone_list``: params, multiply-adds, input and published accuracy of every backbone, for a list to choose from.
``field_names``: name the fields of a configuration, and their values, for people.
``dataset_facts``: size, channels and classes of each known data set.
"""
