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
# # 08 · What did it look at
#
# A compressed network gives almost the same answers as the dense one. **Does it also look at the same pixels?** If it does
# not, it may fail on other images than the dense network, and an accuracy does not show this.
#
# We compare four networks on handwritten digits:
#
# * **dense**, the reference;
# * **other seed**: the same dense network, trained from another seed. It is our control: it was never compressed;
# * **fitted**: an epitome network with 60 % of the params, fitted to the dense weights, not trained;
# * **fine-tuned**: the fitted network after two epochs of training.
#
# An **attribution** gives each pixel a number: how much it speaks for the answer. All methods are in `nes_lab.attribution`.

# %%
import copy

import torch

import nes_lab
from nes_lab import attribution, figures

# %%
data = nes_lab.open_data("digits")
images, labels = next(data.val.eval_batches(360))
unlabeled, _ = next(data.train.eval_batches(512))  # for the batch norms of fitted networks
recipe = {"epochs": 5, "lr": 3e-3, "batch_size": 64}

networks = {}
for name, seed in (("dense", 0), ("other seed", 1)):
    torch.manual_seed(seed)
    networks[name] = nes_lab.create_backbone("small_mobilenetv2", in_channels=1)
    nes_lab.fine_tune(networks[name], data, recipe=recipe, seed=seed, progress=False)
dense = networks["dense"].eval()

example = data.example_input()
plan = nes_lab.plan_for_budget(
    dense, nes_lab.Budget(params="60%"), example, routing="free", patch_channels=1, round_to=1
)
networks["fitted"], report = nes_lab.fit(dense, plan, search_starts=True, norms=[unlabeled])
networks["fine-tuned"] = copy.deepcopy(networks["fitted"])
nes_lab.fine_tune(networks["fine-tuned"], data, recipe=recipe | {"epochs": 2}, seed=0, progress=False)

accuracy = {name: nes_lab.evaluate(network, data)["top1"] for name, network in networks.items()}
for name, value in accuracy.items():
    print(f"{name}: {value:.1f} % of the validation digits are right")

# %% [markdown]
# ## 1. Three methods
#
# * **Integrated gradients** follow the gradient on the way from an empty image to this one. Their values add up: the sum
#   over the pixels is the score of the image minus the score of the empty image.
# * **GradCAM** asks which places of the last layer with places speak for the class. It is coarse.
# * **Occlusion** covers small squares, and sees how much the score falls. It needs no gradient.
#
# First we check the sum. With more steps it must get closer.

# %%
few = attribution.attribute(dense, images[:8], "integrated_gradients", steps=4)
many = attribution.attribute(dense, images[:8], "integrated_gradients", steps=64)
print("missing with 4 steps: ", abs(few.missing).max().round(4))
print("missing with 64 steps:", abs(many.missing).max().round(4))
assert abs(many.missing).max() < abs(few.missing).max()

# %% [markdown]
# ## 2. The same pixels?
#
# We compare the maps on the same 24 digits. Two numbers say how far they agree: the **rank correlation** of all pixels, and
# the share of the most important tenth that both have **in common** (unrelated maps reach 0.1).
#
# **Prediction.** The fitted network was made from the dense weights, so it should look at the same pixels more than a
# dense network that was trained from another seed. Fine-tuning should move it only a little.

# %%
predicted = {
    "fitted": "closer to the dense network than the other seed is",
    "fine-tuned": "closer to the dense network than the other seed is",
}

# %%
methods = ("integrated_gradients", "gradcam", "occlusion")
chosen = images[:24]
agreements = {
    (method, name): attribution.compare_attributions(dense, networks[name], chosen, method)
    for method in methods
    for name in ("other seed", "fitted", "fine-tuned")
}
for (_, name), found in agreements.items():
    print(f"{name}: {found}")

# %%
for method in methods:
    control = agreements[method, "other seed"].mean_rank_correlation
    for name, expected in predicted.items():
        reached = agreements[method, name].mean_rank_correlation
        verdict = "as predicted" if reached > control else "not as predicted"
        print(f"{method}: {name} {reached:.2f}, other seed {control:.2f} - {verdict} ({expected})")
assert (
    agreements["occlusion", "fine-tuned"].mean_rank_correlation
    > agreements["occlusion", "fitted"].mean_rank_correlation
)

# %% [markdown]
# Half of the prediction is wrong. The fitted network has the weights of the dense one, up to the error of the fit, but at this
# budget the error is large: it has lost most of its accuracy, and it looks elsewhere. Fine-tuning brings back both: the
# fine-tuned network agrees with the dense one at least as much as the other seed does. So what it learned again, it learned in
# the old places.
#
# The control matters. Two dense networks of equal accuracy do not look at the same pixels either, so a low agreement
# alone does not blame the compression. Compare each row with its control, not with 1.
#
# Here are six digits. Each row has the image, both maps and their difference. In the last column, red pixels matter more to
# the fine-tuned network, blue ones more to the dense network.

# %%
shown = attribution.compare_attributions(dense, networks["fine-tuned"], images[:6], "occlusion")
figures.attributions(shown, images[:6], names=("dense", "fine-tuned"), labels=labels[:6].tolist())

# %% [markdown]
# ## 3. Is a map right about its network?
#
# A map is only a claim. We can test it: delete the most important pixels first, and watch the probability of the class. If
# the map is right, it falls fast. Inserting the most important pixels first into an empty image must raise it fast.
#
# **Prediction.** For each network, inserting first the pixels that its own map calls important gives a higher curve than
# deleting them, on average over the digits.

# %%
curves = {
    "dense": agreements["integrated_gradients", "fitted"].first_curves,
    "fitted": agreements["integrated_gradients", "fitted"].second_curves,
    "fine-tuned": agreements["integrated_gradients", "fine-tuned"].second_curves,
}
figures.deletion_curves(curves)

# %%
for name, found in curves.items():
    low, high = found.deletion_area.mean(), found.insertion_area.mean()
    print(f"{name}: area {low:.2f} when deleted, {high:.2f} when inserted")
    assert high > low, name
print("as predicted: the maps are right about their networks")

# %% [markdown]
# ## 4. Which layers matter, and a plan that knows it
#
# `layer_importance` adds up how much of the score flows through each layer (layer conductance). Its mean over the layers
# is 1. A sensitivity report says how much a layer loses when its epitome shrinks. `report.weighed(importance)` multiplies
# both, and the planner then shrinks unimportant layers first.
#
# **Prediction.** At half of the params, the weighed plan keeps more accuracy right after the fit than the plan by residuals
# alone: an error in a layer through which little flows does little harm.

# %%
importance = attribution.layer_importance(dense, images[:32])
for name, value in importance.items():
    print(f"{value:5.2f}  {name}")

# %%
budget = nes_lab.Budget(params="50%")
residuals = nes_lab.measure_sensitivity(dense, example, round_to=1)
kept = {}
for name, sensitivity in (("by residuals", residuals), ("weighed", residuals.weighed(importance))):
    sized = nes_lab.plan_for_budget(dense, budget, example, strategy="sensitivity", sensitivity=sensitivity, round_to=1)
    network, _ = nes_lab.fit(dense, sized, norms=[unlabeled])
    kept[name] = nes_lab.evaluate(network, data)["top1"]
    print(f"{name}: {kept[name]:.1f} % right after the fit, {accuracy['dense']:.1f} % for the dense network")
print("as predicted" if kept["weighed"] > kept["by residuals"] else "not as predicted")
assert max(kept.values()) < accuracy["dense"]

# %% [markdown]
# Both plans keep the stored numbers at half, and both fits lose most of the accuracy before any training, so this small
# example decides nothing about the two plans. The guide on fitting (docs/fit.md) has the same comparison for a ResNet-56,
# with starts searched: 82.8 % for the weighed plan, 81.3 % by residuals alone, 79.2 % by the loss on labeled images, and
# 82.3 % for one ratio for all layers, which needs fewer multiply-adds. So weighing helps the plan by residuals, but it is
# no better than one ratio, within noise.
#
# ## What to take along
#
# * Equal accuracy is not equal behavior. Look at agreement before you replace a network.
# * Always have a control: a second dense network from another seed.
# * Trust a map only after its deletion curve.
# * In the app, the page *Explain* does this for your runs, on the images on which the two networks disagree most.
