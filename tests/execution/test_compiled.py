"""torch.compile: one graph for every execution, compiled once, whatever the starts do from step to step."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch.utils.checkpoint import checkpoint

from nes_lab.epitome import constants, row_operations
from nes_lab.errors import PlanError
from nes_lab.execution.registry import EXECUTIONS
from nes_lab.nn import compiled_step
from nes_lab.nn.compiled_facts import layer_numbers
from nes_lab.nn.conv import EpitomeConv1d, EpitomeConv2d
from nes_lab.nn.layer import EpitomeLayer


def _layer(name: str, routing: str) -> tuple[EpitomeLayer, torch.Tensor]:
    """A layer that the execution can compute: with a longer epitome kernel for ``product_map``, or a 1x1 convolution."""
    torch.manual_seed(0)
    if name == "product_map":
        layer: EpitomeLayer = EpitomeConv1d(
            6, 12, 5, epitome_shape=(6, 4, 9), patch_channels=(3, 2), padding=2, routing=routing
        )
        x = torch.randn(2, 6, 20)
    elif name.endswith("_matmul"):
        layer = EpitomeConv2d(16, 24, 1, epitome_shape=(12, 10, 1, 1), patch_channels=(4, 4), routing=routing)
        x = torch.randn(2, 16, 6, 6)
    else:
        layer = EpitomeConv2d(
            16, 24, 3, epitome_shape=(12, 10, 3, 3), patch_channels=(4, 4), padding=1, routing=routing
        )
        x = torch.randn(2, 16, 6, 6)
    layer.execution = name
    return layer, x


CASES = [
    *((name, routing) for name in ("auto", *EXECUTIONS) for routing in ("tiled", "free")),
    ("factored", "random"),
    ("auto", "learner"),
]


@pytest.mark.parametrize(("name", "routing"), CASES)
def test_no_recompilation_from_step_to_step(name, routing):
    """Four training steps that move the starts across cells, as the eager layer takes them, from one compiled graph."""
    torch.compiler.reset()
    counters.clear()
    layer, x = _layer(name, routing)
    eager = copy.deepcopy(layer)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for module, forward in ((layer, compiled), (eager, eager)):
        optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
        for _ in range(4):
            optimizer.zero_grad()
            forward(x).square().mean().backward()
            optimizer.step()
    assert counters["stats"]["unique_graphs"] == 1 and not counters["graph_break"]
    for (what, a), b in zip(layer.state_dict().items(), eager.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=what)  # four steps in float32
    layer.eval(), eager.eval()
    with torch.no_grad():
        for _ in range(3):
            torch.testing.assert_close(compiled(x), eager(x), rtol=1e-4, atol=1e-5)
    assert counters["stats"]["unique_graphs"] == 2  # and one for inference


def test_a_compiled_training_step_leaves_no_stale_inference_cache():
    """A fused optimizer raises no version of what it changes; eager inference after it must see the new weights."""
    torch.compiler.reset()
    layer, x = _layer("materialize", "free")
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5, fused=True)
    with torch.no_grad():
        before = layer.eval()(x)
    compiled.train()(x).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
        after = layer.eval()(x)
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, layer.op(x, layer.materialize(), layer.bias), rtol=1e-5, atol=1e-5)


def test_snapped_starts_compile_without_waiting_for_the_table():
    torch.compiler.reset()
    layer, x = _layer("factored", "free")
    layer.snap()
    layer.eval()
    with torch.no_grad():
        torch.testing.assert_close(
            torch.compile(layer, fullgraph=True, backend="aot_eager")(x), layer(x), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize(("boundary", "sign"), [("clamp", 1), ("clamp", -1), ("circular", 1)])
def test_compiled_starts_at_and_beyond_their_bounds_get_the_gradients_of_the_eager_layer(boundary, sign):
    """With a shorter last patch, and starts below 0, at 0, at the upper bound and above it."""
    torch.compiler.reset()
    torch.manual_seed(0)
    layer = EpitomeConv2d(
        10,
        14,
        3,
        epitome_shape=(9, 8, 3, 3),
        patch_channels=(4, 3),
        padding=1,
        routing="free",
        boundary=boundary,
        execution="factored",
    )
    for axis, starts in ((0, [-0.5, 0.0, 5.0, 7.0]), (1, [0.0, 2.3, 5.0, 9.0])):
        layer.routing.set_starts_(axis, torch.tensor(starts))
    eager, x = copy.deepcopy(layer), torch.randn(2, 10, 6, 6)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    outputs = []
    for forward in (compiled, eager):
        outputs.append(forward(x))
        (sign * outputs[-1].square().mean()).backward()
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
    for (name, a), b in zip(layer.named_parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5, msg=name)
        torch.testing.assert_close(a, b, msg=name)


@pytest.mark.parametrize(
    ("kernel", "stride", "pixels", "options"),
    [
        (3, 2, 9, {"routing": "free"}),
        (1, 2, 6, {"routing": "free", "boundary": "circular"}),  # one matrix product for all samples
        (1, 1, 12, {"routing": "free", "patch_channels": (24, 4)}),  # gradients from that of the complete weight
        (3, 1, 6, {"routing": "learner", "patch_channels": (4, 16)}),
        (1, 2, 24, {"routing": "learner", "squash": "sigmoid", "boundary": "circular"}),
        (1, 1, 6, {"routing": "learner", "squash": "sigmoid"}),
    ],
)
def test_a_compiled_step_with_learned_starts_does_what_the_eager_one_does(kernel, stride, pixels, options):
    """Output, gradients of input, epitome, bias and starts or index learner, and what is stored."""
    torch.compiler.reset()
    torch.manual_seed(0)
    options = {"patch_channels": (4, 4), **options}
    cells = (24 if options["patch_channels"][0] == 24 else 12, 16 if options["patch_channels"][1] == 16 else 10)
    layer = EpitomeConv2d(
        16, 24, kernel, stride, kernel // 2, epitome_shape=(*cells, kernel, kernel), execution="factored", **options
    )
    for name, tensor in layer.routing.named_parameters():
        nn.init.normal_(tensor, std=0.5 if "offsets" in name else 0.2)
    eager, x = copy.deepcopy(layer), torch.randn(3, 16, pixels, pixels)
    outputs, inputs = [], []
    for forward in (torch.compile(layer, fullgraph=True, backend="aot_eager"), eager):
        inputs.append(x.clone().requires_grad_())
        outputs.append(forward(inputs[-1].sin()))
        outputs[-1].sin().mean().backward()
    close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-7)
    close(*outputs)
    close(inputs[0].grad, inputs[1].grad)
    for (name, a), b in zip(layer.named_parameters(), eager.parameters(), strict=True):
        assert a.grad.any(), name
        close(a.grad, b.grad, msg=name)
    for (name, a), b in zip(layer.named_buffers(), eager.buffers(), strict=True):
        close(a, b, msg=name)


def test_a_compiled_step_that_checkpointing_repeats_begins_from_the_starts_before_it():
    """The step has stored new starts by then. Those must not change the gradients, nor be averaged once more."""
    torch.compiler.reset()
    layer, x = _learning_layer()
    eager, gradients = copy.deepcopy(layer), []
    for module in (layer, eager):
        given = x.clone().requires_grad_()

        def forward(x, module=module):
            return checkpoint(module, x, use_reentrant=False)

        if module is layer:
            forward = torch.compile(forward, fullgraph=True, backend="aot_eager")
        for _ in range(2):
            forward(given.sin()).sin().square().mean().backward()
        gradients.append({name: tensor.grad for name, tensor in module.named_parameters()} | {"x": given.grad})
    for name, gradient in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], gradient, rtol=1e-5, atol=1e-7, msg=name)
    for (name, a), b in zip(layer.named_buffers(), eager.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7, msg=name)


def test_a_compiled_step_says_that_it_has_no_second_derivatives():
    torch.compiler.reset()
    layer, x = _learning_layer()
    x.requires_grad_()
    y = torch.compile(layer, fullgraph=True, backend="eager")(x)
    (gradient,) = torch.autograd.grad(y.sin().sum(), x, create_graph=True)
    with pytest.raises(PlanError, match=r"first derivatives only.*without torch\.compile"):
        gradient.square().sum().backward()


def _learning_layer() -> tuple[EpitomeLayer, torch.Tensor]:
    """A layer whose index learner moves the starts by a part of a cell in each step."""
    torch.manual_seed(0)
    options = {"epitome_shape": (12, 10, 3, 3), "patch_channels": (4, 4), "execution": "factored", "momentum": 0.5}
    layer = EpitomeConv2d(16, 24, 3, padding=1, routing="learner", **options)
    for parameter in layer.routing.parameters():
        nn.init.normal_(parameter, std=0.2)
    return layer, torch.randn(3, 16, 6, 6)


def test_the_compiler_sees_few_operations_of_learned_starts():
    """They once were 60 per axis, and took most of the time to compile a network. Now a step is one operator."""
    from torch._functorch.aot_autograd import aot_module_simplified, make_boxed_func

    torch.compiler.reset()
    layer, x = _layer("factored", "free")
    counts = []

    def count(graph, inputs):
        counts.append(sum(node.op == "call_function" for node in graph.graph.nodes))
        return make_boxed_func(graph.forward)

    compiled = torch.compile(
        layer, backend=lambda graph, inputs: aot_module_simplified(graph, inputs, fw_compiler=count)
    )
    compiled(x).sum().backward()
    forward, backward = counts
    assert forward < 15 and backward < 10


def test_the_compiler_knows_the_layout_of_gradients_at_bounds():
    """The compiler computes with the layout that an operator promises: with another one, numbers would trade places."""
    grad, starts, upper = torch.randn(3, 4).t(), torch.randn(4, 3), torch.ones(4, 3)
    torch.library.opcheck(
        torch.ops.nes_lab.unblocked.default, (grad, starts, upper), test_utils=("test_schema", "test_faketensor")
    )


@pytest.mark.parametrize("routing", ["free", "learner"])
@pytest.mark.parametrize(("kernel", "pixels"), [(3, 6), (1, 6), (1, 20)])
def test_the_compiler_knows_shapes_and_layouts_of_a_compiled_step(kernel, pixels, routing):
    """Also of what is kept for the gradients: of a convolution, of one matrix product, and of gradients by the complete weight."""
    layer = EpitomeConv2d(
        16, 24, kernel, epitome_shape=(12, 10, kernel, kernel), patch_channels=(4, 4), routing=routing
    )
    x, epitome = torch.randn(3, 16, pixels, pixels), layer.epitome.detach()
    starts = compiled_step._read_starts(layer.routing, x)
    assert starts is not None
    learned, fixed, settings = [t.detach() for t in starts[0]], starts[1], starts[2]
    numbers, tests = layer_numbers(layer.op, layer.geometry, (0, 1)), ("test_schema", "test_faketensor")
    step, rest = (x, epitome, None, learned, fixed, numbers, settings, 123), (numbers, settings, 123)
    torch.library.opcheck(torch.ops.nes_lab.factored_step.default, step, test_utils=tests)
    y, *kept = torch.ops.nes_lab.factored_step(*step)
    gradients = (y, x, epitome, *kept, learned if settings else [], fixed[-2:], *rest)
    torch.library.opcheck(torch.ops.nes_lab.factored_gradients.default, gradients, test_utils=tests)


def test_the_operator_of_dot_products_keeps_no_tensor(monkeypatch):
    """If a CUDA graph records it, the memory of a tensor that is made in it belongs to the graph, so nothing may keep the tensor."""
    torch.compiler.reset()
    monkeypatch.setattr(constants, "_kept", {})
    layer, x = _layer("wrapped", "free")
    torch.compile(layer, fullgraph=True, backend="aot_eager")(x).sum().backward()
    assert layer.routing.start_offsets_out.grad.any()
    assert not [build for build, *_ in constants._kept if build is row_operations._channels]


@pytest.mark.slow
@pytest.mark.parametrize("routing", ["tiled", "random", "free"])
def test_inductor_agrees_with_eager(routing):
    """The real compiler, forward and backward."""
    torch.compiler.reset()
    layer, x = _layer("factored", routing)
    eager = copy.deepcopy(layer)
    compiled = torch.compile(layer, fullgraph=True)
    for module, forward in ((layer, compiled), (eager, eager)):
        forward(x).square().mean().backward()
        assert module.epitome.grad is not None
    for a, b in zip(layer.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5)
