"""OptimizeReport: the measured time of each form in which a network can run here, and the form that was chosen.

Tests: tests/models/test_optimize.py
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nes_lab.records.columns import Column
from nes_lab.records.options import ExecutionOption, NetworkForm
from nes_lab.records.record import Part, Record
from nes_lab.records.spread import Ratio
from nes_lab.records.table import Table
from nes_lab.records.tune_report import TuneKey
from nes_lab.text import NO_VALUE, format_ms, format_number

__all__ = ["FORMS", "GIVEN", "FormTime", "OptimizeReport", "is_dense_form"]

GIVEN: NetworkForm = "as given"
"""The form that is chosen if no other is clearly faster."""

FORMS: dict[NetworkForm, str] = {
    GIVEN: "the given network in PyTorch, with its weights kept",
    "eager": "PyTorch, with norms folded and each epitome layer computed in the way that is fastest here",
    "compiled": "torch.compile with frozen weights, and the fewest multiply-adds in each epitome layer",
    "onnx": "ONNX Runtime, with the fewest multiply-adds in each epitome layer",
    "materialized": "PyTorch, with norms folded and a dense layer in place of each epitome layer",
    "materialized, compiled": "torch.compile with frozen weights, and dense layers",
    "materialized, onnx": "ONNX Runtime, with dense layers",
}
"""Form in which a network can run -> what it is. All of them compute the same, up to rounding."""

_COLUMNS = (
    Column("form", "form", "Form in which the network runs."),
    Column("madds", "MAdds", "Multiply-adds of one forward of the example input.", "count", empty=NO_VALUE),
    Column("median_ms", "ms", "Median time of one forward.", "ms", empty=NO_VALUE),
    Column("half", "half of the calls in", "Lower and upper quartile of the times.", empty=NO_VALUE),
    Column(
        "share", "time / as given", "Median ratio of the times in one round, with two standard errors.", empty=NO_VALUE
    ),
    Column(
        "differs", "outputs differ by", "Largest difference from the given network, relative to the largest output."
    ),
    Column("note", "note", "Whether the form was chosen, or why it could not be."),
)


def is_dense_form(form: str) -> bool:
    """Return True for the forms in which each epitome layer is replaced by a dense layer."""
    return form.startswith("materialized")


@dataclass(frozen=True)
class FormTime(Part):
    """One form in which a network can run: its time and its multiply-adds, or the reason why it is not available.

    Args:
        form: Name of the form, from :data:`FORMS`.
        why_not: Reason why the form could not be made, or why its outputs are wrong; empty if it runs.
        madds: Multiply-adds of one forward pass of the example input; None if the form could not be made.
        median_ms, low_ms, high_ms: Median, lower and upper quartile of the times of one forward pass, in milliseconds.
        ratio: Time of the form / time of the given network, with its spread; None if the form does not run.
        difference: Largest difference between its outputs and those of the given network, relative to the largest output.
        made_s: Seconds that it took to make the form, such as to compile it.
    """

    form: NetworkForm
    why_not: str = ""
    madds: int | None = None
    median_ms: float | None = None
    low_ms: float | None = None
    high_ms: float | None = None
    ratio: Ratio | None = None
    difference: float | None = None
    made_s: float = 0.0


@dataclass(frozen=True, repr=False)
class OptimizeReport(Record):
    """Result of :func:`nes_lab.optimize`: the time of each form in which a network can run here, and the chosen form.

    Args:
        key: Conditions of the measurement, such as the device. Under other conditions, another form may be faster.
        forms: The forms, with their times; those that are not available have a reason.
        chosen: Name of the chosen form.
        fastest: Name of the fastest form of all, whatever its multiply-adds.
        keep_madds: True: only forms within ``madds_limit`` could be chosen.
        madds_limit: Multiply-adds of the plan, or of the given network if it has no plan, for the example input.
        dense_form: Fastest form of the network with dense layers; empty if no such form runs, or if it has no epitome layers.
        over_dense: Time of the chosen form / time of ``dense_form``, with its spread; None if there is no such form.
        over_fastest: Time of the chosen form / time of the fastest form, with its spread; None if they are the same.
        executions: Name of each epitome layer -> its execution (way to compute the layer) in the form ``eager``.
        notes: Warnings of the steps.
        seconds: Duration of the call in seconds.

    Examples:
        >>> import torch, nes_lab
        >>> network = torch.nn.Sequential(nes_lab.EpitomeLinear(64, 64, epitome_shape=(32, 32)))
        >>> _, report = nes_lab.optimize(network, torch.randn(1, 64), seconds=0.2, forms=["eager", "materialized"])
        >>> [form.form for form in report.forms]
        ['as given', 'eager', 'materialized']
        >>> nes_lab.OptimizeReport.from_json(report.to_json()) == report
        True
    """

    NAME = "optimization report"

    key: TuneKey
    forms: tuple[FormTime, ...]
    chosen: NetworkForm
    fastest: NetworkForm
    keep_madds: bool
    madds_limit: int
    dense_form: NetworkForm | None = None
    over_dense: Ratio | None = None
    over_fastest: Ratio | None = None
    executions: Mapping[str, ExecutionOption] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    def form(self, name: str) -> FormTime:
        """Return the row of one form.

        Raises:
            KeyError: If the form is not in the report.
        """
        return {form.form: form for form in self.forms}[name]  # type: ignore[index]

    def __repr__(self) -> str:
        ms = self.form(self.chosen).median_ms
        return f"OptimizeReport: {self.chosen}, {format_ms(ms or 0.0)}"

    def table(self) -> Table:
        """Return the report as a table: one row per form. The lines below it say what was chosen and why."""
        return Table(_COLUMNS, [self._row(form) for form in self.forms], after=self.lines())

    def _row(self, form: FormTime) -> dict[str, Any]:
        runs = form.ratio is not None and form.median_ms is not None
        return {
            "form": form.form,
            "madds": form.madds,
            "median_ms": form.median_ms if runs else None,
            "half": f"{format_ms(form.low_ms or 0)} to {format_ms(form.high_ms or 0)}" if runs else None,
            "share": f"{form.ratio.median:.3f} ± {form.ratio.uncertainty:.3f}" if form.ratio else None,
            "differs": NO_VALUE if form.difference is None else f"{form.difference:.0e}",
            "note": self._note(form),
        }

    def _note(self, form: FormTime) -> str:
        if form.why_not:
            return form.why_not
        if form.form == self.chosen:
            return "chosen"
        if self.is_above_limit(form):
            return "above the planned multiply-adds"
        if form.form != GIVEN and form.ratio is not None and form.ratio.too_busy:
            return "the machine was too busy to tell it from as given"
        return ""

    def is_above_limit(self, form: FormTime) -> bool:
        """Return True if the multiply-adds of a form keep it from being chosen."""
        return self.keep_madds and form.form != GIVEN and (form.madds or 0) > self.madds_limit

    def lines(self) -> tuple[str, ...]:
        """Return what the report says in sentences: the choice, what is faster with more multiply-adds, and the conditions."""
        chosen = self.form(self.chosen)
        told = [f"chosen: {self.chosen} ({FORMS[self.chosen]})"]
        if self.chosen == GIVEN:
            told.append("no other form that is allowed is clearly faster")
        elif chosen.ratio is not None:
            told.append(chosen.ratio.words(self.chosen, GIVEN))
        if self.over_fastest is not None:
            told.append(self._fastest_line())
        if self.over_dense is not None and self.dense_form not in (self.chosen, self.fastest):
            told.append(self.over_dense.words(self.chosen, f"{self.dense_form}, the fastest dense form"))
        kept = f"at most {format_number(self.madds_limit)} multiply-adds were allowed" if self.keep_madds else ""
        told += [kept or "any number of multiply-adds was allowed", f"measured on {self.key}, in {self.seconds:.0f} s"]
        return (*(f"{line[:1].upper()}{line[1:]}." for line in told), *self.notes)

    def _fastest_line(self) -> str:
        fastest, chosen = self.form(self.fastest), self.form(self.chosen)
        assert self.over_fastest is not None  # the caller has seen it
        madds = f"{format_number(fastest.madds)} multiply-adds instead of {format_number(chosen.madds)}"
        kind = ", the fastest dense form" if self.fastest == self.dense_form else ""
        told = f"fastest of all: {self.fastest}{kind}, {format_ms(fastest.median_ms or 0)}, with {madds}"
        told += f"; {self.over_fastest.words(self.chosen, self.fastest)}"
        return f"{told}; keep_madds=False allows it" if self.is_above_limit(fastest) else told
