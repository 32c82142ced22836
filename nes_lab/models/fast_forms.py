"""Make the forms in which a network can run: eager, compiled, in ONNX Runtime, and with dense layers. All compute the same.

To add a form, add its name to ``records/options.py``, its description to ``records/optimize_report.py``, and a method to
:class:`FormMaker`, entered in :data:`MAKERS`.

Tests: tests/models/test_optimize.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nes_lab.cost.count import count
from nes_lab.cost.probe import run_example
from nes_lab.errors import ExportError
from nes_lab.export.example import ExampleInput
from nes_lab.export.onnx import export_onnx
from nes_lab.export.session import OnnxNetwork
from nes_lab.models.compiled import CompiledNetwork, why_not_compiled
from nes_lab.nn.copy_network import copy_network
from nes_lab.nn.inspect import epitome_layers
from nes_lab.progress_bar import OnProgress
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.optimize_report import GIVEN, is_dense_form
from nes_lab.records.options import NetworkForm
from nes_lab.records.tune_report import TuneReport
from nes_lab.surgery.for_inference import for_inference
from nes_lab.surgery.fuse import fuse
from nes_lab.surgery.replace import materialize
from nes_lab.tuning.tune import tune

__all__ = ["MAKERS", "FormMaker", "Unavailable", "planned_madds"]


class Unavailable(Exception):
    """A form cannot be made on this machine, or of this network. The message says why."""


class FormMaker:
    """Makes the forms of one network, each at its first use. Steps that several forms need are done once.

    Args:
        network: The network. It is not changed.
        example: Input of one forward pass.
        keep_madds: True: the form ``eager`` has no more multiply-adds than planned.
        tune_seconds: About how long tuning may take.
        report: Called as the work goes on.
    """

    def __init__(
        self, network: nn.Module, example: Any, keep_madds: bool, tune_seconds: float, report: OnProgress
    ) -> None:
        self.network, self.example, self.keep_madds = network, example, keep_madds
        self.tune_seconds, self.report = tune_seconds, report
        self.tuning: TuneReport | None = None
        self.has_epitomes = any(True for _ in epitome_layers(network))
        tensor = next((t for t in (*network.parameters(), *network.buffers())), None)
        self.device = torch.device("cpu") if tensor is None else tensor.device

    def make(self, form: NetworkForm) -> nn.Module:
        """Make one form of the network, ready to run.

        Raises:
            Unavailable: If the form cannot be made; the message says why.
        """
        if is_dense_form(form) and not self.has_epitomes:
            raise Unavailable("the network has no epitome layers, so it is dense already")
        return MAKERS[form](self)

    def source(self, form: NetworkForm) -> nn.Module:
        """Return the network of PyTorch from which a form is made; its multiply-adds are those of the form."""
        if form == GIVEN:
            return self.network
        if is_dense_form(form):
            return self.dense
        return self.tuned if form == "eager" else self.leanest

    @cached_property
    def fused(self) -> nn.Module:
        """The network with norms folded into the layers before them."""
        return fuse(self.network, self.example)

    @cached_property
    def leanest(self) -> nn.Module:
        """The fused network, with the execution of fewest multiply-adds in each epitome layer."""
        copied = copy_network(self.fused)
        for _, layer in epitome_layers(copied):
            layer.execution = "auto"
        return copied

    @cached_property
    def dense(self) -> nn.Module:
        """The fused network, with a dense layer in place of each epitome layer."""
        return materialize(self.fused)

    @cached_property
    def tuned(self) -> nn.Module:
        """The fused network, with the fastest execution in each epitome layer."""
        if not self.has_epitomes:
            return self.fused
        limit = planned_madds(self.network, self.example)
        too_many = self.keep_madds and limit is not None and count(self.fused, self.example).madds > limit
        copied = copy_network(self.leanest if too_many else self.fused)
        self.tuning = tune(
            copied, self.example, seconds=self.tune_seconds, keep_madds=self.keep_madds, on_progress=self.report
        )
        return copied

    def given(self) -> nn.Module:
        """Return a copy of the network that keeps its weights."""
        return for_inference(self.network)

    def eager(self) -> nn.Module:
        """Return the fused and tuned network."""
        return for_inference(self.tuned)

    def compiled(self) -> nn.Module:
        """Return the fused network, compiled."""
        return self._compile(self.leanest)

    def onnx(self) -> nn.Module:
        """Return the fused network in ONNX Runtime."""
        return self._export(self.leanest, "onnx")

    def materialized(self) -> nn.Module:
        """Return the fused network with dense layers."""
        return for_inference(self.dense)

    def materialized_compiled(self) -> nn.Module:
        """Return the fused network with dense layers, compiled."""
        return self._compile(self.dense)

    def materialized_onnx(self) -> nn.Module:
        """Return the fused network with dense layers in ONNX Runtime."""
        return self._export(self.dense, "materialized, onnx")

    def _compile(self, source: nn.Module) -> nn.Module:
        reason = why_not_compiled(self.device)
        if reason:
            raise Unavailable(reason)
        compiled = CompiledNetwork(for_inference(source))
        run_example(compiled, self.example)  # compiles
        return compiled

    def _export(self, source: nn.Module, form: NetworkForm) -> nn.Module:
        if self.device.type != "cpu":
            raise Unavailable(f"the network is on {self.device}, and the ONNX file would run on the CPU")
        missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
        if missing:
            raise Unavailable(f"{', '.join(missing)} is not installed; install it with: pip install 'nes-lab[export]'")
        example, layers = ExampleInput.of(self.example), "materialized" if is_dense_form(form) else "factored"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.onnx"
            try:
                export_onnx(source, self.example, path, form=layers, verify=False)
            except ExportError:  # such as a network that fixes the batch size
                export_onnx(source, self.example, path, form=layers, verify=False, dynamic_batch=False)
            return OnnxNetwork.of(path, source, example)


MAKERS: dict[NetworkForm, Callable[[FormMaker], nn.Module]] = {
    GIVEN: FormMaker.given,
    "eager": FormMaker.eager,
    "compiled": FormMaker.compiled,
    "onnx": FormMaker.onnx,
    "materialized": FormMaker.materialized,
    "materialized, compiled": FormMaker.materialized_compiled,
    "materialized, onnx": FormMaker.materialized_onnx,
}
"""Name of each form -> method that makes it."""


def planned_madds(network: nn.Module, example: Any) -> int | None:
    """Return the multiply-adds of a network's compression plan for an example of any batch size; None if this is not known."""
    plan = getattr(network, "nes_lab_plan", None)
    shape = tuple(example.shape) if isinstance(example, torch.Tensor) else ()
    if not isinstance(plan, CompressionPlan) or not shape or tuple(plan.input_shape[1:]) != shape[1:]:
        return None
    return plan.predicted.madds * shape[0] // plan.input_shape[0]
