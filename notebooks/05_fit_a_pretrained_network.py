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
# # 05 · Fit a pretrained network
#
# If a network is already trained, its weights should not be thrown away. **Fitting** computes the epitomes, and if
# you like the starts, whose sampled weights come closest to the trained ones. How much of the accuracy does that
# save? And is it worth it, compared with training the small network from scratch?
#
# The "pretrained" network here is a stand-in: a small MobileNetV2 that we train for some seconds on scikit-learn's
# 1,797 handwritten digits. With real pretrained weights the calls are the same:
# `nes_lab.create_backbone("mobilenetv2_100", pretrained=True)`.
#
# All accuracies are top-1 on the same 360 images. One image is 0.28 points, and every number is from one seed, so
# differences of a point or two mean nothing here.

# %%
import torch

import nes_lab
from nes_lab import figures

torch.manual_seed(0)
torch.set_num_threads(1)  # the images have 8 x 8 pixels: more threads only wait for each other

# %% [markdown]
# ## 1. The pretrained network

# %%
data = nes_lab.open_data("digits")
sgd = {"optimizer": "sgd", "momentum": 0.9, "batch_size": 64, "weight_decay": 1e-4}

dense = nes_lab.create_backbone("small_mobilenetv2", in_channels=1)
report = nes_lab.fine_tune(dense, data, recipe={**sgd, "epochs": 7, "lr": 0.1, "warmup_epochs": 1}, progress=False)
accuracy = {"dense": nes_lab.evaluate(dense, data)["top1"]}
print(report)
assert accuracy["dense"] > 94

# %% [markdown]
# ## 2. Fit the weights
#
# We ask for 75 % of the params. Patches of one channel may start anywhere (`routing="free", patch_channels=1`), so
# the fit may choose for each channel which epitome channels it reads. The **relative residual** says how far the
# sampled weights are from the trained ones: $\lVert W - T(E)\rVert / \lVert W\rVert$, 0 if they are equal, 1 if the
# sampled weights were all zero.
#
# For given starts, the best epitome follows from least squares. `search_starts=True` chooses the starts, too: it
# groups channels that are alike.
#
# **Prediction.** The search brings the residual below 0.5; with the plan's starts it stays above. Then the network
# keeps most of its accuracy: over 50 %, where guessing has 10 %.

# %%
predicted_after_search = 50

# %%
options = {"routing": "free", "patch_channels": 1, "round_to": 2}
image = data.example_input()
plan = nes_lab.plan_for_budget(dense, nes_lab.Budget(params="75%"), image, **options)

kept, kept_report = nes_lab.fit(dense, plan)
searched, searched_report = nes_lab.fit(dense, plan, search_starts=True)
accuracy["starts of the plan"] = nes_lab.evaluate(kept, data)["top1"]
accuracy["starts searched"] = nes_lab.evaluate(searched, data)["top1"]

print(f"residual: {kept_report.residual:.3f} with the plan's starts, {searched_report.residual:.3f} with searched ones")
print(accuracy)
assert searched_report.residual < 0.5 < kept_report.residual
print("as predicted" if accuracy["starts searched"] > predicted_after_search else "NOT as predicted")
assert accuracy["starts searched"] < predicted_after_search

# %% [markdown]
# The residual fell as predicted, but the accuracy is that of guessing. Errors of 40 % in each of twelve layers add
# up. And the batch norms divide by the spread of activations that the old weights made, which is wrong for the new
# ones.
#
# ## 3. Fit the outputs
#
# Some unlabeled images help in two ways:
#
# * `calibration=` measures the inputs of each layer, and fits the layer's *outputs* instead of its weight.
# * `norms=` measures the statistics of all batch norms again at the end.
#
# **Prediction.** Calibration raises the residual of the weights, since they are no longer the aim, but raises the
# accuracy. New norms raise it further. Calibration matters more.

# %%
images = [batch for batch, _ in data.train.eval_batches(256)][:1]

calibrated, calibrated_report = nes_lab.fit(dense, plan, search_starts=True, calibration=images)
normed, normed_report = nes_lab.fit(dense, plan, search_starts=True, norms=images)
fitted, fit_report = nes_lab.fit(dense, plan, search_starts=True, calibration=images, norms=images)
accuracy["calibrated"] = nes_lab.evaluate(calibrated, data)["top1"]
accuracy["norms measured again"] = nes_lab.evaluate(normed, data)["top1"]
accuracy["calibrated, norms measured again"] = nes_lab.evaluate(fitted, data)["top1"]

print(f"residual: {searched_report.residual:.3f} before, {calibrated_report.residual:.3f} calibrated")
print({name: round(top1, 1) for name, top1 in accuracy.items()})
assert calibrated_report.residual > searched_report.residual
assert accuracy["calibrated"] > accuracy["starts searched"]
assert accuracy["calibrated, norms measured again"] > accuracy["calibrated"]
as_predicted = accuracy["calibrated"] > accuracy["norms measured again"]
print("as predicted" if as_predicted else "NOT as predicted: new norms matter more than calibration")
assert not as_predicted

# %% [markdown]
# Two of the three predictions hold. The third is wrong: measured alone, new norms help more than calibration,
# although they change no weight at all. Most of the loss of section 2 came from norms whose statistics no longer fit.
# Together both are best, and 75 % of the params give nearly the accuracy of the dense network, without a single label
# or training step.
#
# The report says for each layer what was done. Its last sentence compares the answers with those of the dense
# network, on the calibration images.

# %%
fit_report

# %%
figures.fit_residuals(fit_report)

# %% [markdown]
# Each line is a layer. Hollow points are the plan's starts fitted to the weights alone; filled points are the fit. In
# the right panel, the error of the outputs falls in every layer, which is what counts for the next layer.
#
# ## 4. Smaller budgets
#
# **Prediction.** Accuracy straight after the fit falls with the budget, faster and faster: still close to dense at 90 %, and
# below 90 % at half of the params.

# %%
points = [{"name": "dense", "madds": plan.dense.madds, "top1": accuracy["dense"]}]
students = {"75%": fitted}
plans = {"75%": plan}
for budget in ("90%", "50%"):
    plans[budget] = nes_lab.plan_for_budget(dense, nes_lab.Budget(params=budget), image, **options)
    students[budget], _ = nes_lab.fit(dense, plans[budget], search_starts=True, calibration=images, norms=images)
after_fit = {}
for budget in ("90%", "75%", "50%"):
    after_fit[budget] = nes_lab.evaluate(students[budget], data)["top1"]
    madds = plans[budget].predicted.madds
    points.append(
        {"name": f"{budget} of params", "madds": madds, "top1": after_fit[budget], "series": "fitted, not trained"}
    )
print({budget: round(top1, 1) for budget, top1 in after_fit.items()})
assert after_fit["90%"] > after_fit["75%"] > after_fit["50%"]
assert after_fit["50%"] < 90 < after_fit["90%"]
print("as predicted")

# %% [markdown]
# ## 5. A short training, and the same from scratch
#
# At 50 % the fitted network must be trained before it is used. We give it two epochs, in which it also learns to
# imitate the outputs of the dense network (**distillation**, `kd_weight`). The opponent has the same plan with fresh
# weights and the same number of steps. It has no teacher, and a larger learning rate, as it has more to learn.
#
# **Prediction.** After 44 steps each, the fitted network is ahead by more than 3 points, and close to dense (within 3
# points).

# %%
student = students["50%"]
short = {**sgd, "epochs": 2, "log_every_steps": 2}
trained = nes_lab.fine_tune(
    student, data, recipe={**short, "lr": 0.02, "kd_weight": 0.5, "kd_temperature": 2.0}, teacher=dense, progress=False
)
fresh = nes_lab.create_backbone("small_mobilenetv2", in_channels=1)
scratch = nes_lab.compress(fresh, plans["50%"], initial_weights="reset")
from_scratch = nes_lab.fine_tune(scratch, data, recipe={**short, "lr": 0.1}, progress=False)

result = {"fitted": nes_lab.evaluate(student, data)["top1"], "from scratch": nes_lab.evaluate(scratch, data)["top1"]}
print({name: round(top1, 1) for name, top1 in result.items()}, "after", trained.steps, "steps each")
assert trained.steps == from_scratch.steps
assert nes_lab.count(student, image).madds == nes_lab.count(scratch, image).madds
assert result["fitted"] > result["from scratch"] + 3
assert result["fitted"] + 3 > accuracy["dense"]
print("as predicted")

# %%
figures.compare_runs({"fitted": trained.history, "from scratch": from_scratch.history})

# %%
madds = plans["50%"].predicted.madds
points += [
    {"name": f"50% of params, {name}", "madds": madds, "top1": result[name], "series": f"{name}, 2 epochs"}
    for name in result
]
figures.accuracy_vs_madds(points)

# %% [markdown]
# ## What it means
#
# * A small residual is not the aim. What counts is what a layer puts out for real inputs, and norms that know it.
# * Straight after a fit, a network is usable at generous budgets only. `report.needs_training` says so, from the
#   calibration images.
# * The fit is a head start: after an equal number of steps it beats the same plan from scratch. Whether training from
#   scratch catches up with many more steps, this notebook does not measure. `docs/fit.md` has a larger comparison
#   (ResNet-56 on CIFAR-10), with other methods beside epitomes, some of them ahead.
#
# Next: notebook 06 does the same in the layout of ImageNet.
