"""Each line that ends in `# wrong: TEXT` holds one mistake. tests/house/test_types.py checks that pyright reports it with this text."""

import torch
from torch import nn

import nes_lab
from nes_lab.records.options import PlanOptions
from nes_lab.training.recipe import Recipe

net, conv, x = nn.Sequential(nn.Linear(8, 8)), nn.Conv2d(4, 8, 3), torch.randn(1, 8)
plan = nes_lab.plan_for_budget(net, nes_lab.Budget(params="60%"), x)

# names that do not exist
str(nes_lab.nonexistent)  # wrong: "nonexistent" is not a known attribute
nes_lab.Budget(param="60%")  # wrong: No parameter named "param"
str(plan.predict)  # wrong: "predict"

# layers
nes_lab.EpitomeConv2d(4, 8, 3, epitome_shape=(4, 4, 3, 3), routing="tilde")  # wrong: "routing"
nes_lab.EpitomeConv1d(4, 8, 3, epitome_shape=(4, 4, 3), scope="auto")  # wrong: "scope"
nes_lab.EpitomeConv3d(4, 8, 3, epitome_shape=(4, 4, 3, 3, 3), boundary="circle")  # wrong: "boundary"
nes_lab.EpitomeLinear(4, 8, epitome_shape=(4, 4), execution="factord")  # wrong: "execution"
nes_lab.EpitomeLinear(4, 8, epitome_shape=(4, 4), squash="sigmod")  # wrong: "squash"
nes_lab.EpitomeLinear(4, 8, epitome_shape=(4, 4), learner="cnn")  # wrong: "learner"
nes_lab.EpitomeLinear(4, 8)  # wrong: "epitome_shape"
nes_lab.EpitomeConv2d(4, 8, 3, epitome_shape=(4, 4, 3, 3), padding="some")  # wrong: "padding"
nes_lab.EpitomeStdConv2d(4, 8, 3, epitome_shape=(4, 4, 3, 3), rooting="free")  # wrong: "rooting"
nes_lab.EpitomeConv2d.from_conv(conv, epitom_shape=(4, 4, 3, 3))  # wrong: "epitom_shape"
nes_lab.EpitomeConv2d.from_conv(conv, epitome_shape=(4, 4, 3, 3), routing="tilde")  # wrong: "routing"
nes_lab.EpitomeConv2d.from_conv(conv, "fitt", epitome_shape=(4, 4, 3, 3))  # wrong: "initial_weights"
nes_lab.EpitomeLinear.from_linear(nn.Linear(4, 8), epitome_shape=(4, 4), patch=2)  # wrong: "patch"
layer = nes_lab.EpitomeConv2dSame(4, 8, 3, epitome_shape=(4, 4, 3, 3))
layer.execution = "factord"  # wrong: "execution"
str(layer(x).shapes)  # wrong: "shapes"
layer.load_dense_(x, None, "rest")  # wrong: "initial_weights"

# plans
PlanOptions(wiring="both")  # wrong: "wiring"
nes_lab.plan_for_budget(net, nes_lab.Budget(params="60%"), x, strategy="unifrom")  # wrong: "strategy"
nes_lab.plan_for_budget(net, nes_lab.Budget(params="60%"), x, scope="separate")  # wrong: "scope"
nes_lab.plan_for_budget(net, nes_lab.Budget(params="60%"), x, rond_to=2)  # wrong: "rond_to"
nes_lab.plan_for_budget(net, "60%", x)  # wrong: "budget"
nes_lab.measure_sensitivity(net, x, wiring="inputs")  # wrong: "wiring"
nes_lab.preset("both_axis", net, x)  # wrong: "name"
nes_lab.preset("released_x2", net, x, wiring="expand_heads")  # wrong: "wiring"
nes_lab.compress(net, plan, initial_weights="rest")  # wrong: "initial_weights"
nes_lab.compress(net, madds="75%")  # wrong: No overloads for "compress"
nes_lab.compress(net, madds="75%", example_input=x, routing="tilde")  # wrong: "routing"
nes_lab.compress(net, madd="75%", example_input=x)  # wrong: No overloads for "compress"
nes_lab.create_model("nes_resnet18", routing="lerner")  # wrong: "routing"
nes_lab.create_model("nes_resnet18", strateg="uniform")  # wrong: "strateg"

# files, training, sweeps
nes_lab.export_onnx(net, x, "net.onnx", form="facored")  # wrong: "form"
nes_lab.export_torch(net, x, "net.pt2", form="plain")  # wrong: "form"
Recipe(epochs=1, batch_size=8, lr=0.1, schedule="cosin")  # wrong: "schedule"
Recipe(epochs=1, batch_size=8, lr=0.1, amp="float16")  # wrong: "amp"
nes_lab.fine_tune(net, [], keep="bset")  # wrong: "keep"
nes_lab.evaluate(net, [], amp="half")  # wrong: "amp"
nes_lab.train("cifar10", detatch=True)  # wrong: "detatch"
nes_lab.list_runs(state="done")  # wrong: "state"
nes_lab.open_run("mine").network("bst")  # wrong: "which"
nes_lab.open_run("mine").export("net.onnx", form="facored")  # wrong: "form"
nes_lab.push_to_hub(net, "user/repository", overwite=True)  # wrong: "overwite"
nes_lab.run_sweep("sweep.yaml", executor="rays")  # wrong: "executor"
