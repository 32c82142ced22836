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
# instead, the **epitome** $E$, and *samples* $W$ from it: $W$ is cut into **patches**, and each patch is read from $E$
# at a real-valued **starting index**.
#
# This notebook does that by hand, first with eight numbers, and ends at a convolution that gives the same result with
# fewer parameters and fewer multiply-adds. It needs no data, and runs in under a minute.

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
    """Row ``j`` has the weight of each cell in sample ``j``."""
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
# after cell 3, so each of its samples is three parts of one cell and one part of the next. The windows may overlap: both
# patches read cell 3. This sharing is what compresses: a weight ten times as long could be read from the same eight cells.
#
# ## 2. Drag the start
#
# Move the slider (or select it and use the arrow keys). The samples at the lower left change smoothly. Their derivatives
# at the lower right do not: they jump when the start enters another cell.

# %%
explorer = widgets.StartExplorer(epitome, length=b, start=3.25)
explorer

# %% [markdown]
# A slider needs a running kernel. The next figure shows all starts at once. Each sample is a line with a kink at every
# integer start, so its derivative with respect to the start,
#
# $$\frac{\partial\,\text{patch}[j]}{\partial s} = E[u + j + 1] - E[u + j],$$
#
# is constant between two cells. At an integer start the two sides differ. The library takes the **right** derivative
# (towards the next cell), and the **left** one at the last start $n - b$, where there is no next cell.


# %%
def slope(s):
    """Derivative of each sample by the start."""
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
# So it matters where learning begins. The library begins at a tiling with integer starts.
#
# **At the boundary.** A start must stay in $0 \le s \le n - b$, so the library clamps it. Which gradient a clamp passes at
# the bound itself is a convention. It matters, because many starts lie exactly there: if patches are half as long as the
# epitome, all tiled starts do. Here, the gradient passes at a bound only if the descent step points *inside*.

# %%
from nes_lab.epitome.taps import clamp_starts  # what the library does inside its layers

at_bounds = torch.tensor([0.0, 0.0, 5.0, 5.0], requires_grad=True)
incoming = torch.tensor([1.0, -1.0, 1.0, -1.0])  # descent steps against it: -, +, -, +
clamp_starts(at_bounds, torch.full((4,), 5.0)).backward(incoming)
table(
    ["start", "gradient arriving", "descent would go", "gradient passed"],
    [0, "+1", "outside", at_bounds.grad[0].item()],
    [0, "-1", "inside", at_bounds.grad[1].item()],
    [5, "+1", "inside", at_bounds.grad[2].item()],
    [5, "-1", "outside", at_bounds.grad[3].item()],
)

# %% [markdown]
# ## 4. Two axes
#
# A weight has an output and an input axis. With **separable** routing, the start along an axis depends only on the patch's
# place along that axis, so we can sample one axis after the other. In matrices,
#
# $$W = A_{\text{out}}\; E\; A_{\text{in}}^{\mathsf T},$$
#
# where each row of $A_{\text{out}}$ and $A_{\text{in}}$ holds the hat functions of one sample: at most two numbers that are
# not zero, with sum 1. Here an epitome of $6 \times 5$ cells gives a weight of $8 \times 9$, in patches of $4 \times 3$.

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
# ## 5. A convolution
#
# `EpitomeConv2d` takes the arguments of `torch.nn.Conv2d` and the shape of its epitome. Only the two channel axes are
# sampled; the kernel positions are copied. This layer has 32 output and 16 input channels, and its epitome has half as many
# of each. Routing `free` makes every start a parameter; we move the starts a little away from the tiling.

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
# This is the epitome, with one tile per kernel position. Hover over a cell to see how often it is read.

# %%
figures.epitome_atlas(now)

# %% [markdown]
# Its patches read sixteen windows: four output patches times four input patches. The edges of the windows lie between
# cells.

# %%
figures.patches_on_epitome(now)

# %% [markdown]
# The **routing map** is the table of all starts. Inference needs only the routing map, the epitome and the bias.

# %%
figures.routing_map(now, before)

# %% [markdown]
# The next figure shows how often each cell is read. If starts come close together, other cells are not used.

# %%
figures.coverage(now)

# %% [markdown]
# All of this rests on one law. `materialize()` samples the complete weight. The layer gives the same output as the dense
# convolution with that weight, whichever **execution plan** computes it:
#
# | execution | how |
# |---|---|
# | `materialize` | build $W$, one dense convolution |
# | `wrapped` | fold input channels onto the epitome's, $z = A_{\text{in}}^{\mathsf T} x$; convolve with $A_{\text{out}} E$ |
# | `factored` | $y = A_{\text{out}}\,\mathrm{conv}(A_{\text{in}}^{\mathsf T} x,\ E)$: convolve with the epitome itself |

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
# Sharing parameters alone saves no multiply-adds: a layer that materializes its weight computes the full convolution. When
# the convolution uses the epitome itself, patches that read the same cells share their products. `nes_lab.count` counts what
# the layer's execution plan computes. With fractional starts this includes the interpolation, $2\,C\,HW$ madds on each axis.

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
assert nes_lab.count(layer, one).madds < 0.3 * full.madds
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
# ## 7. How the starts are set
#
# | routing | starts | stored |
# |---|---|---|
# | `tiled` | integers: side by side, and again from the first cell after the last; the default | nothing, as it is a rule |
# | `stride` | integers, evenly spaced over the epitome | nothing |
# | `random` | integers, drawn with a seed | the seed |
# | `free` | learned: one parameter per start, beginning at the tiling | every start |
# | `learner` | learned: an index learner predicts them from the layer's input (the paper) | every start; not the learner |
#
# How much learned starts gain over a tiling is an open question. NES Lab is made to answer it.

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
# ## What next
#
# * For a complete network, `nes_lab.plan_for_budget(model, nes_lab.Budget(params="60%", madds="75%"), images)` chooses the
#   epitome of every layer, and `nes_lab.compress(model, plan)` makes the smaller network.
# * In a terminal, `make demo` trains dense, narrower and compressed networks on handwritten digits, and compares them at
#   equal madds.
# * `make app` shows the same figures for your own runs.
#
# Source of the method: Zhou et al., *Neural Epitome Search for Architecture-Agnostic Network Compression*, ICLR 2020,
# [arXiv:1907.05642](https://arxiv.org/abs/1907.05642).
