# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 04 · Compress a backbone to a budget
#
# How do you get a given network below a given number of multiply-adds? We take MobileNetV2, which needs about 301
# million multiply-adds (MAdds) for an image of 224 x 224 pixels, and ask for **225 million**. A **plan** says for
# each layer how large its epitome is. It is made from shapes alone, so this notebook needs no data and no trained
# weights. The counts are the same for a trained network. How accurate a compressed network is, is the subject of
# notebooks 05 and 06.
#
# Before each step we write down what we expect, and compare it with the result.

# %%
import tempfile
from pathlib import Path

import torch

import nes_lab
from nes_lab import figures, widgets

torch.manual_seed(0)
network = nes_lab.create_backbone("mobilenetv2_100").eval()
image = torch.zeros(1, 3, 224, 224)

dense = nes_lab.count(network, image)
print(f"{dense.params:,} params, {dense.madds:,} MAdds")

# %% [markdown]
# ## 1. Which layers shrink most?
#
# By default, layers shrink by one common ratio (`strategy="uniform"`). Some layers stay dense: the first convolution
# and the classifier, which this model declares, and all depthwise convolutions, which have no input channels to
# share. They hold 33 million of the MAdds, so the other layers must shrink to about $(225 - 33) / (301 - 33) =
# 72\,\%$.
#
# **Prediction.** No layer shrinks much more than another: all ratios lie between 0.68 and 0.76.

# %%
predicted_ratios = {"smallest": 0.68, "largest": 0.76}

# %%
plan = nes_lab.plan_for_budget(network, nes_lab.Budget(madds="225M"), image)
plan

# %%
ratios = sorted((round(layer.ratio, 3), name) for name, layer in plan.layers.items())
print("smallest:", ratios[0], " largest:", ratios[-1])
inside = predicted_ratios["smallest"] <= ratios[0][0] and ratios[-1][0] <= predicted_ratios["largest"]
print("as predicted" if inside else "NOT as predicted")
assert not inside and ratios[0][0] < 0.6 and ratios[-1][0] > 0.8

# %% [markdown]
# The prediction was wrong. Channels of an epitome are multiples of 8 (`round_to=8`), because computers are fast at
# such sizes. In a layer with 24 channels, one step of rounding is a third of the axis. The wide layers, with 1280 x
# 320 channels for example, are close to 0.7. If rounding is the reason, the prediction must hold with `round_to=1`:

# %%
exact = nes_lab.plan_for_budget(network, nes_lab.Budget(madds="225M"), image, round_to=1)
ratios = sorted(round(layer.ratio, 3) for layer in exact.layers.values())
print("smallest:", ratios[0], " largest:", ratios[-1])
print(*exact.notes)
assert predicted_ratios["smallest"] <= ratios[0] and ratios[-1] <= predicted_ratios["largest"]

# %% [markdown]
# It does, and the budget is now used up completely. The figure shows the plan with `round_to=8`, layer by layer.
# Hollow bars are the dense network.

# %%
figures.layer_bars(plan)

# %% [markdown]
# Most params are in the last, wide layers. The MAdds are spread over all stages: early layers are thin, but there the
# images are still large. The classifier alone holds a third of all params, and almost no MAdds.
#
# `explain()` says why each layer has its size or stays dense, and what each way to compute it (its **execution
# plan**) would cost. The star marks the cheapest one, which will run.

# %%
print("\n".join(plan.explain().splitlines()[:14]))

# %% [markdown]
# ## 2. Two limits together
#
# We limit params to 60 % and MAdds to 225 million.
#
# **Prediction.** The limit on params decides, because the classifier stays dense and the other layers must make up
# for it. They shrink far more than 225 million MAdds would need, so the MAdds fall below half of the dense network's.

# %%
predicted_binding, predicted_madds = "params", 150e6

# %%
both = nes_lab.plan_for_budget(network, nes_lab.Budget(params="60%", madds="225M"), image)
print(both)
assert f"under the {predicted_binding} budget" in both.notes[0]
assert both.predicted.madds < predicted_madds
print("as predicted")

# %% [markdown]
# With a running kernel you can move both budgets here: drag the point or a line, or use the sliders. Each point is a
# plan.

# %%
explorer = widgets.BudgetExplorer(network, image, params="60%", madds="225M")
explorer

# %% [markdown]
# ## 3. Can it reach 1 %?
#
# **Prediction.** No. The first convolution alone has 10.8 million MAdds, and 1 % is 3 million. The layers that stay
# dense have 33 million, so less than that is out of reach.

# %%
predicted_floor = 33e6

# %%
try:
    nes_lab.plan_for_budget(network, nes_lab.Budget(madds="1%"), image)
except nes_lab.BudgetError as error:
    print(error)
    least = error.least.madds
assert predicted_floor < least < 36e6
print("as predicted: least reachable", f"{least:,}")

# %% [markdown]
# The error names the least value and the layers that hold it. These layers are dense only by default: `include="*"`
# compresses all that can be.
#
# **Prediction.** That lowers the floor, but not to 1 %: depthwise convolutions keep most of their MAdds.

# %%
try:
    nes_lab.plan_for_budget(network, nes_lab.Budget(madds="1%"), image, include="*")
except nes_lab.BudgetError as error:
    print(error)
    lower = error.least.madds
assert 3e6 < lower < least
print("as predicted: least reachable", f"{lower:,}")

# %% [markdown]
# ## 4. Single layers
#
# `exclude` keeps layers dense. `overrides` sets single layers. Both take patterns of names. The budget stays the
# same, so the other layers pay.
#
# **Prediction.** If the last two stages and the head stay dense, the smallest ratio falls below the 0.56 of section
# 1, and the network keeps more params, since most of them are in these layers.

# %%
kept = nes_lab.plan_for_budget(
    network, nes_lab.Budget(madds="225M"), image, exclude=["blocks.5*", "blocks.6*", "conv_head"]
)
print(kept)
assert min(layer.ratio for layer in kept.layers.values()) < 0.55
assert kept.predicted.params > plan.predicted.params
print("as predicted: smallest ratio", round(min(layer.ratio for layer in kept.layers.values()), 3))

# %% [markdown]
# The classifier is dense by default, but has a third of the params. An override compresses it: half the channels of
# each axis, thus a quarter of the cells.
#
# **Prediction.** With the same limit of 60 % params as in section 2, the convolutions now keep most of their size.
# Thus the MAdds, 41 % in section 2, rise above 75 % (225 million).

# %%
with_classifier = nes_lab.plan_for_budget(
    network, nes_lab.Budget(params="60%"), image, overrides={"classifier": {"ratio": 0.25}}
)
print(with_classifier)
print(with_classifier.layers["classifier"])
assert with_classifier.predicted.madds > 225e6
print("as predicted")

# %% [markdown]
# Which of these networks is more accurate, the plan does not know. That needs training. But it shows what a choice
# costs before any time is spent.
#
# ## 5. Another strategy
#
# `strategy="sensitivity"` does not shrink all layers alike. It first measures how well smaller epitomes can be fitted
# to each weight, and takes most from the layers that lose least for what they save.
#
# **Prediction.** Our weights are random, and random weights have no structure that an epitome could use: every layer
# loses about the same for the same ratio. So this plan looks like the uniform one: all 34 layers are replaced.

# %%
predicted_layers = 34

# %%
by_sensitivity = nes_lab.plan_for_budget(network, nes_lab.Budget(madds="225M"), image, strategy="sensitivity")
print(by_sensitivity)
print("as predicted" if len(by_sensitivity.layers) == predicted_layers else "NOT as predicted")
ratios = sorted((round(layer.ratio, 3), name) for name, layer in by_sensitivity.layers.items())
print("smallest:", ratios[:3])
assert len(by_sensitivity.layers) < predicted_layers

# %% [markdown]
# Wrong again: about half of the layers stay dense, and three shrink most. What counts is the loss *per saved
# multiply-add*. If the losses are alike, the layers that save most MAdds give most. This explanation can be checked:
# the three must be the layers with most MAdds.

# %%
costs = sorted(((layer.dense.madds, name) for name, layer in plan.layers.items()), reverse=True)
print(costs[:3])
assert {name for _, name in ratios[:3]} == {name for _, name in costs[:3]}

# %% [markdown]
# They are. With trained weights the losses differ, too. `docs/fit.md` compares both strategies on a trained
# ResNet-56. On that network, for a limit on params, the sizes by sensitivity were not better than one ratio for all.
#
# ## 6. Are the predicted counts true?
#
# `compress` copies the network and replaces the layers of the plan.
#
# **Prediction.** `count`, which runs the network and looks at each operation, gives exactly the numbers of the plan:
# params, MAdds and stored bytes. The file of the network has these bytes and a header of less than 1 % (116 kB).

# %%
small = nes_lab.compress(network, plan).eval()
counted = nes_lab.count(small, image)
assert counted.params == plan.predicted.params
assert counted.madds == plan.predicted.madds
assert counted.stored_bytes == plan.predicted.stored_bytes
print(f"as predicted: {counted.params:,} params, {counted.madds:,} MAdds, {counted.stored_bytes:,} bytes")

# %%
folder = Path(tempfile.mkdtemp()) / "small"
nes_lab.save_pretrained(small, folder)
size = (folder / "model.safetensors").stat().st_size
print(f"predicted {plan.predicted.stored_bytes:,} bytes, on disk {size:,}")
assert plan.predicted.stored_bytes < size < plan.predicted.stored_bytes + 116_000

# %% [markdown]
# The file holds only epitomes, never the sampled weights. Loading it gives the same network, with the same outputs
# bit for bit:

# %%
again = nes_lab.from_pretrained(folder).eval()
with torch.no_grad():
    picture = torch.randn(1, 3, 224, 224)
    assert torch.equal(small(picture), again(picture))
assert again.nes_lab_plan == plan
print("the same outputs, and the same plan")

# %% [markdown]
# ## What it means
#
# * A plan is exact: what it predicts is what the compressed network has. You can decide on numbers before you train.
# * A budget has a floor. Layers that stay dense hold it, and the error names them.
# * One ratio for all layers is only true up to rounding, and for thin layers rounding is coarse.
# * Params and MAdds are different limits: in this network one third of the params are in a layer with almost no
#   MAdds.
# * Fewer MAdds do not always mean less time. Measure it on your device: `nes_lab.measure_latency`, `docs/speed.md`.
#
# Next: notebook 05 fits epitomes to trained weights.
