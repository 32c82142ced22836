"""Budgets, plans and reports as frozen data, in JSON and in tables. Nothing here loads torch.

``record``: the base class of plans and reports; JSON in and out, tables, HTML and CSV.
``counts``: the quantities of a model that a budget can limit.
``budget``: limits on these quantities and on time, and the one parser for Python, YAML, command line and app.
``options``: names and help of the options of planning.
``compression_plan``: what is replaced in a model, by what, and what that will cost.
``plan_table``: the tables of a compression plan.
``cost_report``: counted and measured cost of a model.
``fit_report``: how near the fitted epitomes come to the weights they stand for.
``tune_report``: which execution plan is fastest for each layer, and under which conditions.
``sensitivity_report``: what shrinking single layers costs.
``columns``: every column of every table, defined once.
``table``: tables as data, which text, HTML, CSV, pandas and the app's grid read.
``renamed_fields``: reads configurations whose fields have the names of older versions.
``dataset_facts``: size, channels and classes of the data sets that are known by name.
"""
