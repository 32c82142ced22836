"""A run continues only with the settings and the data it was trained with; a refusal changes nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest

import nes_lab
from nes_lab.cli.entry import main
from nes_lab.config import ExperimentConfig, Knob, Section, knobs, load_config
from nes_lab.config.on_resume import MAY_CHANGE, MAY_MOVE, on_resume
from nes_lab.datasets.digits import load_digits
from nes_lab.errors import CheckpointError, NesLabError
from nes_lab.experiment import attempt, same_data
from nes_lab.experiment.run import Run
from nes_lab.experiment.run_experiment import resume, run_experiment
from nes_lab.experiment.same_settings import check_settings, settings_record
from nes_lab.runs import layout, spawn
from nes_lab.runs.files import read_json, write_json
from nes_lab.runs.store import RunStore
from nes_lab.runs.writer import RunWriter
from nes_lab.sweeps.executors import LocalExecutor
from tests.datasets.samples import make_tree, save_image
from tests.experiment.test_run_experiment import stop_after

TOGETHER: dict[str, dict[str, Any]] = {
    "compression.preset": {"compression.params": None, "compression.preset": "both_axes"},
    "compression.search_starts": {"compression.search_starts": False, "compression.calibration": 0},
    "compression.initial_weights": {
        "compression.initial_weights": "reset",
        "compression.search_starts": False,
        "compression.calibration": 0,
    },
    "backbone.pretrained": {"backbone.pretrained": True, "backbone.checkpoint": None},
    "data.name": {"data.name": "cifar10"},
    "backbone.name": {"backbone.name": "resnet18"},
    "start": {"start": "a-run"},
    "training.device": {"training.device": "cpu"},
    "training.trackers": {"training.trackers": ["mlflow"]},
    "training.epochs": {"training.epochs": 30},
    "data.augment": {"data.augment": "none"},
    "data.root": {"data.root": "/elsewhere"},
    "data.class_order": {"data.class_order": "natural"},
    "data.skip_broken": {"data.skip_broken": 0.005},
    "training.min_lr": {"training.min_lr": 0.001},
}
"""Edits that need a value of their own, or that are valid only together. Every other field gets the value of ``other_value``."""


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != layout.LOCK  # the lock names the process that held it last
    }


def edit(run: Path, **fields: Any) -> None:
    """Change fields of a run's ``config.json``, by dotted path."""
    tree = read_json(run / layout.CONFIG)
    for path, value in fields.items():
        section, _, name = path.rpartition(".")
        (tree[section] if section else tree)[name] = value
    write_json(run / layout.CONFIG, tree)


def annotation_of(path: str) -> Any:
    section: Any = ExperimentConfig
    *parents, name = path.split(".")
    for parent in parents:
        kinds = (section.model_fields[parent].annotation, *get_args(section.model_fields[parent].annotation))
        section = next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section))
    return section.model_fields[name].annotation


def other_value(knob: Knob, value: Any, place: Path) -> Any:
    """Return another valid value of a field, by the type that the field has."""
    kinds = {annotation_of(knob.path), *get_args(annotation_of(knob.path))}
    if knob.choices:
        return next(word for word in knob.choices if word != value)
    if bool in kinds:
        return not value
    if Path in kinds:
        (place / "moved").mkdir()
        return str(shutil.copy(value, place / "moved"))
    if isinstance(value, dict) or "dict" in str(annotation_of(knob.path)):
        return {"x": {}} if knob.path.endswith("overrides") else {"eps": 0.5}
    if "tuple[str" in str(annotation_of(knob.path)):
        return ["layer"]
    if isinstance(value, str) and "%" in value:
        return "40%"
    if isinstance(value, str):
        return "other"
    if int in kinds:
        return 17 if value is None else value + 1
    return 0.5 if not value else value / 2


def paused_run(tmp_path: Path) -> tuple[RunStore, Path]:
    """Make a run that has trained to a checkpoint, without training."""
    weights = tmp_path / "dense.safetensors"
    weights.write_bytes(b"weights")
    tree = {
        "data": {"root": str(tmp_path)},
        "backbone": {"checkpoint": str(weights)},
        "compression": {"params": "70%", "initial_weights": "fit", "search_starts": True, "calibration": 8},
        "training": {"kd_checkpoint": str(weights)},
    }
    store, config = RunStore(tmp_path / "runs"), load_config(tree)
    run_id = store.create(config.to_dict())
    with RunWriter(store, run_id) as writer:
        files = [*writer.checkpoint_paths(4), writer.checkpoint_dir / ".saving-step-00000004-a01.json"]
        for path in files:
            path.write_bytes(b"x")
        write_json(files[-1], settings_record(config, load_digits(limit=32).identity))
        writer.commit_checkpoint(4, files)
        writer.status("cancelled", step=4, total=40, reason="cancelled on request")
    return store, store.path(run_id)


@pytest.mark.parametrize("path", [knob.path for knob in knobs()])
def test_check_settings_refuses_or_allows_every_field(tmp_path, monkeypatch, path):
    """Walk the fields of the model. A field is refused by its path, or allowed with an event that names it."""
    store, folder = paused_run(tmp_path)
    run_id, knob = folder.name, next(knob for knob in knobs() if knob.path == path)
    section, _, name = path.rpartition(".")
    tree = read_json(folder / layout.CONFIG)
    value = (tree[section] if section else tree).get(name)
    edit(folder, **(TOGETHER.get(path) or {path: other_value(knob, value, tmp_path)}))
    before = files_of(folder)
    if on_resume(path) == "decides":
        run = Run(store, run_id)
        in_app = lambda: run.resume(detach=True)  # noqa: E731  the button of the app
        for act in (run.resume, in_app, lambda: run.extend(60), lambda: resume(store, run_id)):
            with pytest.raises(NesLabError) as refusal:
                act()
            assert path in str(refusal.value)
            assert files_of(folder) == before
        return
    monkeypatch.setattr(same_data, "load_dataset", lambda *_, **__: load_digits(limit=32))
    monkeypatch.setattr(attempt, "build", lambda *_: (_ for _ in ()).throw(CheckpointError("far enough")))
    monkeypatch.setattr("nes_lab.experiment.run_experiment.check_trackers", lambda *_: None)
    with pytest.raises(CheckpointError, match="far enough"):
        run_experiment(store, run_id)
    (event,) = [event for event in store.events(run_id) if event["kind"] == "settings_changed"]
    assert list(event["fields"]) == [path]


@pytest.mark.parametrize("path", ["backbone.checkpoint", "training.kd_checkpoint"])
def test_check_settings_sees_a_file_that_was_exchanged(tmp_path, path):
    store, folder = paused_run(tmp_path)
    edit(folder, **{path: str(shutil.copy(tmp_path / "dense.safetensors", tmp_path / "other.safetensors"))})
    Run(store, folder.name).check_resumable()
    (tmp_path / "other.safetensors").write_bytes(b"others!")
    with pytest.raises(CheckpointError, match=f"{path}=.*other.safetensors' has another content"):
        Run(store, folder.name).check_resumable()
    (tmp_path / "other.safetensors").unlink()
    with pytest.raises(CheckpointError, match=f"{path}=.*is missing"):
        Run(store, folder.name).check_resumable()


def test_check_settings_reads_a_budget_in_any_spelling(tmp_path):
    store, folder = paused_run(tmp_path)
    for spelling in ("70.0%", 0.7, " 0.70 ", "7e-1"):
        edit(folder, **{"compression.params": spelling})
        Run(store, folder.name).check_resumable()
    edit(folder, **{"compression.params": "70.1%"})
    with pytest.raises(CheckpointError, match=r"compression.params was 70%, is 70.1%"):
        Run(store, folder.name).check_resumable()


def test_check_settings_names_the_way_to_more_epochs(tmp_path):
    store, folder = paused_run(tmp_path)
    for epochs, advice in (
        (30, r"To train it longer: nes-lab resume \S+ --epochs 30, or"),
        (10, "cannot be made shorter"),
    ):
        edit(folder, **{"training.epochs": epochs})
        with pytest.raises(CheckpointError, match=rf"epochs was 20, is {epochs}\. .*{advice}.* Put back what"):
            Run(store, folder.name).check_resumable()
    edit(folder, **{"training.epochs": 20})
    run = Run(store, folder.name)
    run._extend(30, run.memory)
    run.check_resumable()  # an extension is no edit


def test_check_settings_of_a_record_of_an_older_version_says_that_it_cannot_compare(tmp_path, monkeypatch):
    """A run of an older version resumes, with an event."""
    config = {"data": {"limit": 64, "batch_size": 16}, "training": {"epochs": 6, "threads": 1}}
    store, run_id = RunStore(tmp_path), RunStore(tmp_path).create(load_config(config).to_dict())
    stop_after(monkeypatch, 2)
    run_experiment(store, run_id)
    folder = store.path(run_id)
    manifest = read_json(folder / layout.CHECKPOINTS / layout.MANIFEST)
    for entry in manifest["checkpoints"]:
        (folder / layout.CHECKPOINTS / entry["files"].pop("settings")["name"]).unlink()
    write_json(folder / layout.CHECKPOINTS / layout.MANIFEST, manifest)
    edit(folder, **{"training.lr": 0.01})
    assert resume(store, run_id)["state"] == "finished"
    assert [event["kind"] for event in store.events(run_id)].count("settings_not_compared") == 1


def image_run(tmp_path: Path, epochs: int = 4) -> tuple[RunStore, str, Path]:
    root = make_tree(tmp_path / "data", train=6, val=2, size=8)
    config = {
        "data": {"name": "image_folder", "root": str(root), "image_size": 8, "batch_size": 4},
        "backbone": {"width": 0.35},
        "training": {"epochs": epochs, "threads": 1, "warmup_epochs": 0, "device": "cpu"},
    }
    store = RunStore(tmp_path / "runs")
    return store, store.create(load_config(config).to_dict()), root


def exchange_classes(root: Path) -> None:
    (root / "train" / "cat").rename(root / "train" / "x")
    (root / "train" / "dog").rename(root / "train" / "cat")
    (root / "train" / "x").rename(root / "train" / "dog")


def test_a_run_sees_exchanged_images_and_is_left_as_it_was(tmp_path, monkeypatch):
    """Names, counts and labels are the same; the sizes of the files are not. The data may move to another folder."""
    store, run_id, root = image_run(tmp_path)
    stop_after(monkeypatch, 2)
    run_experiment(store, run_id)
    folder = store.path(run_id)
    exchange_classes(root)
    before = files_of(folder)
    for act in (Run(store, run_id).resume, lambda: Run(store, run_id).extend(6, progress=False)):
        with pytest.raises(CheckpointError, match="content of the training split"):
            act()
        assert files_of(folder) == before
    exchange_classes(root)
    moved = root.rename(tmp_path / "elsewhere")
    edit(folder, **{"data.root": str(moved), "data.workers": 1, "training.keep_checkpoints": 3, "label": "later"})
    assert Run(store, run_id).resume(progress=False).state == "finished"
    (event,) = [event for event in store.events(run_id) if event["kind"] == "settings_changed"]
    assert event["fields"]["data.root"] == {"before": str(root), "now": str(moved)}
    assert list(event["fields"]) == ["label", "data.root", "data.workers", "training.keep_checkpoints"]


def test_a_run_sees_another_order_of_its_classes(tmp_path, monkeypatch):
    """Labels are positions in the list of classes, so another order would permute them."""
    store, run_id, _ = image_run(tmp_path)
    stop_after(monkeypatch, 2)
    run_experiment(store, run_id)
    (tmp_path / "order.txt").write_text("cat\ndog\n")
    edit(store.path(run_id), **{"data.class_order": str(tmp_path / "order.txt")})
    assert check_settings(store.path(run_id))  # the same order, from a file
    (tmp_path / "order.txt").write_text("dog\ncat\n")
    with pytest.raises(CheckpointError, match="classes: another order"):
        Run(store, run_id).resume(progress=False)


def test_a_finished_run_that_may_not_be_extended_stays_finished(tmp_path):
    store, run_id, root = image_run(tmp_path, epochs=1)
    run_experiment(store, run_id)
    before = files_of(store.path(run_id))
    save_image(root / "val" / "cat" / "0.png", 99, size=9)
    with pytest.raises(CheckpointError, match="content of the validation split"):
        Run(store, run_id).extend(2, progress=False)
    edit(store.path(run_id), **{"training.lr": 0.5})
    with pytest.raises(CheckpointError, match=r"training\.lr was 0\.05, is 0\.5"):
        Run(store, run_id).extend(2, progress=False)
    edit(store.path(run_id), **{"training.lr": 0.05})
    assert files_of(store.path(run_id)) == before and store.get(run_id).state == "finished"


@pytest.mark.slow
def test_a_run_that_is_refused_in_the_background_keeps_its_state_and_says_why(tmp_path):
    """Only the process in the background loads the data; the user sees its refusal as the reason of the old state."""
    store, run_id, root = image_run(tmp_path, epochs=1)
    run_experiment(store, run_id)
    save_image(root / "val" / "cat" / "0.png", 99, size=9)
    run = Run(store, run_id).extend(2, detach=True)
    for child in spawn._children:
        child.wait(120)
    info = run.info
    assert info.state == "finished" and "content of the validation split" in info.reason, info
    assert not (run.folder / layout.EXTENSIONS).exists()


@pytest.mark.slow
def test_a_sweep_is_told_that_an_edited_trial_was_refused(tmp_path):
    """A sweep queues its trials itself. The trial ends with the reason, and is not tried again and again."""
    store, folder = paused_run(tmp_path)
    edit(folder, **{"training.lr": 0.5})
    executor, ended = LocalExecutor(store), []
    executor.start(folder.name)
    for child in spawn._children:
        child.wait(120)
    while not ended:
        ended = executor.ended()
    assert ended[0].state == "cancelled" and "training.lr was 0.05, is 0.5" in ended[0].reason
    assert executor.tries == {}


def test_the_command_line_refuses_an_edited_run_by_path(tmp_path, monkeypatch, capsys):
    store, folder = paused_run(tmp_path)
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path))
    edit(folder, **{"compression.params": "50%"})
    for words in (
        ["resume", folder.name],
        ["resume", folder.name, "--epochs", "60"],
        ["resume", folder.name, "--detach"],
    ):
        assert main(words) == 2
        assert "compression.params was 70%, is 50%" in " ".join(capsys.readouterr().err.split())
    assert store.get(folder.name).state == "cancelled"


def test_a_network_of_an_edited_run_is_the_one_it_trained(tmp_path):
    """Loading, exporting and --from follow the record, not what config.json says now."""
    config = {"data": {"limit": 64}, "training": {"epochs": 1, "threads": 1}}
    run = nes_lab.train(config, root=tmp_path, progress=False)
    edit(run.folder, **{"backbone.width": 0.5})
    assert run.network().state_dict().keys() and json.dumps(run.summary["params"]) == str(
        sum(p.numel() for p in run.network().parameters())
    )


def test_the_tables_of_docs_list_the_fields():
    text = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    missing = [path for path in (*MAY_CHANGE, *MAY_MOVE) if f"`{path}`" not in text]
    assert not missing, f"docs/training.md should say that these may change: {missing}"


@pytest.mark.slow
def test_two_processes_refuse_exchanged_images_together(tmp_path):
    """The processes of a training agree on the refusal; the run keeps its state, and the caller gets the error."""
    store, run_id, root = image_run(tmp_path, epochs=1)
    edit(store.path(run_id), **{"training.processes": 2, "data.batch_size": 2})
    run = Run(store, run_id).resume(progress=False)
    before = files_of(run.folder)
    exchange_classes(root)
    with pytest.raises(CheckpointError, match="content of the training split"):
        run.extend(2, progress=False)
    after = files_of(run.folder)
    assert run.state == "finished" and [name for name in after if after[name] != before.get(name)] == [layout.STATUS]
