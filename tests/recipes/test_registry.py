"""Recipes by name: every variant is a valid experiment, and dense and epitome differ in compression alone."""

from __future__ import annotations

import json

import pytest
import yaml

from nes_lab.cli.entry import main
from nes_lab.config import load_config
from nes_lab.errors import OptionError
from nes_lab.recipes.registry import experiment_tree, recipe, recipe_names
from tests.house.tree import ROOT

ALL = [(name, variant) for name in recipe_names() for variant in recipe(name).variants]
WANTED = {"imagenet_mobilenetv2", "imagenet_efficientnet_b0", "imagenet_finetune", "cifar10", "audio", "digits"}


def test_the_recipes_that_were_promised_are_there():
    assert set(recipe_names()) == WANTED
    for name in ("imagenet_mobilenetv2", "imagenet_efficientnet_b0"):
        assert set(recipe(name).variants) == {"authors", "modern"}


@pytest.mark.parametrize(("name", "variant"), ALL)
def test_each_is_a_valid_experiment_and_says_which(name, variant):
    config = load_config(recipe(name).tree(variant))
    assert config.compression is not None
    assert config.label == f"{name}/{variant}"
    assert recipe(name).source and recipe(name).about


@pytest.mark.parametrize(("name", "variant"), ALL)
def test_dense_has_the_same_data_and_training(name, variant):
    small, dense = (load_config(recipe(name).tree(variant, dense=flag)) for flag in (False, True))
    assert dense.compression is None and dense.data == small.data
    differing = {
        key
        for key, value in small.training.model_dump().items()
        if value != getattr(dense.training, key) and not key.startswith(("starts_", "kd_"))
    }
    assert not differing and small.backbone == dense.backbone and small.seed == dense.seed


def test_the_authors_recipe_is_what_their_scripts_say():
    """Figures of method.md section 10, checked one by one; a step of 1,024 images."""
    config = load_config(recipe("imagenet_efficientnet_b0").tree("authors"))
    t = config.training
    assert (t.optimizer, t.momentum, t.optimizer_options) == ("rmsproptf", 0.9, {"alpha": 0.9, "eps": 1e-3})
    assert (t.lr, t.warmup_epochs, t.warmup_lr, t.schedule) == (0.12, 5, 1e-6, "step")
    assert (t.decay_epochs, t.decay_rate, t.weight_decay, t.label_smoothing) == (3, 0.97, 1e-5, 0.1)
    assert (t.ema_decay, t.ema_warmup, t.epochs) == (0.9998, False, 550)
    assert config.data.batch_size * t.accumulate * t.processes == 1024
    assert config.data.color_jitter == 0.4 and config.backbone.options["drop_rate"] == 0.2


def test_the_page_names_every_recipe_and_training():
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    for name, variant in ALL:
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        assert f"`{variant}`" in row


def test_changing_a_tree_leaves_the_recipe_alone():
    tree = recipe("audio").tree()
    tree["data"]["batch_size"] = -1
    assert recipe("audio").tree()["data"]["batch_size"] == 16


@pytest.mark.parametrize(
    ("name", "variant", "message"),
    [
        ("cifar11", None, "neither a file nor a recipe. Did you mean 'cifar10'"),
        ("cifar10", "authors", "variant='authors' is not known; choose one of standard, strong"),
        ("nowhere.yaml", None, "nowhere.yaml cannot be read"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_ones(name, variant, message):
    with pytest.raises(OptionError, match=message):
        experiment_tree(name, variant)


def test_a_file_can_be_trained_dense_and_has_no_variants(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("compression: {params: 50%}\ntraining: {epochs: 2, kd_weight: 0.5}\n")
    assert load_config(experiment_tree(path, dense=True)).compression is None
    assert load_config(experiment_tree(path)).compression is not None
    with pytest.raises(OptionError, match="has no variants"):
        experiment_tree(path, "authors")


def test_the_command_prints_what_train_takes(capsys, tmp_path):
    assert main(["recipes"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in recipe_names())
    assert main(["recipes", "cifar10", "--variant", "strong", "--dense"]) == 0
    printed = capsys.readouterr().out
    assert load_config(yaml.safe_load(printed)) == load_config(recipe("cifar10").tree("strong", dense=True))
    assert main(["recipes", "--json"]) == 0
    assert {item["name"] for item in json.loads(capsys.readouterr().out)} == WANTED
    assert main(["recipes", "--dense"]) == 2
    assert "need the name of a recipe" in capsys.readouterr().err
    assert main(["recipes", "cifr10"]) == 2
    assert "cifar10" in capsys.readouterr().err
    assert main(["train", "cifar10", "--varant", "strong"]) == 2
    assert "Did you mean '--variant'" in capsys.readouterr().err
