"""Networks that cannot be looked into, or whose copies would run the layers of the original."""

from __future__ import annotations

import functools
import types

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab import Budget
from nes_lab.errors import OptionError
from nes_lab.nn.model_checks import check_copyable

X = torch.randn(2, 32)


def _net() -> nn.Sequential:
    return nn.Sequential(nn.Sequential(nn.Linear(32, 32), nn.ReLU()), nn.Linear(32, 8)).eval()


def _plan(model: nn.Module):
    return nes_lab.plan_for_budget(model, Budget(params="60%"), X)


def _closure(model: nn.Module):
    original = model.forward
    return lambda x: original(x) * 2


def _decorated(model: nn.Module):
    original = model.forward

    @functools.wraps(original)
    def forward(x):
        return original(x) * 2

    return forward


def _partial_of_a_closure(model: nn.Module):
    return functools.partial(_closure(model))


def _method_around_a_closure(model: nn.Module):
    inner = _closure(model)
    return types.MethodType(lambda self, x: inner(x), model)


REPLACED = {
    "closure": _closure,
    "decorated": _decorated,
    "compiled": lambda model: torch.compile(model.forward, backend="eager"),
    "partial": _partial_of_a_closure,
    "method": _method_around_a_closure,
    "default": lambda model: lambda x, original=model.forward: original(x) * 2,
}


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("how", REPLACED)
def test_a_forward_that_a_copy_would_not_copy_is_refused_by_name(how, inside, tmp_path):
    model = _net()
    plan = _plan(model)
    folder = nes_lab.save_pretrained(nes_lab.compress(model, plan), tmp_path / "saved")
    changed = model[0] if inside else model
    changed.forward = REPLACED[how](changed)
    named = "the forward of the module '0' was replaced" if inside else "the forward of the network itself was replaced"
    for call in (
        lambda: _plan(model),
        lambda: nes_lab.preset("both_axes", model, X),
        lambda: nes_lab.compress(model, plan),
        lambda: nes_lab.fit(model, plan),
        lambda: nes_lab.materialize(model),
    ):
        with pytest.raises(OptionError, match=named):
            call()
    with pytest.raises(nes_lab.CheckpointError, match=named):
        nes_lab.from_pretrained(folder, model=model)


def test_another_method_of_the_class_is_looked_at_as_well():
    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(32, 32)

        def features(self, x):
            return self.head(x)

        def forward(self, x):
            return self.features(x)

    model = Parts()
    model.features = lambda x: model.head(x).relu()
    with pytest.raises(OptionError, match=r"the features of the network itself .* holds the network itself"):
        _plan(model)


original_forward = nn.Identity().forward


def test_names_of_the_script_are_looked_at_too():
    """In a script or a notebook, the original forward is a module-level name and not a closure's."""
    global original_forward
    model = _net()
    original_forward = model.forward
    model.forward = lambda x: original_forward(x) * 2
    with pytest.raises(OptionError, match="the network itself was replaced"):
        _plan(model)


def _bound(model: nn.Module) -> nn.Module:
    model.forward = types.MethodType(lambda self, x: type(self).forward(self, x) * 2, model)
    return model


def _as_accelerate_does(model: nn.Module) -> nn.Module:
    def new_forward(module, *args):
        return module._old_forward(*args) * 2

    model._old_forward = model.forward
    model.forward = functools.update_wrapper(functools.partial(new_forward, model), model.forward)
    return model


def _compiled_in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


def _unrelated(model: nn.Module) -> nn.Module:
    model[0].forward = lambda x: x + 1
    return model


FOLLOW = {
    "method": _bound,
    "accelerate": _as_accelerate_does,
    "compile": lambda model: torch.compile(model, backend="eager"),
    "compile in place": _compiled_in_place,
    "compile a layer": lambda model: nn.Sequential(torch.compile(model[0], backend="eager"), model[1]),
    "fx": lambda model: torch.fx.symbolic_trace(model),
    "data parallel": nn.DataParallel,
    "no module": _unrelated,
}


@pytest.mark.parametrize("how", FOLLOW)
def test_what_a_copy_follows_goes_on_working(how):
    model = FOLLOW[how](_net())
    plan = _plan(model)
    small = nes_lab.compress(model, plan)
    report = nes_lab.count(small, X)
    assert plan.layers and report.counts == plan.predicted and not report.not_counted
    with torch.no_grad():
        before = model(X)
        for parameter in small.parameters():
            parameter.zero_()
        assert torch.equal(model(X), before) and not small(X).abs().sum().equal(before.abs().sum())


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("kind", ["script", "trace", "export", "unflatten"])
def test_programs_are_refused_by_name(kind, inside):
    dense = _net()
    plan = _plan(dense)
    exported = torch.export.export(dense, (X,)) if kind in ("export", "unflatten") else None
    program = {
        "script": lambda: torch.jit.script(dense),
        "trace": lambda: torch.jit.trace(dense, X),
        "export": lambda: exported.module(),
        "unflatten": lambda: torch.export.unflatten(exported),
    }[kind]()
    model = nn.Sequential(program) if inside else program
    named = r"its module '0' is" if inside else r"; it is"
    what = "torch.jit.script or" if exported is None else "torch.export"
    for call in (
        lambda: _plan(model),
        lambda: nes_lab.count(model, X),
        lambda: nes_lab.compress(model, plan),
        lambda: nes_lab.fit(model, plan),
        lambda: nes_lab.materialize(model),
    ):
        with pytest.raises(OptionError, match=rf"{named} .*{what}.*takes the Python network"):
            call()


def test_a_class_or_a_number_is_no_network():
    with pytest.raises(OptionError, match="model is a int; count takes a torch module"):
        nes_lab.count(3, X)
    check_copyable(_net(), "compress")


def _holding(where: str) -> nn.Module:
    """A network with a function that holds one of its modules, in the given place."""
    network = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 8))

    def run(*args: object) -> None:
        network[2](args[-1])

    if where == "attribute":
        network[1].after = run
    elif where == "list":
        network.functions = [{"a": functools.partial(run, 1)}]
    elif where == "compiled":
        network.fast = torch.compile(network[0].forward, backend="eager")
    elif where == "hook":
        network[0].register_forward_hook(run)
    elif where == "state dict hook":
        network[0].register_state_dict_pre_hook(run)
    else:
        network[0].weight.register_hook(run)
    return network


@pytest.mark.parametrize("where", ["attribute", "list", "compiled", "hook", "state dict hook", "gradient hook"])
def test_functions_that_hold_a_module_of_the_network_are_named(where):
    network, x = _holding(where), torch.randn(2, 32)
    with pytest.raises(OptionError, match=r"its attribute .* is the function .*, which holds the (module|network)"):
        nes_lab.plan_for_budget(network, nes_lab.Budget(params="60%"), x)
    with pytest.raises(OptionError, match="materialize works on a copy"):
        nes_lab.materialize(network)


def test_functions_that_hold_something_else_are_kept():
    seen: list[object] = []
    network = nn.Sequential(nn.Linear(32, 32))
    network[0].register_forward_hook(lambda module, args, output: seen.append(output))
    network.names = [lambda x: seen]
    check_copyable(network, "compress")
