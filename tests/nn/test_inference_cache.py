"""No way of changing a parameter, buffer or start leaves old numbers in use; ``for_inference`` keeps weights without looking."""

from __future__ import annotations

import copy
import itertools
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

import nes_lab
from nes_lab.errors import OptionError
from nes_lab.execution import inference_cache
from nes_lab.execution.layer_taps import LayerTaps
from nes_lab.geometry.epitome_geometry import Scope
from nes_lab.geometry.start_rules import ROUTING_MODES
from nes_lab.nn.fixed_starts import FixedStarts
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.nn.registry import LAYERS

SPATIAL = {kind: {"linear": 0, "conv1d": 1, "conv3d": 3}.get(kind, 2) for kind in LAYERS}
STATES: dict[str, Callable[[EpitomeLayer], object]] = {
    "": lambda layer: None,
    "frozen": EpitomeLayer.freeze,
    "snapped": EpitomeLayer.snap,
}


def make(kind: str, seed: int = 0, **options) -> EpitomeLayer:
    torch.manual_seed(seed)
    kernel, cells = ([3], (3,) * SPATIAL[kind]) if SPATIAL[kind] else ([], ())
    shape = (200,) if options.get("scope") == "flat" else (6, 5, *cells)
    layer = LAYERS[kind](8, 12, *kernel, epitome_shape=shape, patch_channels=(3, 2), **options)
    return scattered(layer).eval()


def scattered(layer: EpitomeLayer) -> EpitomeLayer:
    with torch.no_grad():
        for axis, table in layer.routing.tables() if layer.routing.stored else ():
            layer.routing.set_starts_(axis, torch.rand(table.shape))
        if layer.kind == "conv2d_std":
            layer.gain = nn.Parameter(torch.rand(12, 1, 1, 1) + 0.5)
        else:  # as after nes_lab.fuse
            layer.scale = torch.rand(12) + 0.5
    return layer


def images(kind: str, number: int = 2) -> Tensor:
    return torch.randn(number, 8, *(5,) * SPATIAL[kind], generator=torch.Generator().manual_seed(1))


# ---- ways of changing a layer ----------------------------------------------------------------------------------------


def tensors(layer: nn.Module) -> Iterator[Tensor]:
    return (t for t in (*layer.parameters(), *layer.buffers()) if t.is_floating_point())


def each(change: Callable[[Tensor], object]) -> Callable[[nn.Module], None]:
    def apply(layer: nn.Module) -> None:
        with torch.no_grad():
            for tensor in tensors(layer):
                change(tensor)

    return apply


def in_numpy(tensor: Tensor) -> None:
    tensor.detach().numpy()[...] *= 0.5


def as_a_vector(layer: nn.Module) -> None:
    vector = nn.utils.parameters_to_vector(layer.parameters()).detach()
    nn.utils.vector_to_parameters(vector * 0.5, layer.parameters())


def set_data(tensor: Tensor) -> None:
    tensor.data = tensor.data * 0.5


def set_storage(tensor: Tensor) -> None:
    tensor.set_(tensor * 0.5)


def stepped(kind: type, **options) -> Callable[[nn.Module], None]:
    def apply(layer: nn.Module) -> None:
        parameters = [p for p in layer.parameters() if p.requires_grad]
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        kind(parameters, lr=0.3, **options).step()
        for parameter in parameters:
            parameter.grad = None  # nothing is left that would tell of the step

    return apply


def loaded(**options) -> Callable[[nn.Module], None]:
    def apply(layer: nn.Module) -> None:
        layer.load_state_dict(
            {k: v * 0.5 if v.is_floating_point() else v for k, v in layer.state_dict().items()}, **options
        )

    return apply


def swapped(layer: nn.Module) -> None:
    for module in list(layer.modules()):
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                setattr(module, name, nn.Parameter(parameter.detach() * 0.5))
        for name, buffer in list(module._buffers.items()):
            if buffer is not None and buffer.is_floating_point():
                setattr(module, name, buffer * 0.5)


def swapped_routing(layer: nn.Module) -> None:
    layer.routing = FixedStarts(layer.geometry, "random", seed=7)


def averaged(layer: nn.Module) -> None:
    """As a target network follows its online network."""
    online = copy.deepcopy(layer)
    each(lambda tensor: tensor.add_(0.25))(online)
    for target, source in zip(tensors(layer), tensors(online), strict=True):
        target.data.mul_(0.5).add_(source.data, alpha=0.5)


def in_another_thread(layer: nn.Module) -> None:
    thread = threading.Thread(target=each(lambda tensor: tensor.data.mul_(0.5)), args=(layer,))
    thread.start()
    thread.join()


def trained(layer: nn.Module) -> None:
    x, optimizer = images(layer.kind), torch.optim.SGD(layer.parameters(), lr=0.3, fused=True)
    layer.train()(x).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    layer.eval()


SEEN: dict[str, Callable[[nn.Module], None]] = {  # torch counts these, so they are seen after for_inference too
    "mul_": each(lambda tensor: tensor.mul_(0.5)),
    "copy_": each(lambda tensor: tensor.copy_(tensor * 0.5)),
    "foreach": lambda layer: torch._foreach_mul_([t.detach() for t in tensors(layer)], 0.5),
    "load_state_dict": loaded(),
    "load_state_dict(assign=True)": loaded(assign=True),
    "swap": swapped,
    "swap of the routing": swapped_routing,
    "double, then float": lambda layer: each(lambda tensor: tensor.mul_(0.5))(layer.double()) or layer.float(),
    "training": trained,
}
WAYS: dict[str, Callable[[nn.Module], None]] = {
    **SEEN,
    ".data.mul_": each(lambda tensor: tensor.data.mul_(0.5)),
    ".data.copy_": each(lambda tensor: tensor.data.copy_(tensor * 0.5)),
    ".data =": each(set_data),
    "set_": each(set_storage),
    "numpy": each(in_numpy),
    "vector_to_parameters": as_a_vector,
    "SGD": stepped(torch.optim.SGD),
    "fused SGD": stepped(torch.optim.SGD, fused=True),
    "fused AdamW": stepped(torch.optim.AdamW, fused=True),
    "average": averaged,
    "thread": in_another_thread,
}


def expected(layer: EpitomeLayer, x: Tensor) -> Tensor:
    with torch.no_grad():
        return layer.to_dense()(x)  # nes_lab.materialize calls this for each layer


CASES = [
    (kind, routing, scope, state)
    for kind in LAYERS
    for routing, mode in ROUTING_MODES.items()
    for scope in get_args(Scope)
    for state in (STATES if mode.learned else [""])  # a rule's starts are frozen from the beginning
    if (routing, scope) != ("learner", "flat")  # they do not go together
]


@pytest.mark.parametrize(("kind", "routing", "scope", "state"), CASES)
def test_no_change_leaves_old_numbers_in_use(kind, routing, scope, state):
    x, modes = images(kind), itertools.cycle((torch.no_grad, torch.inference_mode))
    for execution in make(kind, routing=routing, scope=scope).available_executions():
        for (way, change), mode in zip(WAYS.items(), modes, strict=False):
            layer = make(kind, routing=routing, scope=scope, execution=execution)
            STATES[state](layer)
            with torch.no_grad():
                before = [layer(x), layer(x)][1]
            change(layer)
            with mode():
                after = layer(x)
            assert not torch.allclose(after, before, atol=1e-3), f"{way} changed nothing"
            torch.testing.assert_close(after, expected(layer, x), rtol=1e-4, atol=1e-5, msg=f"{execution}, {way}")


def test_a_target_network_follows_its_online_network():
    """The target is written through ``.data``, and evaluated between two updates."""
    target = nn.Sequential(make("linear", routing="free"), nn.ReLU(), nn.Linear(12, 3)).eval()
    online, x = copy.deepcopy(target), images("linear")
    for _ in range(3):
        each(lambda tensor: tensor.add_(0.1))(online)
        with torch.no_grad():
            target(x)
            for old, new in zip(target.parameters(), online.parameters(), strict=True):
                old.data.mul_(0.5).add_(new.data, alpha=0.5)
            torch.testing.assert_close(target(x), nes_lab.materialize(target)(x))


def test_writing_into_the_starts_of_a_rule_changes_nothing():
    layer, x = make("linear", routing="random"), images("linear")
    with torch.no_grad():
        before, weight = layer(x), layer.materialize()
        for _, table in layer.routing.tables():
            table.data.zero_()
        assert torch.equal(layer(x), before) and torch.equal(layer.materialize(), weight)
        layer.routing.current()[0].zero_()  # a copy
        assert torch.equal(make("linear", routing="random")(x), before)
    with pytest.raises(OptionError, match="routing='random' are set by a rule"):
        layer.routing.set_starts_(0, torch.zeros(4))


# ---- what is kept ------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_comparison(monkeypatch):
    def refuse(*given):
        raise AssertionError("numbers were compared")

    monkeypatch.setattr(inference_cache, "_equal_memory", refuse)


def count_prepares(layer: EpitomeLayer, x: Tensor, monkeypatch) -> list[int]:
    made, execution = [], layer.resolved_execution(x.shape)
    prepare = execution.prepare
    monkeypatch.setattr(execution, "prepare", lambda *given: made.append(1) or prepare(*given))
    return made


@pytest.mark.parametrize("routing", ROUTING_MODES)
def test_an_unchanged_layer_samples_its_weight_once(routing, monkeypatch):
    layer, x = make("linear", routing=routing, execution="materialize"), images("linear")
    made = count_prepares(layer, x, monkeypatch)
    with torch.no_grad():
        layer(x), layer(x)
    with torch.inference_mode():
        layer(x)
    assert len(made) == 1


@pytest.mark.parametrize("routing", ROUTING_MODES)
def test_on_other_devices_nothing_is_compared_or_kept(routing, monkeypatch, no_comparison):
    """A comparison would wait for the device; starts that a rule sets need none."""
    monkeypatch.setattr(torch.Tensor, "is_cpu", property(lambda tensor: False), raising=False)
    layer, x = make("linear", routing=routing, execution="materialize"), images("linear")
    serving = nes_lab.for_inference(layer)
    made, made_serving = count_prepares(layer, x, monkeypatch), count_prepares(serving, x, monkeypatch)
    built, build = [], LayerTaps.build
    monkeypatch.setattr(LayerTaps, "build", staticmethod(lambda *given: built.append(1) or build(*given)))
    with torch.no_grad():
        layer(x), layer(x)
        assert len(made) == 2 and len(built) == (2 if layer.routing.stored else 1)
        serving(x), serving(x)
    assert len(made_serving) == 1


def test_a_weight_sampled_while_another_thread_writes_is_not_kept():
    """The other thread writes, and later writes the old numbers back."""
    layer, x = make("linear", routing="free", execution="materialize"), images("linear")
    build, before = layer._taps.build, expected(layer, x)

    def slow(*given):
        thread = threading.Thread(target=lambda: layer.epitome.data.mul_(0.5))
        thread.start()
        thread.join()
        return build(*given)

    layer._taps.build = slow
    with torch.no_grad():
        layer(x)
        layer._taps.build = build
        layer.epitome.data.mul_(2)
        torch.testing.assert_close(layer(x), before)


def test_a_tensor_with_gaps_in_memory_is_compared_in_no_wrong_way():
    layer, x, memory = make("linear", execution="materialize"), images("linear"), torch.ones(6, 10)
    layer.epitome.data = memory[:, ::2]
    with torch.no_grad():
        layer(x)
        memory[5] = 3  # beyond the first 30 numbers, which would be compared
        torch.testing.assert_close(layer(x), expected(layer, x))


def test_a_transposed_epitome_in_the_same_memory_is_seen():
    torch.manual_seed(0)
    layer = nes_lab.EpitomeLinear(12, 12, epitome_shape=(6, 6), execution="materialize").eval()
    x = torch.randn(2, 12)
    with torch.no_grad():
        layer(x)
        layer.epitome.data = layer.epitome.data.t()
        torch.testing.assert_close(layer(x), expected(layer, x))


@pytest.mark.parametrize("kind", ["linear", "conv2d", "conv2d_std"])
def test_one_cache_serves_float32_and_autocast(kind):
    layer, x = make(kind, routing="free"), images(kind)
    for execution in layer.available_executions():
        layer.execution = execution
        with torch.no_grad():
            with torch.autocast("cpu", torch.bfloat16):
                low = layer(x)
            assert low.dtype == torch.bfloat16
            torch.testing.assert_close(layer(x), expected(layer, x), rtol=1e-4, atol=1e-5)
            with torch.autocast("cpu", torch.bfloat16):
                assert torch.equal(layer(x), low)


@pytest.mark.parametrize("routing", ROUTING_MODES)
@pytest.mark.parametrize("mode", ["real", "fake"])
def test_a_recorded_graph_reads_the_parameters(mode, routing):
    """Kept weights must not become constants of the graph, and fake weights must not be kept."""
    layer, x = make("linear", routing=routing, execution="materialize"), images("linear")
    with torch.no_grad():
        for _ in range(2):  # the second time with kept values
            options = {} if mode == "real" else {"_allow_non_fake_inputs": True}
            graph = make_fx(layer, tracing_mode=mode, **options)(x)
            layer.epitome.data.mul_(0.5)
            torch.testing.assert_close(graph(x), layer(x))
            torch.testing.assert_close(layer(x), expected(layer, x))


# ---- for_inference -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", SEEN)
@pytest.mark.parametrize("routing", ROUTING_MODES)
@pytest.mark.parametrize("kind", ["conv2d", "conv2d_std"])
def test_for_inference_sees_what_torch_counts(kind, routing, way):
    x = images(kind)
    for execution in make(kind, routing=routing).available_executions():
        layer = nes_lab.for_inference(make(kind, routing=routing, execution=execution))
        with torch.inference_mode():
            layer(x), layer(x)
        SEEN[way](layer)
        with torch.inference_mode():
            torch.testing.assert_close(layer(x), expected(layer, x), rtol=1e-4, atol=1e-5)


def test_for_inference_sees_new_data_at_an_old_address():
    layer, x = nes_lab.for_inference(make("linear", execution="materialize")), images("linear")
    for _ in range(40):
        with torch.no_grad():
            layer(x)
            layer.epitome.data = torch.randn(6, 5)
            layer.epitome.data = torch.randn(6, 5)
            torch.testing.assert_close(layer(x), expected(layer, x))


@pytest.mark.parametrize("routing", ROUTING_MODES)
def test_for_inference_keeps_weights_without_looking(routing, monkeypatch, no_comparison):
    network = nn.Sequential(make("linear", routing=routing, execution="materialize")).train()
    serving, x = nes_lab.for_inference(network), images("linear")
    assert network.training and not serving.training
    made = count_prepares(serving[0], x, monkeypatch)
    with torch.inference_mode():
        serving(x), serving(x)
    with torch.no_grad():
        serving(x)
    assert len(made) == 1


ENDS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "train": lambda network: network.train().eval(),
    "train of the layer": lambda network: (network[0].train(), network.eval())[1],
    "deepcopy": copy.deepcopy,
    "pickle": lambda network: pickle.loads(pickle.dumps(network)),  # noqa: S301 (our own bytes)
}


@pytest.mark.parametrize("end", ENDS)
def test_training_and_copies_end_for_inference(end):
    serving, x = nes_lab.for_inference(nn.Sequential(make("linear", routing="free"))), images("linear")
    serving[0].execution = "materialize"
    with torch.no_grad():
        serving(x)
        network = ENDS[end](serving)
        network(x)
        WAYS[".data.mul_"](network)
        torch.testing.assert_close(network(x), expected(network[0], x))


@pytest.mark.parametrize(
    "step",
    [
        EpitomeLayer.freeze,
        EpitomeLayer.snap,
        nes_lab.fuse,
        lambda layer: nes_lab.tune(layer, images("linear"), seconds=0.01),
    ],
)
def test_only_for_inference_lets_a_layer_keep_without_looking(step):
    layer, x = make("linear", routing="free", execution="materialize"), images("linear")
    made = step(layer)
    layer = made if isinstance(made, EpitomeLayer) else layer
    with torch.no_grad():
        layer(x)
        WAYS[".data.mul_"](layer)
        torch.testing.assert_close(layer(x), expected(layer, x))


def test_for_inference_takes_a_module():
    with pytest.raises(OptionError, match="for_inference takes a torch module"):
        nes_lab.for_inference({})


def test_for_inference_refuses_a_network_whose_copy_runs_the_original():
    network = nn.Sequential(make("linear"))
    network.forward = lambda x: network[0](x)
    with pytest.raises(OptionError, match="for_inference works on a copy"):
        nes_lab.for_inference(network)
