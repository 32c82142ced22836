"""Keep budgets, plans and reports as frozen dataclasses that can be written as JSON and shown as tables, without torch.

``record``: the base class of plans and reports, which reads and writes JSON and makes tables, HTML and CSV.
``counts``: the quantities of a model that a budget can limit.
``budget``: limits on params, multiply-adds and time, with the parser that Python, YAML, command line and app share.
``options``: names, defaults and help texts of the options of planning.
``compression_plan``: the layers of a model that are replaced, their epitomes, and the cost of the compressed model.
``plan_table``: the tables of a compression plan.
``cost_report``: the counted and the measured cost of a model.
``fit_report``: how closely each fitted epitome reproduces the weight that it replaces.
``tune_report``: the fastest execution plan of each layer, and the conditions of the measurement.
``sensitivity_report``: what shrinking each single layer costs in loss or residual.
``columns``: every column of every table, with its title, help and style.
``table``: tables as data that can be written as text, HTML, CSV, a pandas data frame or the app's grid.
``renamed_fields``: the old names of fields, and reading configurations that use them.
``dataset_facts``: size, channels and classes of the data sets that are known by name.
"""
