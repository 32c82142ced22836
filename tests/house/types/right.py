"""Right uses of the library, on which pyright must report nothing. tests/house/test_types.py runs it."""

from typing import assert_type

import torch
from torch import Tensor, nn

import nes_lab
from nes_lab.training.recipe import Recipe


class Net(nn.Sequential):
    """A user's own class."""


net, x = Net(nn.Conv2d(4, 8, 3), nn.ReLU()), torch.randn(1, 4, 8, 8)
layer = nes_lab.EpitomeConv2d(4, 8, 3, epitome_shape=(4, 4, 3, 3), patch_channels=2, routing="free", padding="same")
assert_type(layer(x), Tensor)
assert_type(layer.weight, Tensor)
layer.execution = "materialize"
same = nes_lab.EpitomeConv2dSame.from_conv(nn.Conv2d(4, 8, 3), epitome_shape=(4, 4, 3, 3), patch_channels=(2, 4))
assert_type(same, nes_lab.EpitomeConv2dSame)
linear = nes_lab.EpitomeLinear.from_linear(nn.Linear(4, 8), "reset", epitome_shape=(4, 4), routing="learner", reach=2.0)
assert_type(linear.plain(), nn.Linear)

plan = nes_lab.plan_for_budget(net, nes_lab.Budget(params="60%", madds=0.75), x, scope="auto", patch_channels=(8, 16))
assert_type(nes_lab.compress(net, plan), Net)
assert_type(nes_lab.compress(net, madds="75%", params=0.8, example_input=x, routing="free", include=["0"]), Net)
assert_type(nes_lab.materialize(nes_lab.compress(net, plan)), Net)
student, report = nes_lab.fit(net, plan, calibration=[x])
assert_type(student, Net)
assert_type(report, nes_lab.FitReport)
assert_type(nes_lab.count(net, x).madds, int)
for name, layer_plan in plan.layers.items():
    plan = plan.with_execution({name: layer_plan.resolved_execution})
nes_lab.create_model("nes_resnet18", params="60%", strategy="uniform", wiring="input_axis")
nes_lab.create_backbone("resnet18", num_classes=10, drop_rate=0.2)
nes_lab.export_onnx(net, (x,), "net.onnx", form="factored")
Recipe(epochs=1, batch_size=8, lr=0.1, schedule="cosine", amp="bf16")
