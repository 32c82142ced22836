"""List the public names of NES Lab, for type checkers and for ``__init__.py``, which reads this list at run time."""

from nes_lab.backbones.registry import create_backbone as create_backbone
from nes_lab.cost.count import count as count
from nes_lab.cost.measure import measure_latency as measure_latency
from nes_lab.cost.measure import measure_peak_memory as measure_peak_memory
from nes_lab.datasets.check.check import check_data as check_data
from nes_lab.datasets.check.report import DataReport as DataReport
from nes_lab.epitome.routing_map import RoutingMap as RoutingMap
from nes_lab.errors import BudgetError as BudgetError
from nes_lab.errors import CheckpointError as CheckpointError
from nes_lab.errors import DataError as DataError
from nes_lab.errors import ExportError as ExportError
from nes_lab.errors import GeometryError as GeometryError
from nes_lab.errors import NesLabError as NesLabError
from nes_lab.errors import OptionError as OptionError
from nes_lab.errors import PlanError as PlanError
from nes_lab.errors import RunError as RunError
from nes_lab.export.hub_upload import push_to_hub as push_to_hub
from nes_lab.export.onnx import export_onnx as export_onnx
from nes_lab.export.pretrained import from_pretrained as from_pretrained
from nes_lab.export.pretrained import save_pretrained as save_pretrained
from nes_lab.export.report import ExportReport as ExportReport
from nes_lab.export.torch_export import export_torch as export_torch
from nes_lab.fitting.fit import fit as fit
from nes_lab.fitting.norm_statistics import reestimate_norms as reestimate_norms
from nes_lab.models.create import create_model as create_model
from nes_lab.nn.conv import EpitomeConv1d as EpitomeConv1d
from nes_lab.nn.conv import EpitomeConv2d as EpitomeConv2d
from nes_lab.nn.conv import EpitomeConv3d as EpitomeConv3d
from nes_lab.nn.linear import EpitomeLinear as EpitomeLinear
from nes_lab.nn.same import EpitomeConv2dSame as EpitomeConv2dSame
from nes_lab.nn.std_conv import EpitomeStdConv2d as EpitomeStdConv2d
from nes_lab.planning.planner import plan_for_budget as plan_for_budget
from nes_lab.planning.presets import preset as preset
from nes_lab.planning.sensitivity.measure import measure_sensitivity as measure_sensitivity
from nes_lab.records.budget import Budget as Budget
from nes_lab.records.compression_plan import CompressionPlan as CompressionPlan
from nes_lab.records.compression_plan import LayerPlan as LayerPlan
from nes_lab.records.cost_report import CostReport as CostReport
from nes_lab.records.cost_report import LatencyReport as LatencyReport
from nes_lab.records.fit_report import FitReport as FitReport
from nes_lab.records.sensitivity_report import SensitivityReport as SensitivityReport
from nes_lab.records.tune_report import TuneReport as TuneReport
from nes_lab.surgery.fuse import fuse as fuse
from nes_lab.surgery.replace import compress as compress
from nes_lab.surgery.replace import materialize as materialize
from nes_lab.sweeps.result import SweepResult as SweepResult
from nes_lab.sweeps.sweep import run_sweep as run_sweep
from nes_lab.tuning.tune import tune as tune
from nes_lab.zoo.check import check_backbone as check_backbone
from nes_lab.zoo.result import ZooRow as ZooRow

__version__: str
__all__: list[str]
