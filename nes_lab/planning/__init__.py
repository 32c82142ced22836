"""From a budget to a compression plan: which layers are replaced, and by epitomes of which shape.

``planner``: choose epitome shapes for a budget (:func:`nes_lab.plan_for_budget`).
``from_config``: make the plan that a CompressionConfig describes.
``presets``: make compression plans by name, without a budget.
``survey``: list the layers of a model, what they cost, which stay dense and why.
``dense_rules``: the rules that keep a layer dense.
``other_weights``: weight matrices outside Linear and Conv layers, which are counted and never replaced.
``patterns``: find the layers that a user means by a name pattern or a type.
``overrides``: check and merge settings for single layers.
``layer_plans``: plan one layer for a given epitome shape, and join layer plans into a compression plan.
``ladder``: every size a model can shrink to, in one fixed order.
``build_ladder``: survey a model and build its ladder.
``strategies``: the order in which the steps of a ladder are taken.
``latency``: measure rungs of the ladder until one is fast enough.
``sensitivity``: measure what shrinking each layer costs, and order steps by it.
"""
