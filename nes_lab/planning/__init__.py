"""Turn a budget into a compression plan, which says what layers are replaced and what shapes their epitomes have.

``planner``: choose epitome shapes for a budget (:func:`nes_lab.plan_for_budget`).
``from_config``: make the plan that a CompressionConfig describes.
``plan_again``: plan one model for many budgets and options, as a page with sliders does.
``region``: find which params and multiply-adds a network can have.
``compress``: compress a model by a plan, or for a budget in one call.
``presets``: make compression plans by name, without a budget.
``survey``: list the layers of a model, with the cost of each layer and the reason if it stays dense.
``dense_rules``: the rules that decide if a layer stays dense.
``other_weights``: list weight matrices outside Linear and Conv layers, which are counted and never replaced.
``patterns``: find the layers that a user means by a name pattern or a type.
``overrides``: check and merge settings for single layers.
``layer_plans``: plan one layer for a given epitome shape, and join layer plans into a compression plan.
``ladder``: the ladder, which lists all sizes a model can shrink to, from dense to smallest.
``build_ladder``: build the ladder from a model and the options.
``flat_plan``: choose the sizes of flat epitomes, which layers can share.
``advice``: what measured accuracies suggest for a plan; they are in ``measured_accuracy.jsonl``.
``sharing``: the registry of the ways in which layers share flat epitomes.
``strategies``: the registry of the ways to choose which layer shrinks next.
``speed``: choose each layer's wiring by times that were measured once on this device (the strategy ``speed``).
``latency``: measure the time of the network at some of these sizes, to find one that is fast enough.
``sensitivity``: measure how much quality the model loses when each single layer shrinks, and shrink the layers with the least
loss first.
"""
