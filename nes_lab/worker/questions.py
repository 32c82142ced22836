"""Name the kinds of workers, and what each can be asked.

Tests: tests/worker/test_client.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nes_lab.progress_bar import OnProgress
from nes_lab.worker.serve import Answerer

__all__ = ["KINDS"]


def _plans() -> Mapping[str, Answerer]:
    from nes_lab.worker.plans import PlanDesk

    desk = PlanDesk()
    return {"plan": desk.answer, "region": desk.region, "ping": _ping}


def _jobs() -> Mapping[str, Answerer]:
    from nes_lab.worker.data import check_for_page, samples_for_form
    from nes_lab.worker.explanations import disagreements_of, explain_run
    from nes_lab.worker.exports import compare_run_forms, export_run, optimize_run_network, predict_run
    from nes_lab.worker.importances import importances_of
    from nes_lab.worker.launches import launch_run
    from nes_lab.worker.plans import PlanDesk
    from nes_lab.worker.times import measure_times
    from nes_lab.worker.training_cost import training_cost

    about_runs = {"launch": launch_run, "export": export_run, "forms": compare_run_forms, "predictions": predict_run}
    about_runs |= {"optimize": optimize_run_network}
    about_data = {"data": check_for_page, "samples": samples_for_form}
    about_runs |= {"explain": explain_run, "disagreements": disagreements_of}
    slow = {"importances": importances_of, "times": measure_times, "training_cost": training_cost}
    return {"plan": PlanDesk().answer, **about_runs, **about_data, **slow, "ping": _ping}


def _ping(arguments: Mapping[str, Any], on_progress: OnProgress) -> str:
    return "ready"


KINDS: dict[str, Callable[[], Mapping[str, Answerer]]] = {"plans": _plans, "jobs": _jobs}
"""Kind of worker -> function that imports what its work needs, and returns a function per kind of question."""
