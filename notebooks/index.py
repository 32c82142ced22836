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
# # NES Lab in notebooks
#
# Each notebook asks a question, predicts the answer, runs the experiment, and compares. Each runs from top to bottom in
# under a minute and a half on a laptop, and none needs the internet. Begin with 01: it explains the words of all others.
#
# * [01 · An epitome by hand](01_epitome_by_hand.ipynb): what is stored, how a weight is read from it, and why
#   multiply-adds fall.
# * [02 · Who sets the starts](02_who_sets_the_starts.ipynb): fixed rules, free numbers and the index learner on the same
#   task.
# * [03 · The same result at a tenth of the cost](03_same_result_at_a_tenth.ipynb): the ways to compute one layer, counted
#   and timed, and when they save nothing.
# * [04 · Compress a backbone to a budget](04_compress_a_backbone.ipynb): from a budget to a plan to a smaller network.
# * [05 · Fit a pretrained network](05_fit_a_pretrained_network.ipynb): epitomes fitted to weights that are already
#   trained.
# * [06 · ImageNet fine-tuning](06_imagenet_finetuning.ipynb): the full recipe on the real folder layout.
# * [07 · Sweep and Pareto front](07_sweep_and_pareto.ipynb): many runs as one study, and which of them are worth their
#   cost.
# * [08 · What did it look at](08_what_did_it_look_at.ipynb): attributions of a dense and a compressed network, side by side.
#
# Results of experiments behind the notebooks, failed ones too, are in [LOG.md](LOG.md). In the app (`make app`), the same
# figures show your own runs.
