"""A run starts from a saved folder, another run or a network in memory: with its weights, plan and starts, and resumes bit for bit."""

from __future__ import annotations

import shutil
from functools import partial

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.errors import CheckpointError, OptionError, RunError
from nes_lab.experiment.start_from import open_start
from nes_lab.experiment.train import StartWarning
from nes_lab.runs.query import run_table
from nes_lab.runs.store import RunStore
from tests.export.saving import altered

CONFIG = {
    "data": {"limit": 64, "batch_size": 16},
    "training": {"epochs": 2, "threads": 1, "warmup_epochs": 0, "checkpoint_every_steps": 1},
}
IMAGES = torch.randn(4, 1, 8, 8)


class Tiny(nn.Module):
    """A network that its class alone cannot make: a test is not importable by other processes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


@pytest.fixture(scope="module")
def small() -> nn.Module:
    """A compressed network with free starts that are not where a rule puts them."""
    dense = nes_lab.create_backbone("small_mobilenetv2", num_classes=10, in_channels=1)
    plan = nes_lab.plan_for_budget(dense, nes_lab.Budget(params="60%"), IMAGES, routing="free", round_to=2)
    network = nes_lab.compress(dense, plan).eval()
    network.nes_lab_plan = plan
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "start" in name:
                parameter.add_(0.25)
    return network


def stopped_at(step: int, root, **arguments) -> nes_lab.Run:
    """A run that is cancelled after a number of steps."""
    asked = iter([False] * (step - 1) + [True] * 99)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nes_lab.runs.writer.RunWriter.cancel_requested", lambda self: next(asked))
        return nes_lab.train(CONFIG, root=root, progress=False, **arguments)


def weights(network: nn.Module) -> list[torch.Tensor]:
    return list(network.state_dict().values())


def test_start_from_a_folder_begins_with_its_outputs_plan_and_starts(small, tmp_path, monkeypatch) -> None:
    folder = nes_lab.save_pretrained(small, tmp_path / "net")
    begun = []
    monkeypatch.setattr("nes_lab.training.loop.Trainer.fit", lambda self: begun.append(self.model) or False)
    run = nes_lab.train(CONFIG, start=folder, root=tmp_path / "runs", progress=False)
    assert torch.equal(begun[0].eval()(IMAGES), small(IMAGES))
    assert run.plan == small.nes_lab_plan and run.config.start == str(folder) and run.config.compression is None
    snapshot = run.snapshots()[0]
    name = next(name for name, layer in small.named_modules() if hasattr(layer, "routing_map"))
    expected = small.get_submodule(name).routing_map().starts[0]
    assert torch.equal(torch.from_numpy(snapshot[name].starts[0]), expected)
    assert run.summary["params"] < run.summary["dense_params"]


def test_start_resumes_bit_for_bit_without_the_folder(small, tmp_path) -> None:
    folder = nes_lab.save_pretrained(small, tmp_path / "net")
    whole = nes_lab.train(CONFIG, start=folder, root=tmp_path / "runs", progress=False)
    part = stopped_at(3, tmp_path / "runs", start=folder)
    assert (part.state, part.info.step) == ("cancelled", 3)
    shutil.rmtree(folder)
    nes_lab.train(resume=part.id, root=tmp_path / "runs", progress=False)
    assert all(map(torch.equal, weights(whole.network()), weights(part.network())))


def test_start_from_a_run_takes_the_network_that_is_named(tmp_path) -> None:
    config = CONFIG | {"training": CONFIG["training"] | {"ema_decay": 0.5}}
    first = nes_lab.train(config, root=tmp_path, progress=False)
    store = RunStore(tmp_path)
    for which in ("last", "best", "averaged"):
        network, name = open_start(f"{first.id}:{which}", store)
        assert all(map(torch.equal, weights(network), weights(first.network(which))))
        assert name == (first.id if which == "last" else f"{first.id}:{which}")
    shutil.rmtree(tmp_path / first.id / "start", ignore_errors=True)
    run = nes_lab.train(CONFIG, start=first, root=tmp_path, progress=False)
    assert run.state == "finished" and run.config.start == first.id
    assert any(event["kind"] == "start_from" for event in run.events())


def test_dense_start_is_compressed_with_its_weights(tmp_path) -> None:
    """Without a word about initial weights they come from the start, not from a random generator."""
    dense = nes_lab.create_backbone("small_mobilenetv2", num_classes=10, in_channels=1)
    config = CONFIG | {"compression": {"params": "60%", "round_to": 2}}
    run = nes_lab.train(config, network=dense, root=tmp_path, progress=False)
    assert run.config.compression.initial_weights == "fit" and run.info.given == {}
    assert run.config.start.startswith("memory:SmallMobileNetV2-")
    with pytest.raises(OptionError, match="give the network again"):
        nes_lab.train(CONFIG, start=run.config.start, root=tmp_path)


def test_compressed_start_and_a_compression_are_never_mixed_silently(small, tmp_path) -> None:
    config = CONFIG | {"compression": {"params": "70%"}, "backbone": {"name": "resnet18"}}
    with pytest.warns(StartWarning) as warned:
        run = nes_lab.train(config, network=small, root=tmp_path, progress=False)
    texts = [str(each.message) for each in warned]
    assert "backbone.name='resnet18' does not apply" in texts[0]
    assert "is compressed already" in texts[1] and "compression.params=70% makes no new plan" in texts[1]
    assert run.info.notes == tuple(texts) and run.config.backbone.name == "small_mobilenetv2"
    with pytest.raises(OptionError, match=r"above compression.params=20%.*--compression none"):
        nes_lab.train(CONFIG | {"compression": {"params": "20%"}}, network=small, root=tmp_path)


def test_network_that_files_cannot_make_again_is_given_again(tmp_path) -> None:
    network = Tiny(16)
    before = [tensor.clone() for tensor in weights(network)]
    with pytest.raises(OptionError, match=r"network=Tiny exists only in the memory.*my_networks:make_network"):
        nes_lab.train(CONFIG, network=network, detach=True, root=tmp_path)
    assert nes_lab.list_runs(root=tmp_path) == []
    whole = nes_lab.train(CONFIG, network=network, root=tmp_path, progress=False)
    part = stopped_at(3, tmp_path, network=network)
    assert all(map(torch.equal, weights(network), before))
    assert part.info.needs_text().startswith("Resumable when the network is given again: nes_lab.train(resume=")
    again = nes_lab.open_run(part.id, root=tmp_path)
    for refused in (again.resume, lambda: again.resume(detach=True), again.network):
        with pytest.raises(RunError, match=r"given? .*again"):
            refused()
    with pytest.raises(CheckpointError, match="out_features=16 in the saved model and 17 here"):
        again.resume(network=Tiny(17), progress=False)
    nes_lab.train(resume=part.id, network=Tiny(16), root=tmp_path, progress=False)
    assert all(map(torch.equal, weights(whole.network()), weights(part.network())))


def test_network_of_an_importable_class_trains_in_the_background(tmp_path, monkeypatch) -> None:
    (tmp_path / "net_to_start_from.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from net_to_start_from import Net  # pyright: ignore[reportMissingImports]

    run = nes_lab.train(CONFIG, network=Net(), detach=True, root=tmp_path / "runs").wait(120)
    assert run.config.backbone.name == "net_to_start_from:Net" and run.info.given == {}
    assert nes_lab.open_run(run.id, root=tmp_path / "runs").network()(IMAGES).shape == (4, 10)


@pytest.mark.parametrize(
    ("start", "message"),
    [("no_such_run", "neither the folder of a saved network nor a run"), (3, "start is a int")],
)
def test_start_that_is_nothing_is_refused(tmp_path, start, message) -> None:
    with pytest.raises(OptionError, match=message):
        nes_lab.train(CONFIG, start=start, root=tmp_path)


def test_start_names_the_argument_and_what_a_run_has(tmp_path) -> None:
    with pytest.raises(OptionError, match="network is the class Linear"):
        nes_lab.train(CONFIG, network=nn.Linear, root=tmp_path)
    run_id = RunStore(tmp_path).create({}, given={"network": "Net"})
    with pytest.raises(OptionError, match=r"start='.*': the network='wrost' is not known"):
        nes_lab.train(CONFIG, start=f"{run_id}:wrost", root=tmp_path)
    with pytest.raises(OptionError, match=r"run.remember\(network=network\)"):
        nes_lab.train(CONFIG, start=run_id, root=tmp_path)
    stamp = {"name": "my_nets:make", "num_classes": 10, "in_channels": 1, "width": 1.0, "options": {}}
    altered(nes_lab.save_pretrained(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), tmp_path / "net"), backbone=stamp)
    with pytest.raises(CheckpointError, match=r"In Python: network = nes_lab.from_pretrained\("):
        nes_lab.train(CONFIG, start=str(tmp_path / "net"), root=tmp_path)


def test_start_with_other_outputs_is_refused_or_gets_a_new_classifier(tmp_path) -> None:
    network = nes_lab.create_backbone("small_mobilenetv2", num_classes=7, in_channels=1)
    with pytest.raises(OptionError, match=r"has 7 outputs, and the data digits has 10 classes; backbone.new_head=true"):
        nes_lab.train(CONFIG, network=network, root=tmp_path)
    config = CONFIG | {"backbone": {"new_head": True}, "training": CONFIG["training"] | {"lr": 1e-9, "weight_decay": 0}}
    run = nes_lab.train(config, network=network, root=tmp_path, progress=False)
    trained = run.network()
    assert run.info.given == {} and trained.classifier.out_features == 10 and network.classifier.out_features == 7
    assert torch.allclose(trained.stem[0].weight, network.stem[0].weight)


def test_start_from_a_folder_never_calls_what_the_folder_names(tmp_path) -> None:
    """Neither by its path, nor when it was loaded into a network of the user's."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    victim = tmp_path / "victim"
    victim.mkdir()
    evil = {
        "name": "shutil:rmtree",
        "num_classes": None,
        "in_channels": 3,
        "width": 1.0,
        "options": {"path": str(victim)},
    }
    folder = nes_lab.save_pretrained(network, tmp_path / "net")
    altered(folder, backbone=evil)
    with pytest.raises(CheckpointError, match="allow_import=True"):
        nes_lab.train(CONFIG, start=folder, root=tmp_path / "runs")
    loaded = nes_lab.from_pretrained(folder, model=network)
    run = nes_lab.train(CONFIG, network=loaded, root=tmp_path / "runs", progress=False)
    assert victim.is_dir() and run.info.given == {"network": "Sequential"}


def test_loss_metrics_and_data_in_memory_are_given_again_to_resume(tmp_path) -> None:
    inputs = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
    given = {
        "network": nn.Sequential(nn.Linear(4, 1)),
        "data": ((inputs, inputs.sum(1, keepdim=True)),) * 2,
        "loss": nn.MSELoss(),
        "metrics": {"mae": (nn.L1Loss(), "lower")},
    }
    with pytest.raises(OptionError, match=r"exists only in the memory of this process"):
        nes_lab.train(CONFIG, detach=True, root=tmp_path, **given)
    wide = given | {"network": nn.Linear(4, 3), "data": ((inputs, inputs[:, 0]),) * 2}
    shapes = (
        r"loss=MSELoss does not take outputs of shape \(2, 3\), float32 and targets of shape \(2,\), float32: The size"
    )
    with pytest.warns(UserWarning, match="target size"), pytest.raises(OptionError, match=shapes):
        nes_lab.train(CONFIG, root=tmp_path, **wide)
    assert nes_lab.list_runs(root=tmp_path) == []
    run = stopped_at(2, tmp_path, **given)
    assert run.info.given == {"loss": "MSELoss", "metrics": "mae", "data": "own", "network": "Sequential"}
    assert run_table([run.info])[0]["dataset"] == "own" and run_table([run.info])[0]["backbone"] == "Sequential"
    with pytest.raises(RunError, match=r"loss=..., metrics=..., data=..., network=..."):
        nes_lab.train(resume=run.id, root=tmp_path)
    nes_lab.train(resume=run.id, root=tmp_path, progress=False, **given)
    whole = nes_lab.train(CONFIG, root=tmp_path, progress=False, **given)
    assert run.summary["mae"] == whole.summary["mae"] and "top1" not in run.summary
    begun = stopped_at(2, tmp_path, **given)
    wrong = {
        "network": (
            nn.Sequential(nn.Linear(5, 1)),
            "network=Sequential: .*in_features=4 in the saved model and 5 here",
        ),
        "data": (((inputs[:16], inputs[:16, :1]), given["data"][0]), "training examples: 32, now 16"),
        "loss": (nn.L1Loss(), "loss=MSELoss, not loss=L1Loss"),
        "metrics": ({"other": nn.L1Loss()}, r"metrics=mae \(lower is better\), not other"),
    }
    for held, how in ((run, "open_run"), (begun, "train")):
        opened = nes_lab.open_run(held.id, root=tmp_path)
        before = {path: path.read_bytes() for path in opened.folder.rglob("*") if path.is_file()}
        for what, (other, message) in wrong.items():
            for go_on in (partial(opened.extend, 3), opened.resume)[: 1 if held is run else 2]:
                with pytest.raises(CheckpointError, match=rf"(?s){message}.*unchanged.*{how}\(.*'{held.id}'.*network="):
                    go_on(**given | {what: other}, progress=False)
        assert before == {path: path.read_bytes() for path in opened.folder.rglob("*") if path.is_file()}
    with pytest.raises(OptionError, match=r"epochs=2.*give more than that; it continues when the loss and the"):
        begun.extend(2)
    plain = stopped_at(2, tmp_path)
    with pytest.raises(OptionError, match="Leave out network="):
        plain.resume(network=given["network"])
    with pytest.raises(CheckpointError, match=r"give the same loss= again.*unchanged"):
        plain.resume(loss=nn.MSELoss())
    assert plain.state == "cancelled" and plain.resume(progress=False).state == "finished"
    assert all(map(torch.equal, weights(run.network()), weights(whole.network())))
