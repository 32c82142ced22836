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
# # 01 · An epitome by hand
#
# A layer needs a weight $W$ of the shape its architecture dictates. Neural Epitome Search stores a smaller tensor
# instead, the **epitome** $E$, and *samples* $W$ from it, which here means that it reads (nothing is random): $W$ is cut
# into **patches**, and each patch is read from $E$ at a real-valued **starting index**, its **start**. The part of the
# epitome that a patch reads is its **window**.
#
# This notebook does that by hand, first with eight numbers, and ends at a convolution that gives the same result with
# fewer parameters and fewer multiply-adds. A **multiply-add** (`madds` in code and tables) is one product that is added
# to a sum; the work of a layer is counted in them. At the end you can say what is stored, how a weight comes from it, why
# the multiply-adds fall, and when they do not. Notebook 02 is about who sets the starts, notebook 03 about time.
#
# It needs no data, and runs in under a minute.

# %%
import numpy as np
import torch
from IPython.display import Markdown, display
from torch.nn import functional as F

import nes_lab
from nes_lab import figures, widgets


def table(head, *rows):
    """Show rows as a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    display(Markdown("\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)))


# %% [markdown]
# ## 1. Eight cells, two patches
#
# Our epitome has one axis of $n = 8$ cells. We want a weight of six numbers, cut into two patches of $b = 3$. Each patch
# has one start $s$, in cells. Between two cells we interpolate linearly: with $u = \lfloor s \rfloor$ and $f = s - u$,
#
# $$\text{patch}[j] = (1 - f)\,E[u + j] + f\,E[u + j + 1].$$
#
# The same sum can be written over the cells: cell $c$ is weighted by a **hat function** that is 1 at $c$ and falls to 0 at
# the neighbors of $c$,
#
# $$\text{patch}[j] = \sum_c \max(0,\ 1 - |s + j - c|)\; E[c].$$

# %%
epitome = np.array([0.0, 0.5, 1.5, 3.0, 2.0, 1.0, -0.5, -1.0])
b = 3
n = len(epitome)


def read(s):
    """Read one patch at start ``s``: two neighboring slices, mixed."""
    u = min(int(np.floor(s)), n - b - 1)  # one back at the last start, so that u + b < n
    f = s - u
    return (1 - f) * epitome[u : u + b] + f * epitome[u + 1 : u + b + 1]


def hat_matrix(s, length, cells):
    """Row ``j`` has the weight of each cell in number ``j`` of the patch."""
    return np.maximum(0, 1 - np.abs(s + np.arange(length)[:, None] - np.arange(cells)[None, :]))


starts = [1.0, 3.25]
weight = np.concatenate([read(s) for s in starts])
print("weight:", weight)
for s in starts:
    np.testing.assert_allclose(hat_matrix(s, b, n) @ epitome, read(s))
print("hat function and two mixed slices agree")

# %%
readings = [figures.PatchReading(s, read(s), name=f"patch {r}") for r, s in enumerate(starts)]
figures.patch_by_hand(epitome, readings)

# %% [markdown]
# Patch 0 starts exactly at a cell, so it is a plain slice: `[0.5, 1.5, 3.0]`. Patch 1 starts a quarter of a cell
# after cell 3, so each of its numbers is three parts of one cell and one part of the next: `[2.75, 1.75, 0.625]`. Check the
# first: $0.75 \cdot 3 + 0.25 \cdot 2 = 2.75$. (The figures call the numbers of a patch its samples.) The windows may
# overlap: both patches read cell 3. This sharing is what compresses: a weight ten times as long could be read from the
# same eight cells.
#
# ## 2. Drag the start
#
# Move the slider (or select it and use the arrow keys). The numbers at the lower left change smoothly. Their derivatives
# at the lower right do not: they jump when the start enters another cell.

# %%
explorer = widgets.StartExplorer(epitome, length=b, start=3.25)
explorer

# %% [markdown]
# A slider needs a running kernel. The next figure shows all starts at once. Each number of the patch is a line with a kink at every
# integer start, so its derivative with respect to the start,
#
# $$\frac{\partial\,\text{patch}[j]}{\partial s} = E[u + j + 1] - E[u + j],$$
#
# is constant between two cells. At an integer start the two sides differ. The library takes the **right** derivative
# (towards the next cell), and the **left** one at the last start $n - b$, where there is no next cell.


# %%
def slope(s):
    """Derivative of each number of the patch by the start."""
    u = min(int(np.floor(s)), n - b - 1)
    return epitome[u + 1 : u + b + 1] - epitome[u : u + b]


sweep = np.round(np.arange(0, n - b + 0.01, 0.05), 2)
figures.gradient_over_starts([figures.PatchReading(s, read(s), slope(s)) for s in sweep])

# %% [markdown]
# The library's sampler and autograd give the same numbers at each of these starts:

# %%
for s in sweep:
    by_library = widgets.read_patch(epitome, s, b)
    np.testing.assert_allclose(by_library.patch, read(s))
    np.testing.assert_allclose(by_library.gradient, slope(s))
print("the same at", len(sweep), "starts")
print("at 2, the right derivative:", slope(2))
print("at 5, the last start, the left one:", slope(5))

# %% [markdown]
# ## 3. Learn a start
#
# Because a start has a gradient, it can be learned like a weight. The target is the patch that start 3.4 reads. We begin
# at 1.2, know only the target patch, and follow the gradient of the squared error:
#
# $$L(s) = \tfrac{1}{2}\,\lVert \text{patch}(s) - \text{target} \rVert^2, \qquad
# \frac{dL}{ds} = \left\langle \text{patch}(s) - \text{target},\ \frac{\partial\,\text{patch}}{\partial s} \right\rangle.$$


# %%
def descend(s, target, lr=0.05, steps=40):
    """Gradient descent on the start; returns the start and the loss before each step."""
    path, losses = [], []
    for _ in range(steps + 1):
        error = read(s) - target
        path.append(s)
        losses.append(0.5 * error @ error)
        s = np.clip(s - lr * error @ slope(s), 0, n - b)  # projected back into its limits
    return np.array(path), np.array(losses)


path, losses = descend(1.2, target=read(3.4))
print(f"start {path[0]} -> {path[-1]:.4f}, loss {losses[0]:.3f} -> {losses[-1]:.2e}")
figures.start_descent(path, losses, target=3.4)

# %% [markdown]
# Gradient descent finds 3.4. This is not guaranteed, because $L$ is not convex. If we begin at 0 with target 4.9, the loss
# first rises towards the target. The step then points to the left, out of the epitome, and the start stays at 0.

# %%
stuck, stuck_losses = descend(0.0, target=read(4.9))
print(f"start {stuck[0]} -> {stuck[-1]:.4f}, loss {stuck_losses[0]:.3f} -> {stuck_losses[-1]:.3f}")
figures.start_descent(stuck, stuck_losses, target=4.9)

# %% [markdown]
# So it matters where learning begins. The library begins at a **tiling**: the windows lie side by side, at the starts
# 0, $b$, $2b$ and so on, and from 0 again when the epitome is used up.
#
# **At the boundary.** A start must stay in $0 \le s \le n - b$, so the library clamps it. Which gradient a clamp passes at
# the bound itself is a convention. It matters, because many starts lie exactly there. With $n = 2b$, for example, the
# tiled starts are 0 and $b = n - b$: both are bounds. Here, the gradient passes at a bound only if the descent step points
# *inside*. We test it with a small layer; its routing `free` makes every start a parameter (section 7).

# %%
bounded = nes_lab.EpitomeLinear(1, 12, epitome_shape=(8, 1), patch_channels=(3, 1), routing="free", bias=False).double()
with torch.no_grad():
    bounded.epitome.copy_(torch.from_numpy(epitome)[:, None])
bounded.routing.set_starts_(0, torch.tensor([0.0, 0.0, 5.0, 5.0]))

arriving = [1.0, -1.0, 1.0, -1.0]  # wanted gradients of the four starts; a descent step goes the other way
toward = [g * slope(s) / (slope(s) @ slope(s)) for g, s in zip(arriving, [0, 0, 5, 5], strict=True)]
(bounded.weight[:, 0] @ torch.from_numpy(np.concatenate(toward))).backward()
passed = bounded.routing.start_offsets_out.grad.tolist()
assert np.allclose(passed, [0, -1, 1, 0])
table(
    ["start", "gradient arriving", "descent would go", "gradient passed"],
    *zip(
        [0, 0, 5, 5],
        ["+1", "-1", "+1", "-1"],
        ["outside", "inside", "inside", "outside"],
        np.round(passed, 3),
        strict=True,
    ),
)

# %% [markdown]
# ## 4. Two axes
#
# A weight has an output and an input axis. The **routing** says how the starts are set (section 7), and the **scope** says
# which patches share them. Each axis is cut into patches, so the weight falls into two-dimensional pieces, its **blocks**:
# one for each output patch and input patch. (The figures call a block a patch, too.) With `separable` scope, the start
# along an axis depends only on the patch's place along that axis, so we can sample one axis after the other. In matrices,
#
# $$W = A_{\text{out}}\; E\; A_{\text{in}}^{\mathsf T},$$
#
# where each row of $A_{\text{out}}$ and $A_{\text{in}}$ belongs to one index of $W$ along its axis, and holds the weights
# that this index gives to the cells: at most two are not zero, and they add up to 1. Here an epitome of $6 \times 5$ cells
# gives a weight of $8 \times 9$, in blocks of $4 \times 3$.

# %%
torch.manual_seed(0)
options = {"epitome_shape": (6, 5), "patch_channels": (4, 3), "bias": False, "dtype": torch.float64}
linear = nes_lab.EpitomeLinear(9, 8, routing="free", **options)
grid = linear.epitome.detach()
starts_out = torch.tensor([0.3, 1.75], dtype=torch.float64)
starts_in = torch.tensor([0.0, 0.6, 2.0], dtype=torch.float64)

A_out = np.concatenate([hat_matrix(s, 4, 6) for s in starts_out.numpy()])
A_in = np.concatenate([hat_matrix(s, 3, 5) for s in starts_in.numpy()])
by_hand = A_out @ grid.numpy() @ A_in.T

linear.routing.set_starts_(0, starts_out)
linear.routing.set_starts_(1, starts_in)
by_library = linear.materialize().detach().numpy()
np.testing.assert_allclose(by_library, by_hand, atol=1e-12)
difference = np.abs(by_library - by_hand).max()
print(f"by hand and by the library: shape {by_hand.shape}, largest difference {difference:.0e}")

# %% [markdown]
# Now drag the window over another small epitome, or move its starts. The weight of $12 \times 8$ is read from 36 cells, in
# blocks of $4 \times 4$. The last panel counts multiply-adds; section 6 explains them.

# %%
widgets.SamplerPlayground()

# %% [markdown]
# ## 5. A convolution
#
# `EpitomeConv2d` takes the arguments of `torch.nn.Conv2d` and the shape of its epitome. The epitome has the same $3 \times 3$
# kernel positions as the weight. At each of them, the two channel axes are read as in section 4, with the same starts. This
# layer has 32 output and 16 input channels, and its epitome has half as many of each. Its starts are `free`; we move them a
# little away from the tiling.

# %%
torch.manual_seed(1)
options = {"padding": 1, "epitome_shape": (16, 8, 3, 3), "patch_channels": (8, 4)}
layer = nes_lab.EpitomeConv2d(16, 32, 3, routing="free", **options)
before = layer.snapshot("conv")
layer.routing.set_starts_(0, torch.tensor([0.3, 7.2, 1.5, 8.0]))
layer.routing.set_starts_(1, torch.tensor([0.6, 3.1, 0.0, 2.5]))
now = layer.snapshot("conv")
layer

# %% [markdown]
# This is the epitome, with one panel per kernel position. Hover over a cell to see how often it is read.

# %%
figures.epitome_atlas(now)

# %% [markdown]
# The weight has four output patches times four input patches: sixteen blocks. Move the slider below the next figure to see
# the window of each block. The edges of the windows lie between cells. The windows of one row of blocks have the same height
# on the epitome, because these blocks share the start along the output axis.

# %%
figures.patch_chooser(now)

# %% [markdown]
# In JupyterLab, the explorer links both sides: point at a block of the weight, or click on a cell of the epitome to see
# who reads it.

# %%
widgets.EpitomeExplorer(now)

# %% [markdown]
# The **routing map** is the table of all starts: four along the output axis, four along the input axis.

# %%
figures.routing_map(now, before)

# %% [markdown]
# The next figure shows how often each cell is read. If starts come close together, other cells are not used.

# %%
figures.coverage(now)

# %% [markdown]
# ### What is stored
#
# Inference needs the epitome, the bias and the starts, and nothing else. Learned starts are stored, as in this layer. Starts
# that a rule sets are not: the rule computes them again (section 7). Count what this layer stores:

# %%
cells = 16 * 8 * 3 * 3
stored = {
    "cells of the epitome": cells,
    "bias": 32,
    "starts along the output axis": 4,
    "starts along the input axis": 4,
}
in_total = sum(stored.values())
dense_params = 32 * 16 * 3 * 3 + 32
table(
    ["stored", "numbers"], *stored.items(), ["**in total**", f"**{in_total:,}**"], ["dense layer", f"{dense_params:,}"]
)
assert in_total == layer.stored_params() == 1152 + 32 + 8

# %% [markdown]
# ### One start for each block: `joint` scope
#
# So far, a start along an axis was shared by all blocks of a row or column of the weight. That is `separable` scope. With
# `joint` scope, every block has a start of its own along each axis, as in the paper. The windows then lie anywhere. A
# `joint` layer has more starts (two for each of the sixteen blocks; if they are learned, all are stored), and its weight can
# have full rank. The price is in section 6: no multiply-adds are saved.

# %%
torch.manual_seed(2)
joint = nes_lab.EpitomeConv2d(16, 32, 3, routing="random", scope="joint", seed=3, **options)
starts_joint = joint.routing_map().starts
print("starts along the output axis, one per block:", starts_joint[0].tolist(), sep="\n")
assert starts_joint[0].shape == starts_joint[1].shape == (4, 4)


def rank(made):
    """Rank of the weight as a matrix: output channels times everything else."""
    return int(torch.linalg.matrix_rank(made.materialize().detach().flatten(1)))


print(f"rank of the 32 x 144 weight: separable {rank(layer)}, joint {rank(joint)}")
assert rank(layer) <= 16 < rank(joint)
figures.patch_chooser(joint.snapshot("joint"))

# %% [markdown]
# ### One law
#
# **Every execution plan of a layer gives the output of the dense convolution with the weight $W$ that the epitome and the
# starts give.** An **execution plan** is a way to compute the layer; `materialize()` returns $W$. Two plans **fold** first:
# at each position, they add up the input channels into as many channels as the epitome has, with the numbers of
# $A_{\text{in}}$.
#
# | execution | how |
# |---|---|
# | `materialize` | build $W$, one dense convolution |
# | `wrapped` | fold, $z = A_{\text{in}}^{\mathsf T} x$; then convolve $z$ with $A_{\text{out}} E$, which has all output channels |
# | `factored` | fold; convolve $z$ with the epitome itself; expand, $y = A_{\text{out}}\,\mathrm{conv}(z,\ E)$ |

# %%
x = torch.randn(4, 16, 12, 12)
dense = F.conv2d(x, layer.materialize(), layer.bias, padding=1)
for name in layer.available_executions():
    layer.execution = name
    torch.testing.assert_close(layer(x), dense, rtol=1e-5, atol=1e-5)
print("equal to the dense convolution under:", ", ".join(layer.available_executions()))

# %% [markdown]
# ## 6. The same result at lower cost
#
# Sharing parameters alone saves no multiply-adds: a layer that materializes its weight computes the full convolution. They
# fall because a convolution is linear:
#
# * If two input channels are multiplied by the same cell, $E[c]\,x_1 + E[c]\,x_2 = E[c]\,(x_1 + x_2)$. Add the channels
#   first, and multiply once.
# * If two output channels are read from the same cells, they are equal. Compute one, and copy it.
#
# Then the convolution has the channels of the epitome, which are fewer than those of the weight. A start between two cells
# mixes two cells, which costs a little. Count the steps of `factored` by hand, for one image of $P = 12 \cdot 12$ positions:
#
# * **fold** the 16 input channels into the 8 of the epitome: each channel goes to at most two of them, $2 \cdot 16 \cdot P$
# * **convolve** with the epitome, 8 to 16 channels: $3 \cdot 3 \cdot 8 \cdot 16 \cdot P$. Half the channels on both sides
#   make this a quarter of the dense convolution.
# * **expand** the 16 channels to 32 output channels: each mixes at most two of them, $2 \cdot 32 \cdot P$
#
# The prediction: a quarter, and two percent more for fold and expand.

# %%
P = 12 * 12
dense_convolution = 9 * 16 * 32 * P
fold, core, expand = 2 * 16 * P, 9 * 8 * 16 * P, 2 * 32 * P
predicted = fold + core + expand
print(f"fold {fold:,} + convolve {core:,} + expand {expand:,} = {predicted:,}")
print(f"of {dense_convolution:,}: {core / dense_convolution:.0%} + {(fold + expand) / dense_convolution:.0%}")
Step = figures.ComputingStep
ways = {
    "dense": [Step("convolve", dense_convolution, 32)],
    "wrapped": [Step("fold", fold, 8), Step("convolve", 9 * 8 * 32 * P, 32)],
    "factored": [Step("fold", fold, 8), Step("convolve", core, 16), Step("expand", expand, 32)],
}
figures.computing_steps(ways, channels=16)

# %% [markdown]
# `nes_lab.count` counts what the layer's execution plan computes. It must find the same numbers.

# %%
one = x[:1]
dense_layer = torch.nn.Conv2d(16, 32, 3, padding=1)
costs = {"dense convolution": nes_lab.count(dense_layer, one)}
for name in layer.available_executions():
    layer.execution = name
    costs[name] = nes_lab.count(layer, one)

full = costs["dense convolution"]
rows = [
    [name, f"{c.params:,}", f"{c.params / full.params:.0%}", f"{c.madds:,}", f"{c.madds / full.madds:.0%}"]
    for name, c in costs.items()
]
table(["computed as", "params", "of dense", "madds", "of dense"], *rows)

# %%
layer.execution = "factored"
assert torch.allclose(layer(x), dense, rtol=1e-5, atol=1e-5)
assert nes_lab.count(layer, one).madds == predicted
assert costs["wrapped"].madds == sum(step.madds for step in ways["wrapped"])
assert costs["materialize"].madds == full.madds == dense_convolution
print("as predicted")
nes_lab.count(layer, one)

# %% [markdown]
# The law also holds for the gradients of the epitome and of the starts, so a layer can be trained with any execution plan.

# %%
learned = [layer.epitome, layer.routing.start_offsets_out, layer.routing.start_offsets_in]
gradients = {}
for name in layer.available_executions():
    layer.execution = name
    loss = layer(x).square().mean()
    gradients[name] = torch.autograd.grad(loss, learned)
for found in gradients.values():
    torch.testing.assert_close(found, gradients["materialize"], rtol=1e-4, atol=1e-6)
print("gradient of the output starts:", gradients["factored"][1].numpy().round(4))

# %% [markdown]
# ### When multiply-adds do not fall
#
# We predict, for each layer, whether its multiply-adds fall below those of the dense layer:
#
# * **materialize**: no, it runs the dense convolution.
# * **very thin layer with fractional starts**: no. Mixing costs more than the smaller convolution saves. In a 1x1 convolution
#   from 4 to 4 channels, at each position: dense 16; here fold 8 + convolve 4 + expand 8 = 20.
# * **depthwise**: no. Each output channel reads an input channel of its own, so no two of them share a product, whatever
#   their weights share. The layer can only materialize.
# * **joint scope**: no. Every block reads the epitome elsewhere, so there is no common fold.
# * **patches of one channel**: yes, as before. The size of a patch changes how many starts are stored, not the products.

# %%
quarter = {"epitome_shape": (16, 8, 3, 3), "padding": 1}
halves = {"epitome_shape": (2, 2, 1, 1), "patch_channels": (1, 1)}
depthwise = {"groups": 16, "epitome_shape": (8, 1, 3, 3), "padding": 1}
cases = {  # predicted to fall?, epitome layer, dense layer
    "materialize": (False, nes_lab.EpitomeConv2d(16, 32, 3, execution="materialize", **quarter), dense_layer),
    "very thin layer, fractional starts": (
        False,
        nes_lab.EpitomeConv2d(4, 4, 1, routing="free", execution="factored", **halves),
        torch.nn.Conv2d(4, 4, 1),
    ),
    "depthwise": (
        False,
        nes_lab.EpitomeConv2d(16, 16, 3, **depthwise),
        torch.nn.Conv2d(16, 16, 3, padding=1, groups=16),
    ),
    "joint scope": (False, joint, dense_layer),
    "patches of one channel": (
        True,
        nes_lab.EpitomeConv2d(16, 32, 3, routing="free", patch_channels=(1, 1), **quarter),
        dense_layer,
    ),
}
rows = []
for name, (falls, small, usual) in cases.items():
    image = torch.randn(1, usual.in_channels, 12, 12)
    cost, reference = nes_lab.count(small, image), nes_lab.count(usual, image)
    rows.append([name, f"{cost.madds / reference.madds:.0%}", f"{cost.params / reference.params:.0%}", falls])
    assert (cost.madds < reference.madds) == falls, name
table(["layer", "madds of dense", "params of dense", "predicted to fall"], *rows)
print("execution of the depthwise layer:", ", ".join(cases["depthwise"][1].available_executions()))

# %% [markdown]
# With `execution="auto"`, a layer takes the plan with the fewest multiply-adds, so the very thin layer would materialize.
#
# **A smaller count can be slower.** `factored` runs three operations where the dense layer runs one, and each has a cost of
# its own to start. In our layer, the count falls to 27 %. The time on this machine (yours differs):

# %%
with torch.no_grad():
    times = nes_lab.measure_latency({"dense": dense_layer, "factored": layer}, one, pairs=30)
for name, time in times.items():
    print(f"{name}: {time.median_ms:.3f} ms")

# %% [markdown]
# Notebook 03 finds out for which layers the time falls too.
#
# ### Is this not just a narrower layer?
#
# With `tiled` starts and `separable` scope, yes: the layer adds the two halves of its input channels, runs a convolution
# with 8 input and 16 output channels, and copies its output. We do it with torch alone:

# %%
tiled = nes_lab.EpitomeConv2d(16, 32, 3, **options)
folded = x[:, :8] + x[:, 8:]
narrow = F.conv2d(folded, tiled.epitome, padding=1)
copied = torch.cat([narrow, narrow], dim=1) + tiled.bias[:, None, None]
torch.testing.assert_close(tiled(x), copied, rtol=1e-5, atol=1e-5)
torch.testing.assert_close(tiled.weight[:16], tiled.weight[16:])
print("a tiled layer is a narrower layer with copied channels")

# %% [markdown]
# So before the bias, a tiled layer can do no more than this narrow layer. The copies are not useless: each has its own bias
# and norm, and the next layer sees the full width. Fractional starts can do more: they mix the cells, so that no two output
# channels need to be equal. Whether that helps is the question of notebook 02.
#
# ## 7. How the starts are set
#
# | routing | starts | stored starts |
# |---|---|---|
# | `tiled` | a rule: integers, side by side, and from 0 again when the epitome is used up; the default | none: computed again |
# | `stride` | a rule: integers, evenly spaced over the epitome | none: computed again |
# | `random` | a rule: integers, drawn with a seed | none: drawn again from the seed, a setting of the layer |
# | `free` | learned: one parameter per start, beginning at the tiling | all |
# | `learner` | learned: an index learner predicts them from the layer's input (the paper) | all; not the index learner |
#
# How much learned starts gain over a tiling is an open question. Notebook 02 trains all five, and does the index learner
# by hand.

# %%
rows = []
for routing in ["tiled", "stride", "random", "free", "learner"]:
    made = nes_lab.EpitomeConv2d(16, 32, 3, routing=routing, execution="factored", **options)
    cost = nes_lab.count(made, one)
    first = made.routing_map().starts[0].tolist()
    rows.append([f"`{routing}`", first, f"{cost.params:,}", f"{cost.learner_params:,}", f"{cost.madds:,}"])
table(["routing", "output starts at first", "params", "index learner", "madds"], *rows)

# %% [markdown]
# Learned starts are fractional, so they need interpolation. The index learner is used only in training, so its parameters
# are not counted. `layer.snap()` rounds the starts to integers after training, and reports how much that changes the weight.
# Here the change is large, because neighboring cells of this untrained epitome are independent random numbers.

# %%
layer.execution = "factored"
report = layer.snap()
print(f"farthest move {report.largest_move:.2f} cells, change of the weight {report.relative_change:.0%}")
print(f"madds now {nes_lab.count(layer, one).madds:,}, for the plan {layer.execution}")

# %% [markdown]
# ## In short
#
# * **What is stored?** The epitome, the bias, and the starts if they are learned. Rules compute their starts again. The
#   weight is not stored.
# * **How does a weight come from it?** The weight is cut into patches. Each patch is read from the epitome at its start;
#   between two cells, both are mixed.
# * **Who moves the starts?** Nobody, if they follow a rule. With `free`, the gradient of the loss. With `learner`, a small
#   network that is used in training only. Notebook 02 shows both.
# * **Why do multiply-adds fall?** Channels that meet the same cells are added before the convolution, and equal outputs are
#   computed once. So the convolution has the channels of the epitome.
# * **When do they not fall?** If the weight is materialized, in depthwise layers, with `joint` scope, and in very thin layers
#   whose starts are fractional, where mixing costs more than the smaller convolution saves. And where they fall, the time
#   need not: notebook 03.
#
# ## What next
#
# * **02 Who sets the starts**: five ways on the same task. **03 The same result at a tenth of the cost**: count and time.
# * For a complete network, `nes_lab.plan_for_budget(model, nes_lab.Budget(params="60%", madds="75%"), images)` chooses the
#   epitome of every layer, and `nes_lab.compress(model, plan)` makes the smaller network.
# * `make app` shows the same figures for your own runs.
#
# Source of the method: Zhou et al., *Neural Epitome Search for Architecture-Agnostic Network Compression*, ICLR 2020,
# [arXiv:1907.05642](https://arxiv.org/abs/1907.05642).
