"""NES Lab: compress networks by Neural Epitome Search, to exact params and multiply-add budgets.

The public names are loaded when first used, so that ``import nes_lab`` imports no torch.

Source: Zhou et al., *Neural Epitome Search for Architecture-Agnostic Network Compression*, ICLR 2020, arXiv:1907.05642.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOMES = {
    "Budget": "nes_lab.compress.budget",
    "CompressionPlan": "nes_lab.compress.compression_plan",
    "CostReport": "nes_lab.cost.report",
    "EpitomeConv1d": "nes_lab.nn.conv",
    "EpitomeConv2d": "nes_lab.nn.conv",
    "EpitomeConv2dSame": "nes_lab.nn.same",
    "EpitomeConv3d": "nes_lab.nn.conv",
    "EpitomeLinear": "nes_lab.nn.linear",
    "EpitomeStdConv2d": "nes_lab.nn.std_conv",
    "LatencyReport": "nes_lab.cost.report",
    "LayerPlan": "nes_lab.compress.compression_plan",
    "BudgetError": "nes_lab.errors",
    "CheckpointError": "nes_lab.errors",
    "DataError": "nes_lab.errors",
    "GeometryError": "nes_lab.errors",
    "OptionError": "nes_lab.errors",
    "PlanError": "nes_lab.errors",
    "RunError": "nes_lab.errors",
    "NesLabError": "nes_lab.errors",
    "RoutingMap": "nes_lab.epitome.routing_map",
    "SensitivityReport": "nes_lab.compress.sensitivity_report",
    "TuneReport": "nes_lab.compress.tune_report",
    "ZooRow": "nes_lab.zoo.row",
    "check_backbone": "nes_lab.zoo.check",
    "DataReport": "nes_lab.datasets.report",
    "check_data": "nes_lab.datasets.survey",
    "compress": "nes_lab.compress",
    "count": "nes_lab.cost.count",
    "ExportError": "nes_lab.errors",
    "ExportReport": "nes_lab.export.report",
    "create_backbone": "nes_lab.backbones.registry",
    "create_model": "nes_lab.models.create",
    "FitReport": "nes_lab.compress.fit_report",
    "fit": "nes_lab.compress.fit",
    "export_onnx": "nes_lab.export.onnx",
    "export_torch": "nes_lab.export.torch_export",
    "from_pretrained": "nes_lab.export.pretrained",
    "push_to_hub": "nes_lab.export.hub",
    "save_pretrained": "nes_lab.export.pretrained",
    "fuse": "nes_lab.compress.fuse",
    "materialize": "nes_lab.compress.surgery",
    "measure_sensitivity": "nes_lab.compress.sensitivity",
    "measure_latency": "nes_lab.cost.measure",
    "measure_peak_memory": "nes_lab.cost.measure",
    "plan_for_budget": "nes_lab.compress.planner",
    "preset": "nes_lab.compress.presets",
    "reestimate_norms": "nes_lab.compress.fit_norms",
    "SweepResult": "nes_lab.sweeps.result",
    "run_sweep": "nes_lab.sweeps.sweep",
    "tune": "nes_lab.compress.tune",
}

__all__ = ["__version__", *_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from nes_lab.backbones.registry import create_backbone
    from nes_lab.compress.budget import Budget
    from nes_lab.compress.compression_plan import CompressionPlan, LayerPlan
    from nes_lab.compress.fit import fit
    from nes_lab.compress.fit_norms import reestimate_norms
    from nes_lab.compress.fit_report import FitReport
    from nes_lab.compress.fuse import fuse
    from nes_lab.compress.planner import plan_for_budget
    from nes_lab.compress.presets import preset
    from nes_lab.compress.sensitivity import measure_sensitivity
    from nes_lab.compress.sensitivity_report import SensitivityReport
    from nes_lab.compress.surgery import compress, materialize
    from nes_lab.compress.tune import tune
    from nes_lab.compress.tune_report import TuneReport
    from nes_lab.cost.count import count
    from nes_lab.cost.measure import measure_latency, measure_peak_memory
    from nes_lab.cost.report import CostReport, LatencyReport
    from nes_lab.datasets.report import DataReport
    from nes_lab.datasets.survey import check_data
    from nes_lab.epitome.routing_map import RoutingMap
    from nes_lab.errors import (
        BudgetError,
        CheckpointError,
        DataError,
        ExportError,
        GeometryError,
        NesLabError,
        OptionError,
        PlanError,
        RunError,
    )
    from nes_lab.export.hub import push_to_hub
    from nes_lab.export.onnx import export_onnx
    from nes_lab.export.pretrained import from_pretrained, save_pretrained
    from nes_lab.export.report import ExportReport
    from nes_lab.export.torch_export import export_torch
    from nes_lab.models.create import create_model
    from nes_lab.nn.conv import EpitomeConv1d, EpitomeConv2d, EpitomeConv3d
    from nes_lab.nn.linear import EpitomeLinear
    from nes_lab.nn.same import EpitomeConv2dSame
    from nes_lab.nn.std_conv import EpitomeStdConv2d
    from nes_lab.sweeps.result import SweepResult
    from nes_lab.sweeps.sweep import run_sweep
    from nes_lab.zoo.check import check_backbone
    from nes_lab.zoo.row import ZooRow


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'nes_lab' has no attribute {name!r}")
    home = import_module(_HOMES[name])
    value = home if home.__name__ == f"nes_lab.{name}" else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
