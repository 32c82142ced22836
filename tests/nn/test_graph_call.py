"""Epitome layers under the tracers of torch.fx, torchvision, timm and torch.jit."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, fx, nn

import nes_lab
from nes_lab.errors import ExportError, OptionError
from nes_lab.nn.conv import EpitomeConv2d
from nes_lab.nn.graph_call import record_call
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.nn.linear import EpitomeLinear
from nes_lab.nn.std_conv import EpitomeStdConv2d

ROUTINGS = ["tiled", "random", "free", "learner"]


def network(routing: str = "tiled", **options) -> nn.Sequential:
    torch.manual_seed(0)
    options |= {"patch_channels": (4, 2), "routing": routing}
    return nn.Sequential(
        EpitomeConv2d(8, 16, 3, padding=1, epitome_shape=(8, 4, 3, 3), **options),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        EpitomeStdConv2d(16, 16, 3, epitome_shape=(8, 4, 3, 3), **options),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        EpitomeLinear(16, 6, epitome_shape=(4, 8), **options),
    )


def jit_traced(net: nn.Module) -> torch.jit.ScriptModule:
    """Trace a network; every warning is an error, except that torch.jit is deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "`torch.jit.trace", FutureWarning)
        return torch.jit.trace(net, torch.randn(2, 8, 10, 10))


def features(net: nn.Module, x: Tensor) -> list[Tensor]:
    """Outputs of the first two stages by forward hooks, without a graph."""
    kept: list[Tensor] = []
    names = [net.feature_info[index]["module"] for index in (0, 1)]
    hooks = [net.get_submodule(name).register_forward_hook(lambda _, __, out: kept.append(out)) for name in names]
    net(x)
    for hook in hooks:
        hook.remove()
    return kept


def compressed(name: str) -> tuple[nn.Module, Tensor]:
    timm = pytest.importorskip("timm", reason="timm is in the extra 'train'")
    torch.manual_seed(0)
    dense, x = timm.create_model(name, num_classes=10), torch.randn(2, 3, 160, 160)
    plan = nes_lab.plan_for_budget(dense, nes_lab.Budget(params="70%"), x[:1])
    return nes_lab.compress(dense, plan), x


@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize("training", [True, False])
def test_record_call_gives_equal_outputs_and_the_same_parameters(routing, training):
    net = network(routing).train(training)
    traced = fx.symbolic_trace(net)
    assert dict(traced.named_parameters()) == dict(net.named_parameters()), "the same objects by the same names"
    assert [node.op for node in traced.graph.nodes].count("call_module") == len(net)
    assert traced.state_dict().keys() == net.state_dict().keys()
    if training and routing == "learner":
        return  # each step moves the starts
    for batch in (2, 5):
        x = torch.randn(batch, 8, 10, 10)
        assert torch.equal(traced(x), net(x))


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_record_call_under_tracers_of_torchvision_and_timm(name):
    """As timm's own tests trace each of its networks: forward, backward, and features by stage."""
    net, x = compressed(name)
    from timm.models import _features_fx as timm_fx

    train_nodes, eval_nodes = timm_fx.get_graph_node_names(net)
    epitomes = [name for name, module in net.named_modules() if isinstance(module, EpitomeLayer)]
    assert epitomes and set(epitomes) <= set(train_nodes) & set(eval_nodes), "each layer is one node with its own name"
    traced = timm_fx.create_feature_extractor(net, {eval_nodes[-1]: "output", epitomes[0]: "first"})
    outputs = traced.eval()(x)
    torch.testing.assert_close(outputs["output"], net.eval()(x))
    assert torch.equal(outputs["first"], timm_fx.GraphExtractNet(net, epitomes[:1])(x))
    traced.train()(x)["output"].square().mean().backward()
    assert all(parameter.grad is not None for parameter in traced.parameters())
    torch.testing.assert_close(timm_fx.FeatureGraphNet(net, (0, 1)).eval()(x), features(net.eval(), x))


@pytest.mark.filterwarnings("ignore:For backward hooks")  # torch, while it traces the layer with its hook
def test_record_call_runs_hooks_and_replaced_methods_once():
    x = torch.randn(2, 8, 10, 10)
    net, ran = network().eval(), []
    net[0].register_forward_pre_hook(lambda _, args: (args[0] * 2,))
    net[0].register_forward_hook(lambda _, args, output: output + 1)
    plain = net[6].forward
    net[6].forward = lambda input: plain(input) * 3
    net[3].register_full_backward_hook(lambda *_: ran.append(1))
    traced = fx.symbolic_trace(net)
    assert torch.equal(traced(x), net(x))
    traced(x).sum().backward()
    assert ran == [1], "backward hooks stay with the layer"


def test_record_call_refuses_a_layer_that_is_traced_by_itself():
    with pytest.raises(OptionError, match=r"Trace nn\.Sequential\(layer\) instead"):
        fx.symbolic_trace(network()[0])
    with pytest.raises(OptionError, match="contain epitome layers"):
        record_call(network()[0], fx.Proxy(fx.Graph().placeholder("x")))


@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize("scope", ["separable", "joint"])
def test_traced_shape_lets_torch_jit_trace_pass_its_check(routing, scope):
    """Caches would be constants in the graph: it would differ from call to call, and no longer follow the epitome and the starts."""
    options = {"patch_channels": (4, 2), "routing": routing, "scope": scope}
    net = nn.Sequential(
        EpitomeConv2d(8, 16, 3, padding=1, epitome_shape=(8, 4, 3, 3), **options),
        EpitomeConv2d(16, 16, 3, epitome_shape=(8, 4, 5, 3), **options),
    ).eval()
    with torch.no_grad():
        net(torch.randn(1, 8, 9, 9))  # fills the caches
        traced = jit_traced(net)
        x = torch.randn(3, 8, 7, 7)
        torch.testing.assert_close(traced(x), net(x))
        net[0].epitome.mul_(2)
        for _, table in net[0].routing.tables():
            table.add_(0.25 if table.is_floating_point() else 0)
        torch.testing.assert_close(traced(x), net(x))


@pytest.mark.parametrize("routing", ["tiled", "free"])
def test_torch_jit_trace_of_a_new_network_with_gradients(routing):
    net, x = nn.Sequential(network(routing)[0]), torch.randn(3, 8, 7, 7)
    torch.testing.assert_close(jit_traced(net)(x), net(x))


@pytest.mark.filterwarnings("ignore:`torch.jit.script")
def test_torch_jit_script_says_materialize_first():
    net = network()
    with pytest.raises(ExportError, match="materialize first"):
        torch.jit.script(net)
    scripted, x = torch.jit.script(nes_lab.materialize(net.eval())), torch.randn(2, 8, 10, 10)
    torch.testing.assert_close(scripted(x), net(x), rtol=1e-4, atol=1e-5)  # another order of the same sums
