"""Answer the question for a compression plan. Networks, surveys and ladders are kept, so that the next answer is faster.

Networks are made on torch's device ``meta``, which stores no weights: a network of 300 million params takes half a second instead of 13.

Tests: tests/worker/test_plans.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from nes_lab.config import CompressionConfig
from nes_lab.config.load import load_config
from nes_lab.errors import NesLabError
from nes_lab.models.jobs import plan_backbone
from nes_lab.models.source import DenseSource
from nes_lab.planning.from_config import budget_of, plan_options
from nes_lab.planning.plan_again import PlanAgain
from nes_lab.progress_bar import OnProgress
from nes_lab.records.compression_plan import CompressionPlan

__all__ = ["PlanDesk", "read_question"]

NETWORKS_KEPT = 8
"""Number of networks whose surveys and ladders are kept. The one that was used longest ago is dropped first."""


class PlanDesk:
    """Makes compression plans from questions in JSON, and keeps what the next plan needs again.

    Examples:
        >>> question = {"backbone": {"name": "small_mobilenetv2"}, "compression": {"madds": "75%"}, "input_shape": [1, 8, 8], "classes": 10}
        >>> answer = PlanDesk().answer(question)
        >>> answer["predicted"]["madds"] <= 0.75 * answer["dense"]["madds"]
        True
    """

    def __init__(self) -> None:
        self._networks: dict[DenseSource, PlanAgain] = {}

    def answer(self, question: Mapping[str, Any], on_progress: OnProgress | None = None) -> dict[str, Any]:
        """Make a plan and return it as data for JSON, with its rows for tables and figures.

        Args:
            question: ``backbone`` and ``compression`` as in a configuration, ``input_shape``, ``classes``, and optionally ``seed`` and
                ``seconds``, the time that a search for a time budget may take.
            on_progress: Called as the work goes on. An error that it raises ends the work.

        Raises:
            NesLabError: If a value is wrong, or the budget cannot be met.
        """
        plan = self._plan(question, on_progress)
        return plan.to_dict() | {"rows": plan.rows()}

    def region(self, question: Mapping[str, Any], on_progress: OnProgress | None = None) -> dict[str, Any]:
        """Say which params and multiply-adds the network of a question can have under the question's options.

        Args:
            question: The same dict as in :meth:`answer`.
            on_progress: Called as the work goes on. An error that it raises ends the work.

        Returns:
            The fields of a :class:`~nes_lab.records.reachable.Reachable`.

        Raises:
            NesLabError: If a value is wrong.
        """
        source, compression = read_question(question)
        again = self._network(source)
        return again.region(budget_of(compression), plan_options(compression, source.seed), on_progress).to_dict()

    def _plan(self, question: Mapping[str, Any], on_progress: OnProgress | None) -> CompressionPlan:
        source, compression = read_question(question)
        if _needs_weights(compression):
            return plan_backbone(source, compression, seconds=question.get("seconds", 60.0), on_progress=on_progress)
        again = self._network(source)
        if on_progress is not None:
            on_progress({"phase": "layers", "done": 0, "total": 1, "label": source.name})
        return again.plan(budget_of(compression), plan_options(compression, source.seed), on_progress)

    def _network(self, source: DenseSource) -> PlanAgain:
        again = self._networks.pop(source, None) or _survey(source)
        self._networks[source] = again  # the newest is last
        while len(self._networks) > NETWORKS_KEPT:
            del self._networks[next(iter(self._networks))]
        return again


def read_question(question: Mapping[str, Any]) -> tuple[DenseSource, CompressionConfig]:
    """Return the network and the settings of compression that a question names.

    Args:
        question: ``backbone``, ``compression``, ``input_shape``, ``classes`` and optionally ``seed``, as in :meth:`PlanDesk.answer`.

    Raises:
        OptionError: If a value is wrong.
    """
    seed = question.get("seed", 0)
    config = load_config({name: question[name] for name in ("backbone", "compression")} | {"seed": seed})
    assert config.compression is not None  # a question gives it
    shape = tuple(int(size) for size in question["input_shape"])
    backbone = config.backbone
    source = DenseSource(backbone.name, shape, int(question["classes"]), backbone.width, seed=seed)
    return source, config.compression


def _needs_weights(compression: CompressionConfig) -> bool:
    """Return True if a plan needs the weights of the network, or makes its plan in another way than by a ladder."""
    measured = compression.latency_ms is not None or compression.strategy != "uniform"
    return measured or compression.preset is not None


def _survey(source: DenseSource) -> PlanAgain:
    try:
        with torch.device("meta"):
            network, example = source.make(), source.example()
        return PlanAgain(network, example)
    except (NesLabError, RuntimeError, TypeError, ValueError):  # some networks cannot be made or run on the device meta
        return PlanAgain(source.make(), source.example())
