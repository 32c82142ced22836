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
# # 03 · The same result at a tenth of the cost
#
# An epitome layer can be computed in several ways, its **execution plans**. All give the same output (notebook 01). They
# differ in multiply-adds and in time.
#
# **The same as what?** The same as the dense layer that has *this* epitome's weight. It is not the result of a network that
# was compressed: the weight of that network was freer, with a number of its own in every place. What compression costs in
# accuracy is a question of its own (notebooks 04 and 05).
#
# **Questions.** How few multiply-adds are possible for the same result? Does the time fall as the multiply-adds do?
#
# Multiply-adds are counted, so they are the same everywhere. **Times are measured on your machine**, while you run this
# notebook: yours differ from those on the web site. It takes less than a minute.

# %%
import torch
from torch import nn

import nes_lab
from nes_lab import figures

torch.manual_seed(0)
torch.set_num_threads(1)  # with one thread, times of small layers are steadier

# %% [markdown]
# ## 1. One layer, three ways
#
# A 3x3 convolution from 128 to 128 channels, on 16 x 16 positions. Its epitome has 40 x 40 channels: about a tenth of the
# weight.
#
# **Prediction.** All plans give the same output.
#
# * `materialize` builds the weight and runs the dense convolution: $9 \cdot 128 \cdot 128 \cdot 256$ multiply-adds.
# * `wrapped` folds (adds up) the 128 input channels into 40: $9 \cdot 40 \cdot 128 \cdot 256$, or 31 %.
# * `factored` computes only 40 output channels too: $9 \cdot 40 \cdot 40 \cdot 256$, or 10 %.
#
# Starts are integers here (`tiled`), so folding and expanding are copies and additions, without multiply-adds.

# %%
PLANS = ("materialize", "wrapped", "factored")
predicted = {"materialize": 37_748_736, "wrapped": 11_796_480, "factored": 3_686_400}

# %%
x = torch.randn(1, 128, 16, 16)
dense = nn.Conv2d(128, 128, 3, padding=1)
layer = nes_lab.EpitomeConv2d(128, 128, 3, padding=1, epitome_shape=(40, 40, 3, 3)).eval()
with torch.no_grad():
    same = torch.nn.functional.conv2d(x, layer.weight, layer.bias, padding=1)
    for plan in PLANS:
        layer.execution = plan
        torch.testing.assert_close(layer(x), same, rtol=1e-4, atol=1e-4)
print("as predicted: the same output under", ", ".join(PLANS))

# %%
for plan in PLANS:
    layer.execution = plan
    counted = nes_lab.count(layer, x).madds
    print(f"{plan:12} counted {counted:>12,}, predicted {predicted[plan]:>12,}")
    assert counted == predicted[plan]
print("as predicted")

# %% [markdown]
# `count` shows what the layer's plan computes, never what it might. `execution="auto"`, the default, takes the plan with the
# fewest multiply-adds:

# %%
layer.execution = "auto"
nes_lab.count(layer, x)

# %% [markdown]
# ## 2. Does the time follow?
#
# A tenth of the products, in three operations instead of one. Each operation has a cost of its own: it must start, and it
# must read and write its channels. We compare three layers, each with an epitome of about a tenth of its weight:
#
# * **wide 3x3**: the layer above. As a dense layer, it computes $9 \cdot 128 = 1152$ products for each number of its output.
# * **wide 1x1**: 256 to 256 channels, so 256 products for each number of the output: two ninths as many.
# * **thin 1x1**: 8 to 8 channels, so 8 products for each number of the output.
#
# **Prediction.** The multiply-adds of `factored` fall in all three, also in the thin layer, because its starts are integers.
# The time falls in the wide ones, but not to a tenth. In
# the thin layer the time does not fall: starting three operations takes longer than the products that they save.

# %%
falls = {"wide 3x3": True, "wide 1x1": True, "thin 1x1": False}

# %%
sizes = {
    "wide 3x3": (128, 40, 3, 16),
    "wide 1x1": (256, 80, 1, 16),
    "thin 1x1": (8, 3, 1, 16),
}
costs, times = {}, {}
for name, (channels, cells, kernel, side) in sizes.items():
    shape = {"kernel_size": kernel, "padding": kernel // 2}
    images = torch.randn(1, channels, side, side)
    forms = {"dense": nn.Conv2d(channels, channels, **shape)}
    for plan in PLANS:
        epitome = (cells, cells, kernel, kernel)
        forms[plan] = nes_lab.EpitomeConv2d(channels, channels, epitome_shape=epitome, execution=plan, **shape)
    ready = {form: nes_lab.for_inference(module) for form, module in forms.items()}
    costs[name] = {form: nes_lab.count(module, images) for form, module in ready.items()}
    times[name] = nes_lab.measure_latency(ready, images, pairs=40)

# %%
for name in sizes:
    fewer = costs[name]["factored"].madds < costs[name]["dense"].madds
    faster = times[name]["factored"].median_ms < times[name]["dense"].median_ms
    assert fewer, "counted: the same on every machine"
    verdict = "as predicted" if faster == falls[name] else "not as predicted"
    dense_ms, factored_ms = times[name]["dense"].median_ms, times[name]["factored"].median_ms
    print(f"{name}: dense {dense_ms:.3f} ms, factored {factored_ms:.3f} ms, {verdict}")

# %% [markdown]
# A machine that is busy with something else gives other times: run the cells again.
#
# In the picture, each line is a layer. On the gray diagonal, the time would fall exactly as the multiply-adds do. Above the
# dotted line, the layer is slower than the dense one.

# %%
figures.time_against_madds(costs, times)

# %% [markdown]
# ## 3. What interpolation costs
#
# Learned starts lie between cells. Folding and expanding then mix two cells for each channel of the layer: at each
# position, two multiply-adds for each input channel and two for each output channel.
#
# **Prediction**, for `factored`, at each position:
#
# | layer | epitome | fold | convolve | expand | in total | dense |
# |---|---|---|---|---|---|---|
# | 3x3, 128 channels | 40 x 40 | $2 \cdot 128$ | $9 \cdot 40 \cdot 40$ | $2 \cdot 128$ | 14,912 | 147,456 |
# | 1x1, 8 channels | 3 x 3 | $2 \cdot 8$ | $3 \cdot 3$ | $2 \cdot 8$ | 41 | 64 |
# | 1x1, 4 channels | 2 x 2 | $2 \cdot 4$ | $2 \cdot 2$ | $2 \cdot 4$ | 20 | 16 |
#
# The wide layer hardly notices. In the very thin layer with 4 channels the multiply-adds rise: at each position, dense 16;
# here fold 8 + convolve 4 + expand 8 = 20. Mixing costs more than the smaller convolution saves.

# %%
between = {
    "128 channels": nes_lab.EpitomeConv2d(
        128, 128, 3, padding=1, epitome_shape=(40, 40, 3, 3), patch_channels=8, routing="free", execution="factored"
    ),
    "8 channels": nes_lab.EpitomeConv2d(
        8, 8, 1, epitome_shape=(3, 3, 1, 1), patch_channels=2, routing="free", execution="factored"
    ),
    "4 channels": nes_lab.EpitomeConv2d(
        4, 4, 1, epitome_shape=(2, 2, 1, 1), patch_channels=1, routing="free", execution="factored"
    ),
}
per_position = {"128 channels": (14_912, 147_456), "8 channels": (41, 64), "4 channels": (20, 16)}
for name, module in between.items():
    found = nes_lab.count(module, torch.zeros(1, module.weight.shape[1], 1, 1))
    print(f"{name}: {found.madds:,} multiply-adds at each position, dense {found.dense.madds:,}")
    assert (found.madds, found.dense.madds) == per_position[name]
print("as predicted")

# %% [markdown]
# `layer.snap()` rounds the starts to integers after training. Then the multiply-adds of fold and expand are gone, and only
# those of the convolution are left. But rounding changes the weight a little, so the result is not the same any more;
# `snap` reports by how much the weight has changed.
#
# ## 4. A network
#
# A network is a mix of wide and thin layers. This one has three convolutions. The compressed form has a quarter of the
# multiply-adds. `nes_lab.compress` does not keep the old weights: it fits each epitome, so that the weight read from it is
# as close to the old one as possible. Less freedom means another weight, so the outputs are not those of the dense network.
#
# **Prediction.** Its outputs equal those of its materialized form, which is an ordinary network with the dense cost. It takes
# less time than the dense network, but more than a quarter of it.

# %%
network = nn.Sequential(
    *(nn.Conv2d(3, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU()),
    *(nn.Conv2d(64, 128, 3, stride=2, padding=1), nn.BatchNorm2d(128), nn.ReLU()),
    *(nn.Conv2d(128, 256, 3, stride=2, padding=1), nn.BatchNorm2d(256), nn.ReLU()),
    *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10)),
).eval()
images = torch.randn(1, 3, 32, 32)
plan = nes_lab.plan_for_budget(network, nes_lab.Budget(madds="25%"), images)
small = nes_lab.compress(network, plan)
plain = nes_lab.materialize(small)
with torch.no_grad():
    torch.testing.assert_close(small(images), plain(images), rtol=1e-3, atol=1e-4)
print("as predicted: the same output as its materialized form")
assert nes_lab.count(plain, images).madds == nes_lab.count(network, images).madds
nes_lab.count(small, images)

# %% [markdown]
# Three calls make a network ready to be used. None changes its result:
#
# * `nes_lab.fuse(network)` folds batch norms into the layers before them, also into epitomes.
# * `nes_lab.tune(network, images)` measures every plan of every layer on this machine, and sets the fastest. This network was
#   planned for a budget of multiply-adds, so no layer gets more of them; with `keep_madds=False`, time alone decides.
# * `nes_lab.for_inference(network)` returns a copy that builds its weights once, and does not look at its parameters again.

# %%
fused = nes_lab.fuse(small)
tuned = nes_lab.fuse(small)
report = nes_lab.tune(tuned, images)
report

# %%
forms = {"dense": nes_lab.fuse(network), "factored": fused, "tuned": tuned, "materialized": nes_lab.fuse(plain)}
ready = {form: nes_lab.for_inference(module) for form, module in forms.items()}
with torch.no_grad():
    for form in ("factored", "tuned", "materialized"):
        torch.testing.assert_close(ready[form](images), small(images), rtol=1e-3, atol=1e-4)
network_costs = {form: nes_lab.count(module, images) for form, module in ready.items()}
network_times = nes_lab.measure_latency(ready, images, pairs=40)
for form in ready:
    print(f"{form:12} {network_costs[form].madds:>12,} madds  {network_times[form].median_ms:.3f} ms")
faster = network_times["factored"].median_ms < network_times["dense"].median_ms
print("as predicted" if faster else "not as predicted", "(the compressed network takes less time than the dense one)")

# %%
figures.time_against_madds({"network": network_costs}, {"network": network_times})

# %% [markdown]
# ## What it means
#
# * **The result is the same under every plan**: that of the dense layer with this epitome's weight. A plan is a way to
#   compute, not an approximation. The approximation is in the weight, which has fewer free numbers than a dense one.
# * **Multiply-adds fall as the channels do**, with `factored`: from $128 \cdot 128$ pairs of channels to $40 \cdot 40$ is to
#   10 %. Fractional starts add interpolation, which in very thin layers is more than the smaller convolution saves. With
#   `materialize` multiply-adds do not fall at all.
# * **Time falls where the products are the work**: wide layers, 3x3 kernels, large batches. In thin layers, starting the
#   operations and moving the channels is the work, and an epitome layer is slower than a dense one.
# * So look at both numbers. `nes_lab.count` and `nes_lab.measure_latency` give them, and `tune` decides by time. The page
#   "Measured speed" has the times of complete networks, where epitomes were slower as well.
#
# Next: **04** compresses a backbone to a budget.
