"""Find the fastest exact form of a network on this machine (``optimize``).

1. Make every form: as given, fused and tuned, compiled, in ONNX Runtime, and the last three with dense layers.
2. Compare the outputs of each form with those of the given network. A form with other outputs cannot win.
3. Time all forms in turn.
4. Choose the fastest form among those that are clearly faster than the given network, and within the planned multiply-adds if
   these are to be kept. If there is none, choose the given network.

Tests: tests/models/test_optimize.py
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from nes_lab.cost.count import count
from nes_lab.cost.left_as_it_was import left_as_it_was
from nes_lab.cost.probe import input_shape, run_example
from nes_lab.cost.timing import device_name, time_rounds
from nes_lab.errors import NesLabError, OptionError, check_choice
from nes_lab.export.example import least_precise_dtype
from nes_lab.export.parity import compare_outputs
from nes_lab.export.session import OnnxNetwork
from nes_lab.export.trace import chosen_tolerance, root_cause
from nes_lab.models.compiled import CompiledNetwork
from nes_lab.models.fast_forms import FormMaker, Unavailable, planned_madds
from nes_lab.progress_bar import OnProgress, progress_reporter
from nes_lab.records.optimize_report import FORMS, GIVEN, FormTime, OptimizeReport, is_dense_form
from nes_lab.records.options import NetworkForm
from nes_lab.records.spread import Ratio, quartiles, ratio_of_times
from nes_lab.records.tune_report import TuneKey

__all__ = ["optimize"]

MIN_ROUNDS, MOST_ROUNDS = 11, 200


def optimize(
    network: nn.Module,
    example: Any,
    keep_madds: bool = True,
    *,
    seconds: float = 60.0,
    forms: Sequence[NetworkForm] | None = None,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> tuple[nn.Module, OptimizeReport]:
    """Return the fastest form of a network for inference on this machine, and a report about all forms.

    All forms compute the same, up to rounding; this is checked. They are: the network as given, fused and tuned in PyTorch
    (``eager``), through ``torch.compile`` with frozen weights (``compiled``), in ONNX Runtime (``onnx``), and the last three with
    a dense layer in place of each epitome layer (``materialized``). All are timed in turn. The result is never slower than the
    network as given: if no form is clearly faster, a copy of it is returned.

    A form that needs something this machine lacks, such as a C++ compiler, is listed in the report with the reason.

    Args:
        network: A compressed or dense network on any device. It is not changed.
        example: Input of one forward pass, on the network's device and with the batch size that will be used: a tensor, a tuple
            of positional arguments, or a dict of keyword arguments.
        keep_madds: True: choose only among forms within the multiply-adds of the network's plan (or of the network, if it has no
            plan). The report names a faster form that needs more. False: only time decides.
        seconds: About how long tuning and timing may take. Compiling and exporting take their own time: from seconds for a small
            network to a minute or two for a large one.
        forms: Names of the forms to try, such as ``["eager", "onnx"]``; None: all.
        progress: Show a progress bar on standard error.
        on_progress: Function that is called with a :class:`~nes_lab.progress_bar.ProgressEvent` at each step; None calls nothing.

    Returns:
        The network in its fastest form, and the report. The network takes the same inputs and returns the same outputs. It is
        for inference only. In ONNX Runtime it has the attribute ``session``, and ``save(path)`` writes the ONNX file. Compiled
        code is for this shape of input: another shape compiles again.

    Raises:
        OptionError: If the network is on the meta device, cannot run the example, or an option is wrong.

    Examples:
        >>> import torch, nes_lab
        >>> network = torch.nn.Sequential(nes_lab.EpitomeLinear(64, 64, epitome_shape=(32, 32)))
        >>> x = torch.randn(1, 64)
        >>> fast, report = nes_lab.optimize(network, x, seconds=0.2, forms=["eager", "onnx"])
        >>> torch.allclose(fast(x), network(x), atol=1e-5), report.chosen in ("as given", "eager", "onnx")
        (True, True)
    """
    begun = time.perf_counter()
    _check_arguments(network, keep_madds, seconds)
    names = _chosen_forms(forms)
    with (
        progress_reporter(progress, on_progress, "optimizing") as report,
        left_as_it_was(example),
        torch.inference_mode(False),
        torch.no_grad(),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        maker = FormMaker(network, example, keep_madds, seconds / 2, report)
        made, rows = _make_forms(maker, names, report)
        report({"phase": "timing", "done": len(names), "total": len(names) + 1, "label": "all forms in turn"})
        times = _time_forms(made, example, maker.device, seconds / 2)
        rows = [_timed(row, times) for row in rows]
        found = _report(maker, rows, times)
    notes = dict.fromkeys(str(each.message) for each in caught if issubclass(each.category, UserWarning))
    own = tuple(note for note in notes if note.startswith(("fuse", "tune", "optimize")))
    return made[found.chosen], replace(found, notes=own, seconds=time.perf_counter() - begun)


def _check_arguments(network: object, keep_madds: object, seconds: object) -> None:
    if not isinstance(network, nn.Module):
        raise OptionError(f"network is a {type(network).__name__}; optimize takes a module")
    if isinstance(network, OnnxNetwork | CompiledNetwork):
        raise OptionError(
            f"network is a {type(network).__name__}, which optimize has returned; give the network from which it was made"
        )
    if any(t.is_meta for t in (*network.parameters(), *network.buffers())):
        raise OptionError("network is on the meta device, where nothing can be timed; move it to another device")
    if not isinstance(keep_madds, bool):
        raise OptionError(f"keep_madds={keep_madds!r}; give True or False")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        raise OptionError(f"seconds={seconds!r}; give a positive number")


def _chosen_forms(forms: Sequence[NetworkForm] | None) -> list[NetworkForm]:
    if isinstance(forms, str):
        raise OptionError(f"forms={forms!r}; give a list of names, such as [{forms!r}]")
    for name in forms or ():
        check_choice("forms", name, FORMS)
    return [name for name in FORMS if forms is None or name in forms or name == GIVEN]


# ---- make and compare ---------------------------------------------------------------------------------------------------


def _make_forms(
    maker: FormMaker, names: Sequence[NetworkForm], report: OnProgress
) -> tuple[dict[str, nn.Module], list[FormTime]]:
    """Make the forms, and compare their outputs with those of the given network. Forms that fail get a reason."""
    examples, expected = _expected_outputs(maker)
    made: dict[str, nn.Module] = {}
    rows = []
    for done, name in enumerate(names):
        report({"phase": "making", "done": done, "total": len(names) + 1, "label": name})
        begun = time.perf_counter()
        try:
            form = maker.make(name)
            difference = _difference(form, name, examples, expected, maker)
        except Exception as error:
            if name == GIVEN:
                raise
            rows.append(FormTime(name, why_not=_reason(error), made_s=time.perf_counter() - begun))
            continue
        made[name] = form
        madds = count(maker.source(name), maker.example).madds
        rows.append(FormTime(name, madds=madds, difference=difference, made_s=time.perf_counter() - begun))
    return made, rows


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, NesLabError | Unavailable) else root_cause(error)


def _expected_outputs(maker: FormMaker) -> tuple[list[Any], list[list[Tensor]]]:
    """Return the inputs with which forms are compared, and the outputs of the given network for them.

    The second input has other numbers than the example. It is left out if the network cannot run it.
    """
    given = maker.given()
    examples, expected = [maker.example], [_outputs(given, maker.example)]
    if not expected[0]:
        raise OptionError(f"network is a {type(maker.network).__name__} that returns no tensor for the example")
    try:
        other = _other_input(maker.example)
        outputs = _outputs(given, other)
    except OptionError:
        return examples, expected
    if all(bool(t.isfinite().all()) for t in outputs):
        examples.append(other)
        expected.append(outputs)
    return examples, expected


def _other_input(example: Any) -> Any:
    """Return an input with other numbers: random ones for floats, and integers in another order."""
    generator = torch.Generator().manual_seed(0)

    def change(t: Tensor) -> Tensor:
        if t.is_floating_point():
            return torch.randn(t.shape, generator=generator).to(t)
        return t.roll(1, -1) if t.ndim else t.clone()

    return tree_map_only(Tensor, change, example)


def _outputs(form: nn.Module, example: Any) -> list[Tensor]:
    outputs = run_example(form, tree_map_only(Tensor, torch.clone, example))
    return [t.detach().clone() for t in tree_leaves(outputs) if isinstance(t, Tensor)]


def _difference(
    form: nn.Module, name: str, examples: Sequence[Any], expected: Sequence[list[Tensor]], maker: FormMaker
) -> float:
    """Return the largest relative difference between the outputs of a form and those of the given network.

    Raises:
        ExportError: If it is above the tolerance for the dtype.
    """
    tensors = [*maker.network.parameters(), *maker.network.buffers(), *tree_leaves(maker.example)]
    tolerance = chosen_tolerance(None, least_precise_dtype([t for t in tensors if isinstance(t, Tensor)]))
    pairs = zip(examples, expected, strict=True)
    return max(
        compare_outputs(_outputs(form, x), outputs, tolerance, f"the form {name!r}", "so it is not used")[1]
        for x, outputs in pairs
    )


# ---- time and choose ----------------------------------------------------------------------------------------------------


def _time_forms(
    made: Mapping[str, nn.Module], example: Any, device: torch.device, seconds: float
) -> dict[str, list[float]]:
    contenders = {name: partial(run_example, form, example) for name, form in made.items()}
    with torch.inference_mode():
        return time_rounds(contenders, device, seconds, least=MIN_ROUNDS, most=MOST_ROUNDS, untimed=1)


def _timed(row: FormTime, times: Mapping[str, Sequence[float]]) -> FormTime:
    if row.why_not:
        return row
    low, middle, high = quartiles(times[row.form])
    ratio = ratio_of_times(times[row.form], times[GIVEN])
    return replace(row, median_ms=middle, low_ms=low, high_ms=high, ratio=ratio)


def _report(maker: FormMaker, rows: Sequence[FormTime], times: Mapping[str, Sequence[float]]) -> OptimizeReport:
    """Choose a form, and compare it with the fastest form and with the fastest dense form."""
    ratios: dict[str, Ratio] = {row.form: row.ratio for row in rows if row.ratio is not None}
    madds: dict[str, int] = {row.form: row.madds or 0 for row in rows}
    planned = planned_madds(maker.network, maker.example)
    limit = madds[GIVEN] if planned is None else planned
    allowed = [name for name in ratios if name != GIVEN and not (maker.keep_madds and madds[name] > limit)]
    faster = [name for name in allowed if ratios[name].is_faster()]
    chosen = min(faster, key=lambda name: ratios[name].median, default=GIVEN)
    fastest = min(ratios, key=lambda name: ratios[name].median)
    dense = min(filter(is_dense_form, ratios), key=lambda name: ratios[name].median, default=None)
    return OptimizeReport(
        key=_conditions(maker),
        forms=tuple(rows),
        chosen=cast(NetworkForm, chosen),
        fastest=cast(NetworkForm, fastest),
        keep_madds=maker.keep_madds,
        madds_limit=limit,
        dense_form=cast(NetworkForm | None, dense),
        over_dense=None if dense is None else ratio_of_times(times[chosen], times[dense]),
        over_fastest=None if fastest == chosen else ratio_of_times(times[chosen], times[fastest]),
        executions=maker.tuning.executions if maker.tuning else {},
    )


def _conditions(maker: FormMaker) -> TuneKey:
    """Return what the times depend on, such as the device."""
    if maker.tuning is not None:
        return maker.tuning.key
    tensor = next((t for t in tree_leaves(maker.example) if isinstance(t, Tensor)), torch.empty(0))
    parameter = next(iter(maker.network.parameters()), tensor)
    last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return TuneKey(
        device=device_name(maker.device),
        dtype=str(parameter.dtype).removeprefix("torch."),
        input_shape=input_shape(maker.example),
        memory_format="channels_last" if last and not tensor.is_contiguous() else "contiguous",
        threads=torch.get_num_threads(),
        torch=torch.__version__,
    )
