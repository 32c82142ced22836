"""Say which parts of an input a network's answer depends on, and how far two networks agree in that.

The methods are those of captum. They work for dense, compressed and fitted networks, in every execution plan.

- ``attribute``: the one call: method, network and inputs to arrays.
- ``methods``: the methods by name.
- ``gradcam``: which positions the features of one layer point at; also for transformers.
- ``agreement``: compare the attributions of two networks.
- ``curves``: delete or insert the most important positions first, and watch the score.
- ``layer_importance``: how much of a network's answer flows through each layer.
"""

from nes_lab.packages import needed_for

with needed_for("attributing answers to inputs"):
    from nes_lab.attribution.agreement import Agreement, compare_attributions
    from nes_lab.attribution.attribute import Attribution, attribute
    from nes_lab.attribution.curves import ScoreCurves, score_curves
    from nes_lab.attribution.layer_importance import layer_importance

__all__ = [
    "Agreement",
    "Attribution",
    "ScoreCurves",
    "attribute",
    "compare_attributions",
    "layer_importance",
    "score_curves",
]
