"""The configuration: what it takes, what it refuses, and how it says so."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from nes_lab.config import knobs, load_config
from nes_lab.config.sweep import load_sweep
from nes_lab.errors import OptionError
from nes_lab.recipes.registry import experiment_tree
from nes_lab.sweeps.space import check_space, key_of


def test_several_mistakes_are_a_list_without_stray_spaces():
    with pytest.raises(OptionError) as caught:
        load_config({"seed": -1, "training": {"epochs": 0}})
    lines = str(caught.value).splitlines()
    assert lines[0] == "config:" and len(lines) == 3


@pytest.mark.parametrize("text", ["tensorboard,wandb", "[tensorboard, wandb]", " ['tensorboard', \"wandb\"] "])
def test_a_list_on_the_command_line(text):
    assert load_config({}, {"training.trackers": text}).training.trackers == ("tensorboard", "wandb")


def test_defaults_round_trip_through_json_values():
    config = load_config({})
    assert load_config(config.to_dict()) == config
    assert config.training.epochs == 20
    assert config.compression is None


def test_every_field_has_a_description():
    assert [knob.path for knob in knobs() if not knob.description] == []
    assert {"training.lr", "compression.routing", "seed"} <= {knob.path for knob in knobs()}


def test_a_config_cannot_be_changed():
    with pytest.raises(ValidationError):
        load_config({}).training.lr = 3


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"trainin": {}}, ["trainin", "Did you mean 'training'?"]),
        ({"training": {"epoch": 3}}, ["training.epoch ", "'epochs'"]),
        ({"epochs": 3}, ["epochs", "Did you mean 'training.epochs'?"]),
        ({"training": {"lr": float("nan")}}, ["training.lr=nan", "finite"]),
        ({"training": {"lr": float("inf")}}, ["training.lr=inf"]),
        ({"training": {"lr": 1e99}}, ["training.lr=1e+99"]),
        ({"training": {"lr": -1}}, ["training.lr=-1", "greater than 0"]),
        ({"training": {"epochs": True}}, ["training.epochs=True"]),
        ({"training": {"epochs": 1e99}}, ["training.epochs=1e+99"]),
        ({"training": {"epochs": 2, "warmup_epochs": 3}}, ["training", "warmup_epochs=3"]),
        ({"training": {"device": "cuda; rm"}}, ["training.device"]),
        ({"training": None}, ["training"]),
        ({"data": {"name": "digit"}}, ["data.name='digit'", "Did you mean 'digits'?"]),
        ({"data": {"batch_size": 0}}, ["data.batch_size=0"]),
        ({"data": {"workers": -1}}, ["data.workers=-1"]),
        ({"data": [1]}, ["data"]),
        ({"compression": {}}, ["compression", "params, madds"]),
        ({"compression": {"madds": "50%", "preset": "released_x2"}}, ["compression", "not both"]),
        ({"compression": {"madds": "150%"}}, ["compression.madds='150%'"]),
        ({"compression": {"madds": "-5M"}}, ["compression.madds='-5M'"]),
        ({"compression": {"params": float("nan")}}, ["compression.params=nan"]),
        ({"compression": {"params": 1e99}}, ["compression.params=1e+99"]),
        ({"compression": {"params": True}}, ["compression.params=True"]),
        ({"compression": {"params": 0.5, "routing": "tilde"}}, ["compression.routing='tilde'", "'tiled'"]),
        ({"seed": -1}, ["seed=-1"]),
        ({"schema_version": 0}, ["schema_version=0"]),
        ({"label": "x" * 501}, ["label="]),
        ({3: 4}, ["3"]),
    ],
)
def test_a_mistake_names_field_and_value(tree, words):
    with pytest.raises(OptionError) as caught:
        load_config(tree)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "pydantic" not in str(caught.value)


def test_several_mistakes_are_told_at_once():
    with pytest.raises(OptionError) as caught:
        load_config({"seed": -1, "training": {"lr": 0, "epochs": 0}})
    assert all(path in str(caught.value) for path in ("seed", "training.lr", "training.epochs"))


def test_overrides_win_and_may_open_a_section():
    config = load_config({"seed": 1}, {"seed": "7", "compression.params": "50%", "compression.include": "a,b"})
    assert config.seed == 7
    assert config.compression.params == "50%"
    assert config.compression.include == ("a", "b")
    assert load_config(config.to_dict(), {"compression": "none"}).compression is None


@pytest.mark.parametrize("empty", [None, "none", {}])
def test_an_override_opens_an_empty_section_and_replaces_no_value(empty):
    assert load_config({"compression": empty}, {"compression.params": "50%"}).compression.params == "50%"
    with pytest.raises(OptionError, match=r"--training\.lr 0\.1: training=3 is not a section"):
        load_config({"training": 3}, {"training.lr": "0.1"})


def test_index_learners_that_rest_are_refused_in_several_processes():
    assert load_config({"training": {"learner_every": 4}}).training.learner_every == 4
    with pytest.raises(OptionError, match="learner_every=4 works in one process only, and processes=2"):
        load_config({"training": {"learner_every": 4, "processes": 2}})


@pytest.mark.parametrize("name", ["starts_freeze_epoch", "starts_snap_epoch"])
def test_an_epoch_that_never_comes_is_refused(name):
    assert load_config({"training": {"epochs": 5, name: 5}})
    with pytest.raises(OptionError, match=f"{name}=5 never comes: it should be at most epochs=4"):
        load_config({"training": {"epochs": 4, name: 5}})


def test_a_device_of_another_name_is_told_those_there_are():
    assert load_config({"training": {"device": "cuda:1"}}).training.device == "cuda:1"
    with pytest.raises(OptionError, match=r"training\.device='gpu': it should be auto, cpu, mps, cuda or cuda:1"):
        load_config({"training": {"device": "gpu"}})


def test_the_mapping_given_is_left_alone():
    tree = {"training": {"epochs": 3}}
    load_config(tree, {"training.epochs": "5"})
    assert tree == {"training": {"epochs": 3}}


@pytest.mark.parametrize("content", ["", "# data: digits\n", "---\n"])
def test_read_yaml_refuses_a_file_without_content(tmp_path, content):
    path = tmp_path / "empty.yaml"
    path.write_text(content)
    for read in (load_config, load_sweep, experiment_tree):
        with pytest.raises(OptionError, match=r"empty\.yaml is empty; give it sections.*or write \{\}"):
            read(path)
    path.write_text("{}")
    assert load_config(path) == load_config({})


def test_yaml_with_its_traps(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("training: {lr: 1e-2, amp: off, ema_decay: null}\ndata: {download: no}\n")
    config = load_config(file)
    assert (config.training.lr, config.training.amp, config.training.ema_decay) == (0.01, "off", None)


@pytest.mark.parametrize(
    "content",
    [b"a: [", b"- 1\n", b"just text", b"\xff\xfe\x00", b"a: \x00"],
)
def test_a_bad_file_is_one_clear_error(tmp_path, content):
    file = tmp_path / "a.yaml"
    file.write_bytes(content)
    with pytest.raises(OptionError, match=r"a\.yaml"):
        load_config(file)


@pytest.mark.parametrize(
    "text", ["training: {lr: 1, epochs: 2, lr: 3}", "training: {lr: 1}\nseed: 3\ntraining: {epochs: 2}"]
)
def test_what_is_given_twice_is_refused(tmp_path, text):
    """YAML's usual reader keeps the last one: half of an experiment was gone without a word."""
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(OptionError, match=r"a\.yaml is not valid YAML: (lr|training) is given twice in one section"):
        load_config(file)


def test_merged_sections_may_differ(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("training: {<<: {lr: 1, epochs: 2}, lr: 3}")
    training = load_config(file).training
    assert (training.lr, training.epochs) == (3, 2)


def test_paths_hold_wherever_a_run_is_resumed(tmp_path, monkeypatch):
    """A run that began with --data.root images could be resumed from one folder only; ~ was taken for a folder's name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ann")
    data = load_config({"data": {"root": "images"}}).data
    assert data.root == tmp_path / "images"
    config = load_config({"data": {"root": "~/images"}, "backbone": {"checkpoint": "net.safetensors"}})
    assert (config.data.root, config.backbone.checkpoint) == (Path("/home/ann/images"), tmp_path / "net.safetensors")
    monkeypatch.chdir("/")
    assert load_config(config.to_dict()) == config
    with pytest.raises(OptionError, match=r"data\.root='~nobody-here/x': there is no home folder ~nobody-here"):
        load_config({"data": {"root": "~nobody-here/x"}})


def test_a_file_cannot_run_commands(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(f"a: !!python/object/apply:os.system ['touch {tmp_path}/ran']")
    with pytest.raises(OptionError, match="not valid YAML"):
        load_config(file)
    assert not (tmp_path / "ran").exists()


def test_a_missing_file_is_one_clear_error(tmp_path):
    with pytest.raises(OptionError, match="cannot be read"):
        load_config(tmp_path / "none.yaml")


def test_config_imports_no_torch():
    code = "import nes_lab.config, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_time_budget_a_strategy_and_overrides_can_be_asked_for():
    asked = {"latency_ms": "75%", "strategy": "sensitivity", "overrides": '{"head*": {"ratio": 0.5}}'}
    found = load_config({"compression": asked}).compression
    assert found is not None
    assert (found.latency_ms, found.strategy, found.overrides) == ("75%", "sensitivity", {"head*": {"ratio": 0.5}})
    assert load_config(load_config({"compression": asked}).to_dict()) == load_config({"compression": asked})


@pytest.mark.parametrize(
    ("given", "expected"), [(16, 16), ("16", 16), ("16,32", (16, 32)), ([16, 32], (16, 32)), ("", None), ("none", None)]
)
def test_patch_channels_are_one_number_or_a_pair(given, expected):
    config = load_config({"compression": {"madds": "50%", "patch_channels": given}})
    assert config.compression is not None and config.compression.patch_channels == expected
    assert load_config(config.to_dict()) == config


FITTED = {"params": "50%", "initial_weights": "fit", "search_starts": True, "calibration": 64, "sequential": True}


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"latency_ms": "120%"}, "latency_ms='120%' is more than the dense model"),
        ({"latency_ms": True}, "it should be a number"),
        ({"latency_ms": 5, "preset": "both_axes"}, "or a preset, not both"),
        ({"madds": "50%", "strategy": "sensitivty"}, "Did you mean 'sensitivity'"),
        ({"madds": "50%", "overrides": "{"}, "as text it should be JSON"),
        ({"madds": "50%", "overrides": {"head": 3}}, "compression.overrides"),
        ({}, "latency_ms or several"),
        ({"madds": "50%", "sequential": True}, "sequential=true needs calibration.* such as 256"),
        (FITTED | {"params": None, "preset": "small_file"}, "sequential=true does not go with preset='small_file'"),
        (FITTED | {"share": "stage"}, "sequential=true does not go with share='stage'"),
        ({"madds": "50%", "patch_channels": [4, 8, 16]}, "or a pair such as 16,32"),
        ({"madds": "50%", "patch_channels": "0,4"}, "or a pair such as 16,32"),
        ({"madds": "50%", "patch_channels": True}, "or a pair such as 16,32"),
    ],
)
def test_wrong_compressions_are_named(asked, says):
    with pytest.raises(OptionError, match=says):
        load_config({"compression": asked})


@pytest.mark.parametrize(
    ("old", "new"), [("search", ("fit", True)), ("fit", ("fit", False)), ("reset", ("reset", False))]
)
def test_load_config_reads_the_old_field_weights_and_names_the_new_ones(old, new):
    recipe = {"compression": {"madds": 0.5, "initial_weights": "fit", "search_starts": True}}
    with pytest.warns(FutureWarning, match=r"compression\.initial_weights=.* and compression\.search_starts="):
        from_file = load_config({"compression": {"madds": 0.5, "weights": old}}).compression
    with pytest.warns(FutureWarning, match="the old name still works"):
        from_flag = load_config(recipe, {"compression.weights": old}).compression
    sweep = load_sweep({"name": "a", "base": recipe, "space": {"compression.weights": [old]}})
    with pytest.warns(FutureWarning, match="the old name still works"):
        (trial,) = check_space(sweep).candidates
    for section in (from_file, from_flag, trial.config.compression):
        assert section is not None and (section.initial_weights, section.search_starts) == new
    stored = trial.config.to_dict()
    before = stored["compression"] | {"weights": old}
    del before["initial_weights"], before["search_starts"]
    assert trial.key == key_of(stored) == key_of(stored | {"compression": before})


def test_load_config_refuses_a_field_under_its_old_and_its_new_name():
    with pytest.warns(FutureWarning), pytest.raises(OptionError, match=r"compression.initial_weights is given twice"):
        load_config({"compression": {"madds": 0.5, "weights": "fit", "initial_weights": "fit"}})
