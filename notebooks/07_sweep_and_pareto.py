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
# # 07 · Sweep and Pareto front
#
# One training run says little: another seed may turn its result around. A **sweep** trains one experiment many times
# with different settings. This one asks:
#
# * Does a larger budget of multiply-adds (MAdds) pay?
# * Are learned starts (`free`) better than fixed ones (`tiled`) at the same budget?
#
# Three settings answer both: `tiled` at 40 % of the MAdds, `tiled` at 70 %, and `free` at 40 %. With three seeds they are
# nine tiny runs of a small MobileNetV2 on scikit-learn's digits. They are ordinary runs, in processes of their own:
# `nes_lab.list_runs()`, the app and `nes-lab watch` show them, and closing this notebook does not end them. On your own
# data only `base` changes. To be quick, each run trains for two epochs only, which is 90 steps.
#
# `space` lists the values of everything that varies, and the sweep trains all combinations. A field can vary, such as
# `seed`, or a section, such as `compression` here.

# %%
import nes_lab
from nes_lab import figures

base = {
    "data": {"name": "digits", "batch_size": 32},
    "training": {"epochs": 2, "lr": 0.1, "warmup_epochs": 0, "threads": 1},
}
settings = [
    {"madds": "40%", "routing": "tiled", "round_to": 2},
    {"madds": "40%", "routing": "free", "round_to": 2},
    {"madds": "70%", "routing": "tiled", "round_to": 2},
]
space = {"compression": settings}
sweep = {"name": "digits-front", "base": base}

# %% [markdown]
# ## 1. One seed
#
# **Prediction.** With one seed for each setting, some setting will look best, but nothing can be said about chance.
# The verdict should refuse to compare.

# %%
result = nes_lab.run_sweep({**sweep, "space": {**space, "seed": [0]}}, jobs=3)
result

# %%
runs = nes_lab.list_runs(group="digits-front")
first = nes_lab.best_setting(runs)
print(first)
assert "Too few seeds" in str(first)
print("\nas predicted: no setting can be told from another")

# %% [markdown]
# ## 2. Two more seeds
#
# A sweep can be extended: with more seeds, the same call trains only what is new.
#
# **Predictions**, before we look:
#
# * More MAdds are better: for `tiled`, the mean at 70 % is above the mean at 40 %.
# * Learned starts make no difference that three seeds can show. Our log has a comparison with longer training in
#   which none was found.
# * So in the end the verdict, without any limit, cannot tell the best setting from at least one other.

# %%
predictions = {
    "more MAdds are better, for tiled": True,
    "a routing is told from the other, at the same budget": False,
    "some setting is not told apart from the best": True,
}

# %%
result = nes_lab.run_sweep({**sweep, "space": {**space, "seed": [0, 1, 2]}}, jobs=3)
result

# %%
assert not result.unfinished and len(result.trials) == 9
runs = nes_lab.list_runs(group="digits-front")
figures.trade_off(runs)

# %% [markdown]
# Small dots are single runs, large marks the means over seeds. The bars and the band are one standard deviation over
# seeds. A line joins the settings that no cheaper one of the same routing beats; these are the **Pareto front** of
# the routing. Hollow marks are beaten by a cheaper setting.
#
# ## 3. The verdict
#
# The library compares two settings by the 95 % interval of the difference of their means (Welch's interval). If 0 is
# inside, it does not call one better.

# %%
verdict = nes_lab.best_setting(runs)
print(verdict)

# %%
small = nes_lab.best_setting(runs, budget=800e3)
print(small)

# %% [markdown]
# Now the predictions. The means and their spread are in `result.settings`:

# %%
means = {}
for setting in result.settings:
    chosen = setting.settings["compression"]
    means[chosen["madds"], chosen["routing"]] = setting.mean["top1"]
    print(chosen["routing"], chosen["madds"], f"standard deviation over seeds: {setting.std['top1']:.1f} points")

found = {
    "more MAdds are better, for tiled": means["70%", "tiled"] > means["40%", "tiled"],
    "a routing is told from the other, at the same budget": any(
        one.gap.sign != 0 for one in small.comparisons if one.gap.is_known
    ),
    "some setting is not told apart from the best": any(one.gap.sign == 0 for one in verdict.comparisons),
}
for claim, expected in predictions.items():
    print("as predicted:    " if found[claim] == expected else "NOT as predicted:", claim, "->", found[claim])

# %% [markdown]
# Read the lines above together with the standard deviations: where they are several points, three seeds cannot show a
# difference of one or two. A failed prediction is a finding about these tiny trainings, not about the method.
#
# ## 4. Which setting mattered?
#
# Optuna, which keeps the trials of a sweep, computes **importances**: how much everything that varies (here the section
# `compression` and the seed) separates the best trials from the others. The share of the seed is that of chance.
#
# **Prediction.** The seed cannot change the MAdds of a network, so there its share is 0. For the accuracy it has a
# share.

# %%
importances = {objective: nes_lab.sweep_importances(result, objective) for objective in ("madds", "top1")}
for objective, shares in importances.items():
    print(objective, {path: f"{share:.0%}" for path, share in shares.items()})
assert importances["madds"]["seed"] < 0.01
print("as predicted" if importances["top1"]["seed"] > 0.05 else "NOT as predicted: the seed has no share")

# %% [markdown]
# Importances say what separates the best trials, not how large the difference is.
#
# ## 5. Nothing runs twice
#
# If a sweep is interrupted, or its process is killed, the same call continues it. We call it again.
#
# **Prediction.** It starts no run: the runs are the same, each was begun once, and the results are equal.

# %%
again = nes_lab.run_sweep({**sweep, "space": {**space, "seed": [0, 1, 2]}}, jobs=3)
assert again.trials == result.trials
assert {run.id for run in nes_lab.list_runs(group="digits-front")} == {run.id for run in runs}
assert all(run.info.attempt == 1 for run in nes_lab.list_runs(group="digits-front"))
print("as predicted: no run was started")

# %% [markdown]
# ## 6. Beside published numbers and a measured study
#
# Numbers from papers are of other data, other training and other code. They do not belong in one picture with ours,
# so they have a panel of their own, in gray, with the source in the hover text.

# %%
figures.published()

# %% [markdown]
# What our own accuracy study measured has another panel, because its networks had another recipe than these runs. It compares
# epitomes with narrower networks of equal cost, each trained alike with three seeds.

# %%
figures.measured_study()

# %% [markdown]
# ## What it means
#
# * Compare settings, not runs. The spread over seeds says which differences mean something. With one seed, none does.
# * "Not told apart" is not "equal": more seeds or longer training may tell them apart. Add seeds to the list and call
#   again.
# * These networks train for two epochs, far too short for a claim about routings. The sweep that backs a claim has
#   the same form, with more epochs and seeds: see `docs/sweeps.md`, which also says how to use a cluster.
#
# Next: notebook 08 asks what a compressed network looks at.
