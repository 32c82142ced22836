"""Small networks for the tests of export: each has a bit of everything, and is made in milliseconds."""

import torch
from torch import nn

from nes_lab.nn.free_starts import FreeStarts
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.counts import Counts
from nes_lab.records.layer_plan import LayerPlan
from nes_lab.surgery.replace import replace_layers

NONE = Counts(1, 1)
MODES = ("tiled", "stride", "random", "free", "learner")


class Net(nn.Module):
    """Convolutions with norms, one of them grouped, and a classifier."""

    def __init__(self, channels=16):
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.bn0 = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, 2 * channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(2 * channels)
        self.grouped = nn.Conv2d(2 * channels, 2 * channels, 3, stride=2, padding=1, groups=2)
        self.act = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(2 * channels, 24)

    def forward(self, x):
        x = self.act(self.bn0(self.stem(x)))
        x = self.act(self.bn1(self.conv(x)))
        return self.head(self.pool(self.act(self.grouped(x))).flatten(1))


class Tied(nn.Module):
    """Embedding and decoder share their weight; one block is called twice; another is registered under two names."""

    def __init__(self, tie=True):
        super().__init__()
        self.embed = nn.Embedding(11, 16)
        self.block = nn.Linear(16, 16)
        self.shared = nn.ModuleDict({"a": nn.Linear(16, 16)})
        self.shared["b"] = self.shared["a"]
        self.decoder = nn.Linear(16, 11, bias=False)
        if tie:
            self.decoder.weight = self.embed.weight

    def forward(self, tokens):
        x = self.embed(tokens)
        x = self.block(torch.relu(self.block(x)))
        return self.decoder(self.shared["b"](self.shared["a"](x)))


def layer_plan(module, share, **settings):
    """An epitome half as large along the output axis, and along the input axis."""
    weight = tuple(module.weight.shape)
    half = tuple(max(1, int(n * share)) for n in weight[:2])
    patch = tuple(max(1, n // 2) for n in half)
    kind = {nn.Linear: "linear", nn.Conv1d: "conv1d", nn.Conv2d: "conv2d"}[type(module)]
    how = {
        "routing": "tiled",
        "scope": "separable",
        "boundary": "clamp",
        "execution": "auto",
        "seed": 3,
        "patch_channels": patch,
    }
    return LayerPlan(kind, weight, (*half, *weight[2:]), dense=NONE, predicted=NONE, **(how | settings))


def compressed(model, names, share=0.5, **settings):
    """The model with epitome layers, its starts and norms moved off their beginnings."""
    layers = {name: layer_plan(model.get_submodule(name), share, **settings) for name in names}
    plan = CompressionPlan(layers, {}, NONE, NONE, None, (1,), (), (), "test")
    return stirred(replace_layers(model, plan))


def stirred(model, seed=0):
    """Norms as after training, and learned starts off the integers; in place."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                for tensor in (module.running_mean, module.running_var, module.weight, module.bias):
                    tensor.add_(torch.rand(tensor.shape, generator=draw) * 0.5)
            if isinstance(module, EpitomeLayer) and module.routing.fractional:
                for axis, table in module.routing.tables():
                    limits = torch.as_tensor(module.geometry.limits(axis), dtype=table.dtype)
                    module.routing.set_starts_(axis, torch.rand(table.shape, generator=draw) * limits)
                    if module.routing_mode == "free":  # as training leaves them: anchors and offsets
                        table.add_(torch.rand(table.shape, generator=draw) / 3)
    return model.eval()


def _with_starts(model):
    state = model.state_dict()
    for prefix, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, FreeStarts):
            for axis, name in ((axis, module.geometry.axes[axis].name) for axis in module.sampled):
                state.pop(f"{prefix}.start_anchors_{name}", None)
                state[f"{prefix}.start_offsets_{name}"] = module.unclamped(axis)
    return state


def same_state(one, other):
    """Whether two models hold the same tensors, bit for bit, in the same layouts; of anchors and offsets the sums."""
    expected, tensors = _with_starts(one), _with_starts(other)
    assert list(expected) == list(tensors)
    for name, tensor in expected.items():
        assert tensors[name].dtype == tensor.dtype and torch.equal(tensors[name], tensor), name
        assert tensors[name].stride() == tensor.stride(), name
    grads = [{n: p.requires_grad for n, p in m.named_parameters()} for m in (one, other)]
    assert grads[0] == grads[1]
    return True
