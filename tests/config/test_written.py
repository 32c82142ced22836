"""A configuration as a command, as Python and as YAML: all three give the same configuration again."""

import ast
import shlex

import pytest
import yaml

from nes_lab.cli import train as command
from nes_lab.config import load_config
from nes_lab.config.written import as_command, as_python, as_yaml, given_fields
from nes_lab.errors import OptionError

EXPERIMENTS = {
    "budget": {"compression": {"madds": "60%", "routing": "learner", "params": None}},
    "lists": {
        "label": 'it\'s "mine" $HOME',
        "compression": {
            "params": "50%",
            "include": ["blocks.*", "head"],
            "patch_channels": [8, 16],
            "overrides": {"head*": {"ratio": 0.5}},
            "reach": 0.5,
        },
        "data": {"name": "cifar10", "download": True, "class_order": "natural"},
        "backbone": {"options": {"drop_rate": 0.2}},
        "training": {"trackers": ["tensorboard"], "clip_grad": 1.0, "ema_warmup": False},
    },
    "fitted layer after layer": {
        "backbone": {"name": "resnet18", "pretrained": True},
        "compression": {
            **{"params": "50%", "initial_weights": "fit", "search_starts": True, "calibration": 64},
            "sequential": True,
        },
    },
    "named compression": {"compression": {"preset": "small_file", "epitome_dtype": "int8"}},
    "dense from a run": {"seed": 7, "start": "20261122-101500-digits-3f9c:best", "training": {"epochs": 3}},
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_command_python_and_yaml_give_the_same_configuration(name, monkeypatch):
    config = EXPERIMENTS[name]
    wanted = load_config(config)
    assert load_config(yaml.safe_load(as_yaml(config))) == wanted
    call = ast.parse(as_python(config)).body[1].value
    assert load_config(ast.literal_eval(call.args[0])) == wanted
    asked = {}
    monkeypatch.setattr(command, "train", lambda tree, **given: asked.update(given, tree=tree) or _Finished())
    monkeypatch.setattr(command, "print_end", lambda run: 0)
    program, verb, *words = shlex.split(as_command(config))
    assert (program, verb) == ("nes-lab", "train") and command.run_command(words) == 0
    start = {} if asked["start"] is None else {"start": asked["start"]}
    assert load_config(asked["tree"] | start, asked["overrides"]) == wanted


class _Finished:
    pass


def test_the_configuration_of_a_run_is_written_without_its_defaults():
    full = load_config({"compression": {"madds": "60%"}, "training": {"epochs": 3}}).to_dict()
    assert given_fields(full) == {"compression": {"madds": "60%"}, "training": {"epochs": 3}}


@pytest.mark.parametrize("words", [[], ["--variant", "modern", "--seed", "3"]])
def test_train_says_what_is_missing(words):
    with pytest.raises(OptionError, match="recipe"):
        command.run_command(words)
