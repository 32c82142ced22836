"""From a file to trials: every combination once, each a valid experiment, and mistakes that name their place."""

import subprocess
import sys

import pytest

from nes_lab.config import load_sweep
from nes_lab.errors import OptionError
from nes_lab.sweeps.space import base_tree, candidate, check_corners, decode, encode, enumerate_trials


def labels(**tree):
    return [trial.label for trial in enumerate_trials(load_sweep({"name": "s", **tree}), tree.get("base", {}))]


def test_a_grid_is_every_combination_in_the_order_written():
    space = {"compression.madds": ["50%", "70%"], "compression.routing": ["tiled", "free"], "seed": [0, 1, 2]}
    found = labels(space=space)
    assert len(found) == 12
    assert found[:4] == [
        f"MAdds 50 %, {r}, seed {s}" for r, s in (("tiled", 0), ("tiled", 1), ("tiled", 2), ("free", 0))
    ]
    assert labels(space=space, trials=5) == found[:5]


def test_a_dense_network_has_no_fields_of_compression_and_appears_once():
    space = {"compression": [None, {"madds": "50%"}], "compression.routing": ["tiled", "free"], "seed": [0, 1]}
    assert labels(space=space) == [
        "dense, seed 0",
        "dense, seed 1",
        *(f"compressed (MAdds 50 %), {routing}, seed {seed}" for routing in ("tiled", "free") for seed in (0, 1)),
    ]


def test_the_base_stays_and_only_the_space_changes():
    base = {"compression": {"madds": "50%", "round_to": 2}, "training": {"epochs": 3}}
    sweep = load_sweep({"name": "s", "base": base, "space": {"compression.routing": ["free"], "backbone.width": [0.5]}})
    (trial,) = enumerate_trials(sweep, base)
    assert trial.config.compression.round_to == 2 and trial.config.compression.routing == "free"
    assert (trial.config.training.epochs, trial.config.backbone.width) == (3, 0.5)
    assert base == {"compression": {"madds": "50%", "round_to": 2}, "training": {"epochs": 3}}


def test_ranges_with_a_step_are_lists():
    lrs = labels(space={"training.lr": {"low": 0.1, "high": 0.3, "step": 0.1}})
    assert lrs == [f"learning rate 0.{n}" for n in (1, 2, 3)]
    assert labels(space={"seed": {"low": 2, "high": 7, "step": 2}}) == ["seed 2", "seed 4", "seed 6"]


def test_random_trials_depend_on_seed_and_number_alone():
    space = {"training.lr": {"low": 1e-3, "high": 1, "log": True}, "seed": {"low": 0, "high": 10**6}}
    few, many = (labels(space=space, sampler="random", trials=trials) for trials in (3, 9))
    assert many[:3] == few and len(set(many)) == 9
    assert labels(space=space, sampler="random", trials=3, seed=1) != few
    assert len(labels(space={"seed": [0, 1, 2]}, sampler="random", trials=50)) == 3  # there are no more


def test_equal_experiments_share_a_key_whatever_their_label():
    assert (
        candidate({"label": "a"}, {"seed": 1}).key == candidate({"label": "b", "seed": 1}, {"training.epochs": 20}).key
    )
    assert candidate({}, {"seed": 1}).key != candidate({}, {"seed": 2}).key


def test_what_optuna_keeps_can_be_read_back():
    sweep = load_sweep({"name": "s", "space": {"compression": [None, {"madds": "50%"}], "seed": {"low": 0, "high": 4}},
                        "sampler": "random", "trials": 1})  # fmt: skip
    for value in sweep.space["compression"]:
        assert decode(sweep, {"compression": encode(value), "seed": 3}) == {"compression": value, "seed": 3}


def test_a_base_is_a_tree_a_file_or_a_recipe(tmp_path):
    (tmp_path / "base.yaml").write_text("training: {epochs: 4}")
    (tmp_path / "sweep.yaml").write_text("name: s\nbase: base.yaml\nspace: {seed: [0]}")
    assert base_tree(load_sweep(tmp_path / "sweep.yaml").base) == {"training": {"epochs": 4}}
    assert base_tree("audio") == base_tree("audio/standard") and base_tree("audio")["backbone"]["name"] == "m5"
    with pytest.raises(OptionError, match=r"'cifar11' is neither a file nor a recipe.*Did you mean 'cifar10'"):
        base_tree("cifar11")
    with pytest.raises(OptionError, match="variant='fast' is not known"):
        base_tree("audio/fast")
    with pytest.raises(OptionError, match=r"gone\.yaml cannot be read"):
        base_tree("gone.yaml")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"space": {"compression.mads": ["50%"]}}, r"space: 'compression.mads' is not a field.*Did you mean 'compression.madds'"),
        ({"space": {"lr": [1]}}, "Did you mean 'training.lr'"),
        ({"space": {"seed": 3}}, "seed=3 should be a list"),
        ({"space": {"seed": []}}, "seed has no values"),
        ({"space": {"seed": [1, 2, 1]}}, "seed lists 1 twice"),
        ({"space": {}}, "space"),
        ({"space": {"training.lr": {"low": 1, "hihg": 2}}}, "space.training.lr.hihg is not a known field. Did you mean 'high'"),
        ({"space": {"training.lr": {"low": 2, "high": 1}}}, "low=2 should be below high=1"),
        ({"space": {"training.lr": {"low": 0, "high": 1, "log": True}}}, "needs low above 0"),
        ({"space": {"training.lr": {"low": 0.1, "high": 1}}}, "space.training.lr needs a step in a grid"),
        ({"space": {"seed": {"low": 0, "high": 10**9, "step": 1}}}, "more than 100,000"),
        ({"space": {"seed": list(range(400)), "training.epochs": list(range(1, 400))}}, "159,600 combinations"),
        ({"sampler": "gird"}, "sampler=\"gird\".*Did you mean 'grid'"),
        ({"sampler": "tpe"}, "sampler=tpe needs trials"),
        ({"objectives": {"top": "maximize"}}, "'top' is not a number of a run.*top1"),
        ({"objectives": {"top1": "max"}}, "objectives.top1=\"max\""),
        ({"name": "A b"}, 'name="A b"'),
        ({"name": None}, "name"),
        ({"retrys": 1}, "retrys is not a known field. Did you mean 'retries'"),
        ({"trials": 0}, "trials=0"),
        ({"base": 3}, "base=3: should be sections of an experiment"),
    ],
)  # fmt: skip
def test_mistakes_name_their_place(tree, changed, message):
    with pytest.raises(OptionError, match=f"(?s){message}"):
        load_sweep(tree(**changed))


def test_a_wrong_combination_is_found_before_anything_starts():
    with pytest.raises(OptionError, match=r"trial \(tild\): compression.routing='tild'.*Did you mean 'tiled'"):
        labels(base={"compression": {"madds": "50%"}}, space={"compression.routing": ["tiled", "tild"]})
    tree = {"name": "s", "sampler": "tpe", "trials": 3, "space": {"training.lr": {"low": 0.1, "high": 1000.0}}}
    with pytest.raises(OptionError, match=r"training.lr=1000"):
        check_corners(load_sweep(tree), {})


def test_the_command_and_the_public_names_wait_with_what_is_heavy():
    code = "import nes_lab, sys; nes_lab.run_sweep, nes_lab.SweepResult; import nes_lab.cli.sweep\n"
    code += "print([name for name in ('torch', 'ray', 'optuna', 'timm') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
