"""Compare, by one run, what a compressed network does with what its plan says.

1. The network runs once on an input made from the description in the plan, or on ``example_input``.
2. The calls of every replaced layer, the params and the multiply-adds are compared with the plan.
3. If something differs, a reference runs on the same input: the dense network, or a materialized copy. Then the compressed network
   runs again, and each epitome layer returns what the layer of the reference returns. Now both compute the same numbers, so
   whatever still differs is a fault. If nothing differs any more, the network's way through its layers depends on its numbers,
   and the plan cannot be checked with this input.
4. Before a difference is called a fault, each network runs a few times. Where the runs of one network differ, the plan cannot be
   checked: a forward may draw random numbers that no seed controls, or count its calls.

Tests: tests/surgery/test_verify.py
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from nes_lab.cost.count import stored_params
from nes_lab.cost.example_input import describe_input
from nes_lab.cost.left_as_it_was import left_as_it_was
from nes_lab.errors import OptionError, PlanError
from nes_lab.geometry.start_rules import routing_mode
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.surgery.counted_run import Calls, CountedRun, counted_run, strangers
from nes_lab.surgery.planned_input import described_input, planned_input
from nes_lab.surgery.replace import materialize
from nes_lab.text import list_some

__all__ = ["why_not_verified"]

RUNS = 4
"""How often each network runs before a difference is called a fault: its forward may draw numbers that no seed controls."""


def why_not_verified(
    network: nn.Module, plan: CompressionPlan, example_input: Any = None, dense: nn.Module | None = None
) -> str:
    """Check by one run that a compressed network does what its plan says, and return why it could not be checked.

    Args:
        network: The compressed network; it is not changed.
        plan: The plan that it was made by.
        example_input: Input of one forward pass; None: an input is made from the description in the plan.
        dense: The network that was compressed. None: it is not available. Params and multiply-adds of the complete network are not
            compared then, because it may have been changed since, for example by ``nes_lab.fuse`` or a new classifier. Only if the
            plan limits multiply-adds, layers that take more than planned are a reason.

    Returns:
        Empty if everything is as the plan says. Otherwise the reason why this cannot be said.

    Raises:
        PlanError: If calls, params or multiply-adds differ from the plan, or the network cannot run an input that the dense
            network can run; the message names the layers.
        OptionError: If ``example_input`` is not an input of the network.

    Examples:
        >>> import nes_lab
        >>> model, x = nn.Sequential(nn.Linear(64, 64)), torch.randn(1, 64)
        >>> plan = nes_lab.plan_for_budget(model, nes_lab.Budget(params="50%"), x)
        >>> why_not_verified(nes_lab.compress(model, plan), plan, dense=model)
        ''
    """
    modules = dict(network.named_modules(remove_duplicate=False))
    layers = {name: layer for name in plan.layers if isinstance(layer := modules.get(name), EpitomeLayer)}
    if not layers:
        has_epitomes = any(isinstance(module, EpitomeLayer) for module in modules.values())
        return "none of the layers that the plan replaces is in the network" if has_epitomes else ""
    _check_sizes(network, plan, layers, dense)
    try:
        example = planned_input(network, plan) if example_input is None else example_input
    except OptionError as error:
        return f"no input can be made from the plan: {error}; give example_input="
    return _Check(network, plan, layers, example, dense, given=example_input is not None).why_not()


def _check_sizes(
    network: nn.Module, plan: CompressionPlan, layers: Mapping[str, EpitomeLayer], dense: nn.Module | None
) -> None:
    """Check the shapes of the epitomes, and the params of the complete network, which needs no run."""
    for name, layer in layers.items():
        shapes = (layer.geometry.weight_shape, layer.geometry.epitome_shape)
        planned = (plan.layers[name].weight_shape, plan.layers[name].epitome_shape)
        if shapes != planned:
            raise PlanError(
                f"layer {name!r} has a weight of shape {shapes[0]} and an epitome of shape {shapes[1]}; the plan says "
                f"{planned[0]} and {planned[1]}"
            )
    if dense is None:
        return
    params, expected = stored_params(network), stored_params(dense) - plan.dense.params + plan.predicted.params
    if params != expected:
        wrong = [n for n, layer in layers.items() if layer.stored_params() != plan.layers[n].predicted.params]
        raise PlanError(
            f"the compressed network has {params:,} params, where the plan says {expected:,}; look at "
            f"{list_some(wrong or list(layers))}"
        )


@dataclass(frozen=True)
class _Check:
    """The comparison of a compressed network with its plan, for one input.

    Args:
        network: The compressed network.
        plan: Its plan.
        layers: The epitome layers of the plan, by name.
        example: The input.
        dense: The dense network; None if it is not available.
        given: True if the user gave the input; False if it was made from the plan.
    """

    network: nn.Module
    plan: CompressionPlan
    layers: Mapping[str, EpitomeLayer]
    example: Any
    dense: nn.Module | None
    given: bool

    def why_not(self) -> str:
        """Compare, and return why the network is not verified; see :func:`why_not_verified`."""
        try:
            run = counted_run(self.network, self.layers, self.example)
        except OptionError as error:
            return self._cannot_run(error)
        differences = self._differences(run)
        return self._explain("; ".join(differences), run) if differences else self._lost_budget(run)

    def _lost_budget(self, run: CountedRun) -> str:
        """Return a sentence if the layers take more multiply-adds than planned although the plan limits them; otherwise nothing.

        With the dense network, all multiply-adds have been compared already.
        """
        budget = self.plan.budget
        limited = budget is not None and budget.madds is not None and all(run.calls.values())
        if self.dense is not None or not limited or not self._has_planned_shapes():
            return ""
        more = [name for name in self.layers if run.madds(name) > self._expected_madds(name, run.calls[name])]
        if not more:
            return ""
        return (
            f"the network takes {run.report.madds:,} madds, where the plan, which limits them, says "
            f"{self.plan.predicted.madds:,}; look at execution of {list_some(more)}"
        )

    def _differences(self, run: CountedRun) -> list[str]:
        """List what differs from the plan, one sentence each."""
        wrong = self._call_differences(run)
        if wrong or not self._has_planned_shapes() or self.dense is None:
            return wrong
        expected = {name: self._expected_madds(name, run.calls[name]) for name in self.layers}
        total = self.plan.predicted.madds + sum(expected[n] - self.plan.layer_counts(n).madds for n in self.layers)
        if run.report.madds == total:
            return []
        kept = {name: layer.dense.madds for name, layer in self.plan.kept_layers.items()}
        named = [name for name, madds in (expected | kept).items() if run.madds(name) != madds]
        where = list_some(named) or "products outside the layers with weights"
        return [f"the network takes {run.report.madds:,} madds, where the plan says {total:,}; look at {where}"]

    def _has_planned_shapes(self) -> bool:
        """Return True if the tensors of the input have the shapes of the input that the plan was made with."""
        return describe_input(self.example).shapes == described_input(self.plan).shapes

    def _call_differences(self, run: CountedRun) -> list[str]:
        same_input = self._has_planned_shapes()
        return [text for name in self.layers if (text := self._wrong_calls(name, run.calls[name], same_input))]

    def _wrong_calls(self, name: str, seen: Calls, same_input: bool) -> str:
        planned = self.plan.layers[name].calls
        expected = seen if planned is None else Counter({call.input_shape: call.times for call in planned})
        if seen.total() != expected.total():
            return f"layer {name!r} is called {_times(seen.total())}, where the plan says {_times(expected.total())}"
        if same_input and seen != expected:
            shapes = list_some(list(seen)), list_some(list(expected))
            return f"layer {name!r} gets inputs of shape {shapes[0]}, where the plan says {shapes[1]}"
        return ""

    def _expected_madds(self, name: str, calls: Calls) -> int:
        """Return the multiply-adds of a layer in the form that runs: as planned, or with starts in another form (integers or not)."""
        layer, learned = self.layers[name], routing_mode(self.plan.layers[name].routing).learned
        if calls and learned and layer.frozen != self.plan.snap:
            return sum(times * layer.cost(shape).madds for shape, times in calls.items())
        return self.plan.layer_counts(name).madds

    def _cannot_run(self, error: OptionError) -> str:
        """Raise an error if the dense network can run the input that the compressed one cannot run; otherwise return why."""
        theirs = [self._failure(*self._reference()) for _ in range(RUNS)]
        if all(theirs):
            if self.given:
                raise (theirs[0] or error) from None
            older = (
                ""
                if self.plan.example_input
                else "the plan is of an older version and gives only the shape of the input; "
            )
            return f"{older}the input that was made from the plan cannot be run: {theirs[0]}; give example_input="
        ours = (self._failure(self.network, self.layers) for _ in range(RUNS - 1))
        if any(theirs) or not all(ours):
            return f"{error}. This differs from run to run on the same input"
        raise PlanError(f"the compressed network fails where the dense one runs: {error}") from error

    def _failure(self, network: nn.Module, layers: Mapping[str, nn.Module]) -> OptionError | None:
        """Return why a network cannot run the input, or None if it can."""
        try:
            counted_run(network, layers, self.example)
        except OptionError as error:
            return error
        return None

    def _reference(self) -> tuple[nn.Module, dict[str, nn.Module]]:
        """Return the dense network, or a materialized copy, and the layers in it that the plan replaces."""
        reference = materialize(self.network) if self.dense is None else self.dense
        return reference, {name: reference.get_submodule(name) for name in self.layers}

    def _explain(self, differences: str, first: CountedRun) -> str:
        """Raise an error if differences from the plan are faults of the network; otherwise return why they are not.

        Args:
            differences: What differs from the plan.
            first: The run that showed it.

        Raises:
            PlanError: If the compressed network goes another way through its layers than the reference, although each epitome
                layer returns what the reference's layer returns.
        """
        by_chance = f"{differences}. Its calls differ from run to run on the same input, so they cannot be compared with the plan"
        if not _is_steady(first, lambda: counted_run(self.network, self.layers, self.example)):
            return by_chance
        others = strangers(self.network, self.example) if self.dense is None else []
        if others:
            raise PlanError(f"{differences}. Its forward calls modules that are not in it: {list_some(others)}")
        try:
            reference, plain = self._reference()
            theirs = counted_run(reference, plain, self.example)
            with left_as_it_was(reference):
                ours = self._run_with(plain)
                if _same_way(ours, theirs):
                    if self._is_as_planned(theirs, first):
                        raise PlanError(
                            f"{differences}. The same layers run on the same shapes as the plan says, so these are not the "
                            "madds of this network"
                        )
                    return (
                        f"{differences}. With the outputs of the dense layers it does on this input what the dense network "
                        f"does, {_DEPENDS}"
                    )
                ours_is_steady = _is_steady(ours, lambda: self._run_with(plain))
            if not (ours_is_steady and _is_steady(theirs, lambda: counted_run(reference, plain, self.example))):
                return by_chance
        except OptionError as error:
            raise PlanError(f"{differences}. {error}") from error
        if dense_differences := self._call_differences(theirs):
            return f"{differences}. With the dense layers, {'; '.join(dense_differences)}, {_DEPENDS}"
        wrong = [name for name in self.layers if ours.calls[name] != theirs.calls[name]]
        raise PlanError(
            f"the compressed network does not do what the plan says: {differences}. Its forward does something else with "
            f"{list_some(wrong or list(self.layers))} than with dense layers: it asks for their class, reads an attribute that "
            "they lack, or calls modules of another network. verify=False skips this check"
        )

    def _is_as_planned(self, theirs: CountedRun, first: CountedRun) -> bool:
        """Return True if all but the multiply-adds of the replaced layers is as the plan says, in the dense network too.

        Plans of older versions are left out, because they were counted by older rules.
        """
        is_known = self.dense is not None and self.plan.example_input is not None and self._has_planned_shapes()
        is_same = _same_way(first, theirs) and all(first.calls.values()) and not self._call_differences(first)
        return is_known and is_same and theirs.report.madds == self.plan.dense.madds

    def _run_with(self, plain: Mapping[str, nn.Module]) -> CountedRun:
        """Run the compressed network with the outputs of dense layers."""
        return counted_run(self.network, self.layers, self.example, instead=plain)


_DEPENDS = "so which layers run depends on the numbers, or the plan was made for another network; example_input= gives another input"


def _same_way(ours: CountedRun, theirs: CountedRun) -> bool:
    """Return True if two networks called the same layers on the same shapes, and did the same products outside of them."""
    all_called = all(ours.calls.values())  # a parent may sample the weight of a layer that it does not call
    return ours.calls == theirs.calls and (ours.other_madds == theirs.other_madds or not all_called)


def _is_steady(first: CountedRun, again: Callable[[], CountedRun]) -> bool:
    """Return True if more runs of a network call the same layers, with the same number of products, as its first run."""
    runs = (again() for _ in range(RUNS - 1))
    return all(run.calls == first.calls and run.report.madds == first.report.madds for run in runs)


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
