"""Every public function that takes a network leaves it, its input and the global state bit for bit as they were.

The functions are those of ``nes_lab.__all__``. A new one fails here until it has an example call or a reason.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nes_lab
from nes_lab.cost.left_as_it_was import left_as_it_was
from nes_lab.errors import NesLabError, OptionError
from tests.whole_state import Restless, differences, global_state, state_of

Look = Callable[[nn.Module, torch.Tensor, Path], object]


def _plan(network: nn.Module, x: torch.Tensor) -> nes_lab.CompressionPlan:
    return nes_lab.plan_for_budget(network, nes_lab.Budget(params="70%"), x, round_to=1)


def _examples(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x, torch.arange(len(x))


LOOKS: dict[str, list[Look]] = {
    "compress": [
        lambda network, x, _: nes_lab.compress(network, params="70%", example_input=x, round_to=1),
        lambda network, x, _: nes_lab.compress(network, _plan(network, x)),
    ],
    "count": [lambda network, x, _: nes_lab.count(network, x)],
    "evaluate": [lambda network, x, _: nes_lab.evaluate(network, _examples(x), batch_size=2)],
    "export_onnx": [lambda network, x, path: nes_lab.export_onnx(network, x, path / "net.onnx")],
    "export_torch": [lambda network, x, path: nes_lab.export_torch(network, x, path / "net.pt2")],
    "fit": [
        lambda network, x, _: nes_lab.fit(network, _plan(network, x)),
        lambda network, x, _: nes_lab.fit(network, _plan(network, x), calibration=[x, x], norms=[x]),
    ],
    "for_inference": [lambda network, _, __: nes_lab.for_inference(network)],
    "from_pretrained": [
        lambda network, _, path: nes_lab.from_pretrained(nes_lab.save_pretrained(network, path / "net"), model=network)
    ],
    "fuse": [
        lambda network, _, __: nes_lab.fuse(network),
        lambda network, x, _: nes_lab.fuse(network, x),
    ],
    "materialize": [lambda network, _, __: nes_lab.materialize(network)],
    "measure_latency": [lambda network, x, _: nes_lab.measure_latency({"a": network, "b": network}, x, pairs=2)],
    "measure_sensitivity": [
        lambda network, x, _: nes_lab.measure_sensitivity(network, x, ratios=(0.5,), round_to=1),
        lambda network, x, _: nes_lab.measure_sensitivity(
            network, x, ratios=(0.5,), round_to=1, calibration=[_examples(x)]
        ),
    ],
    "parameter_groups": [lambda network, _, __: nes_lab.parameter_groups(network, 0.1)],
    "plan_for_budget": [
        lambda network, x, _: _plan(network, x),
        lambda network, x, _: nes_lab.plan_for_budget(network, nes_lab.Budget(latency_ms=1e9), x, round_to=1),
    ],
    "preset": [lambda network, x, _: nes_lab.preset("both_axes", network, x)],
    "push_to_hub": [lambda network, _, __: nes_lab.push_to_hub(network, "user/net", api=_Hub())],
    "reestimate_norms": [lambda network, x, _: nes_lab.reestimate_norms(network, [x])],
    "save_pretrained": [lambda network, _, path: nes_lab.save_pretrained(network, path / "net")],
}
"""Example calls of the functions that look at a network. Each runs on a network that changes all it can."""

CHANGES = {
    "fine_tune": "it trains the network in place",
    "open_data": "it reads only the name of the network's backbone: tests/experiment/test_open_data.py",
    "optimize": "it refuses networks whose outputs differ from run to run: tests/models/test_optimize.py",
    "train": "it trains a copy: see below",
    "tune": "it sets the execution of each epitome layer, and nothing else: see below",
}
"""Functions that take a network and are tested on another one, each with the reason."""

NO_NETWORK = {
    *(
        "check_backbone",
        "check_data",
        "create_backbone",
        "create_model",
        "import_run",
        "list_runs",
        "measure_peak_memory",
    ),
    *("calibrate_device", "open_run", "run_sweep"),
    *("best_setting", "compare_settings", "sweep_importances", "write_image_folder"),
}
"""Functions that take no network."""


class _Hub:
    """Takes the place of ``huggingface_hub.HfApi``."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *_, **__: None


def test_every_public_function_is_listed() -> None:
    functions = {name for name in nes_lab.__all__ if inspect.isfunction(getattr(nes_lab, name))}
    assert functions == {*LOOKS, *CHANGES, *NO_NETWORK}
    for name in NO_NETWORK:
        notes = inspect.get_annotations(getattr(nes_lab, name))
        annotations = [str(note) for argument, note in notes.items() if argument != "return"]
        assert not any("Module" in text or "Model" in text for text in annotations), f"{name} takes a network"


@pytest.fixture(scope="module", autouse=True)
def _packages_that_add_warning_filters() -> None:
    for package in ("onnx", "onnxscript.optimizer", "onnxruntime", "accelerate", "sympy"):
        importlib.import_module(package)


@pytest.fixture(autouse=True)
def _global_state_for_other_tests() -> Iterator[None]:
    with left_as_it_was():
        yield


CALLS = [(name, number) for name, calls in LOOKS.items() for number in range(len(calls))]


@pytest.mark.parametrize(("name", "number"), CALLS)
@pytest.mark.parametrize("fails_in", [None, 1, 2])
def test_looking_leaves_network_input_and_global_state(
    name: str, number: int, fails_in: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, x = Restless(), torch.randn(4, 3, 8, 8)
    network.head.weight.grad = torch.ones_like(network.head.weight)
    before = state_of(network), state_of(x), global_state()
    monkeypatch.setattr(Restless, "fails_in", fails_in)
    may_fail = fails_in is not None or name.startswith("export")  # such a forward method cannot be traced
    with contextlib.suppress(*([NesLabError, RuntimeError] if may_fail else [])):
        result = LOOKS[name][number](network, x, tmp_path)
        copied = result[0] if isinstance(result, tuple) else result
        assert copied is not None
        if isinstance(copied, Restless):  # a copy is as new as the network
            assert (copied.calls, float(copied.seen), copied.history) == (0, 0.0, [1])
    after = state_of(network), state_of(x), global_state()
    assert [differences(b, a) for b, a in zip(before, after, strict=True)] == [[], [], []]


class Simple(nn.Module):
    """A network that can be traced and trained, and counts its calls.

    Args:
        always_trains: True: it is always in training form, and updates its statistics.
    """

    def __init__(self, always_trains: bool = True) -> None:
        super().__init__()
        self.always_trains = always_trains
        self.conv, self.norm, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4)
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize by the batch, update the running statistics, and count the call."""
        self.calls += 1
        statistics = self.norm.running_mean, self.norm.running_var
        y = F.batch_norm(self.conv(x), *statistics, training=self.always_trains or self.training)
        return self.head(y.relu().mean((2, 3)))


def _wrong_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    raise ValueError("in the middle")


@pytest.mark.parametrize("loss", [None, _wrong_loss])
def test_training_leaves_the_given_network(loss: Callable[..., torch.Tensor] | None, tmp_path: Path) -> None:
    network, x = Simple(), torch.randn(4, 3, 8, 8)
    before = state_of(network), state_of(x), global_state()
    with contextlib.suppress(*([] if loss is None else [NesLabError])):
        nes_lab.train(
            {"training": {"epochs": 1}, "data": {"batch_size": 2}},
            network=network,
            data=(_examples(x), _examples(x)),
            loss=loss,
            root=tmp_path,
            progress=False,
        )
    after = state_of(network), state_of(x), global_state()
    assert [differences(b, a) for b, a in zip(before, after, strict=True)] == [[], [], []]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", ["export_onnx", "export_torch"])
def test_exporting_leaves_a_network_that_can_be_traced(name: str, compressed: bool, tmp_path: Path) -> None:
    network, x = Simple(always_trains=name == "export_torch"), torch.randn(4, 3, 8, 8)
    if compressed:
        network = nes_lab.compress(network, params="70%", example_input=x, round_to=1)
    before = state_of(network), state_of(x), global_state()
    report = LOOKS[name][0](network, x, tmp_path)
    assert isinstance(report, nes_lab.ExportReport)
    after = state_of(network), state_of(x), global_state()
    assert [differences(b, a) for b, a in zip(before, after, strict=True)] == [[], [], []]


@pytest.mark.parametrize("fails_in", [None, 3])
def test_tuning_sets_executions_and_nothing_else(fails_in: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(4, 3, 8, 8)
    network = nes_lab.compress(Restless(), params="70%", example_input=x, round_to=1)
    before = state_of(network), state_of(x), global_state()
    monkeypatch.setattr(Restless, "fails_in", fails_in)
    with contextlib.suppress(*([NesLabError] if fails_in else [])):
        nes_lab.tune(network, x, seconds=0.1)
    changed = differences(before[0], state_of(network))
    assert all(name.endswith(".execution") for name in changed), changed
    assert not (fails_in and changed)
    assert [differences(b, a) for b, a in zip(before[1:], (state_of(x), global_state()), strict=True)] == [[], []]


def test_fine_tuning_leaves_teacher_data_and_global_state() -> None:
    network, teacher, x = Simple(), Simple(), torch.randn(4, 3, 8, 8)
    before = state_of(teacher), state_of(x), global_state()
    recipe = {"epochs": 1, "kd_weight": 0.5}
    nes_lab.fine_tune(network, _examples(x), _examples(x), recipe, teacher=teacher, progress=False)
    after = state_of(teacher), state_of(x), global_state()
    assert [differences(b, a) for b, a in zip(before, after, strict=True)] == [[], [], []]
    with pytest.raises(OptionError, match=r"teacher shares the parameter 'conv\.weight' with the network"):
        nes_lab.fine_tune(network, _examples(x), _examples(x), recipe, teacher=network, progress=False)
