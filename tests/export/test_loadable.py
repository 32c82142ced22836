"""Whatever is saved loads to the same outputs; what would not is refused before anything is written."""

import copy
import json

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from nes_lab import EpitomeConv2d, create_backbone, from_pretrained, save_pretrained
from nes_lab.errors import CheckpointError, OptionError
from tests.export.networks import Net, compressed, stirred
from tests.export.saving import NAMES, back, x


def student(**options):
    dense = create_backbone("small_mobilenetv2", width=0.25, **options)
    names = [name for name, m in dense.named_modules() if type(m) is nn.Conv2d and m.kernel_size == (1, 1)][:3]
    return compressed(dense, names)


def same_by_name(model, folder, **saving):
    again = from_pretrained(save_pretrained(model, folder, **saving), allow_import=True)
    assert torch.equal(again(x()), model.eval()(x()))
    return again


def refused(model, match, folder, **saving):
    with pytest.raises(CheckpointError, match=match):
        save_pretrained(model, folder, **saving)
    assert not folder.exists()


def test_save_pretrained_takes_the_number_of_classes_from_a_new_head(tmp_path):
    own = student()
    own.classifier = nn.Linear(own.classifier.in_features, 7)
    assert same_by_name(own, tmp_path / "own").nes_lab_backbone["num_classes"] == 7
    timm = create_backbone("mobilenetv3_small_050")
    timm.reset_classifier(5)
    assert same_by_name(timm, tmp_path / "timm").nes_lab_backbone["num_classes"] == 5


CHANGED = {
    "an activation": (lambda net: setattr(net.stem, "2", nn.GELU()), "is a GELU"),
    "a head": (lambda net: setattr(net, "classifier", nn.Sequential(net.classifier)), "'classifier' is a Sequential"),
    "a new module": (lambda net: net.add_module("extra", nn.Linear(2, 2)), "has a Linear 'extra', which is not here"),
    "a buffer": (lambda net: net.register_buffer("mean", torch.ones(3)), "the file has mean, which the model lacks"),
    "an unsaved buffer": (
        lambda net: net.register_buffer("mean", torch.ones(3), persistent=False),
        "its buffer mean is not in the file",
    ),
    "a width": (
        lambda net: setattr(net, "nes_lab_backbone", net.nes_lab_backbone | {"width": 0.5}),
        "shape|features|channels",
    ),
    "another backbone": (
        lambda net: setattr(net, "nes_lab_backbone", {"name": "no_such"}),
        "'no_such' cannot be created",
    ),
}


@pytest.mark.parametrize("change", CHANGED)
def test_save_pretrained_refuses_what_a_name_cannot_make(change, tmp_path):
    make, named = CHANGED[change]
    model = student()
    make(model)
    refused(model, f"could not be loaded again by the name of its backbone.*({named}).*backbone=", tmp_path / "m")
    without = save_pretrained(model, tmp_path / "m", backbone="")  # the way out that the message names
    assert json.loads((without / "config.json").read_text())["backbone"] is None
    with pytest.raises(CheckpointError, match="names no backbone"):
        from_pretrained(without)


class Scaled(nn.Module):
    """A network of the user's own: a number that the forward reads, and a buffer that is not saved."""

    def __init__(self, num_classes=10):
        super().__init__()
        self.layer, self.head = nn.Conv2d(3, 16, 1), nn.Linear(16, num_classes)
        self.scale, self.drop_rate, self.act = 1.0, 0.1, nn.functional.relu
        self.register_buffer("mean", torch.zeros(3, 1, 1), persistent=False)

    def forward(self, images):
        features = self.act(self.layer(images - self.mean)) * self.scale
        return self.head(features.mean((2, 3)))


def with_sizes(sizes):
    return Scaled(len(sizes))


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("scale", 0.5, "scale is 0.5, and 1.0 in the loaded network"),
        ("act", nn.functional.gelu, "act is gelu, and relu in the loaded network"),
        ("mean", torch.ones(3, 1, 1), "its buffer mean is not in the file"),
    ],
)
def test_save_pretrained_refuses_attributes_that_a_name_does_not_make(name, value, named, tmp_path):
    model = create_backbone(f"{__name__}:Scaled")
    model.drop_rate, model.note = 0.5, "an attribute that no forward reads"
    same_by_name(model, tmp_path / "same")
    setattr(model, name, value)
    refused(model, named, tmp_path / "m")


def test_save_pretrained_refuses_what_an_epitome_layer_is_not_rebuilt_with(tmp_path):
    class Own(EpitomeConv2d):
        pass

    for change, named in [
        (lambda layer: setattr(layer, "__class__", Own), "is a .*Own"),
        (lambda layer: layer.register_buffer("mask", torch.ones(2)), "the file has conv.mask"),
        (lambda layer: layer.add_module("adapter", nn.Identity()), "'conv.adapter' inside an epitome layer"),
    ]:
        model = compressed(Net(), NAMES)
        change(model.conv)
        refused(model, f"could not be loaded again, so it is not written: .*{named}", tmp_path / "m")


def test_save_pretrained_refuses_options_that_loading_refuses(tmp_path):
    model = create_backbone(f"{__name__}:with_sizes", sizes=[[1, 2], [3]])
    refused(model, r"option 'sizes'=\[\[1, 2\], \[3\]\] is out of bounds", tmp_path / "m")
    with pytest.raises(OptionError, match="has no 'name'"):
        save_pretrained(student(), tmp_path / "m", backbone={"num_classes": 3})


def test_save_pretrained_bakes_a_pruned_layer_that_a_name_makes_plain(tmp_path):
    model = student()
    prune.l1_unstructured(model.classifier, "weight", 0.5)
    again = same_by_name(model, tmp_path / "m")
    assert bool((again.classifier.weight == 0).any()) and prune.is_pruned(model)


def double(module, inputs, output):
    return output * 2


def flip(module, inputs):
    return (-inputs[0],)


HOOKED = {
    "the network": lambda net: net.register_forward_hook(double),
    "'stem.1'": lambda net: net.stem[1].register_forward_hook(double),
    "an epitome layer": lambda net: _first_epitome(net).register_forward_pre_hook(flip),
}


def _first_epitome(net):
    return next(module for module in net.modules() if isinstance(module, EpitomeConv2d))


@pytest.mark.parametrize("where", HOOKED)
def test_save_pretrained_refuses_a_hook_that_a_name_does_not_make(where, tmp_path):
    model = student()
    handle = HOOKED[where](model)
    named = "pre-hook flip on 'blocks" if "epitome" in where else f"forward hook double on {where}"
    refused(model, f"{named}.*remove the hook before saving", tmp_path / "m")
    handle.remove()
    same_by_name(model, tmp_path / "m")


class Hooked(Scaled):
    """A network whose constructor registers a hook."""

    def __init__(self):
        super().__init__()
        self.layer.register_forward_hook(double)


def test_hooks_of_the_network_that_makes_the_model_are_kept(tmp_path):
    same_by_name(create_backbone(f"{__name__}:Hooked"), tmp_path / "m")
    model = create_backbone(f"{__name__}:Hooked")
    model.layer._forward_hooks.clear()
    refused(model, "would have the forward hook double on 'layer'", tmp_path / "without")


def test_a_network_given_at_load_must_have_the_hooks_of_the_saved_model(tmp_path):
    dense = Net()
    dense.stem.register_forward_hook(double)
    model = compressed(dense, NAMES)
    model.conv.register_forward_pre_hook(flip)
    folder = save_pretrained(model, tmp_path / "m")
    with pytest.raises(CheckpointError, match="has the forward pre-hook flip on 'conv', which no file holds"):
        from_pretrained(folder, model=dense)
    dense.conv.register_forward_pre_hook(flip)
    assert torch.equal(from_pretrained(folder, model=dense)(x()), model(x()))


COMPUTED = {
    "mask": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    "weight norm": parametrizations.weight_norm,
    "old weight norm": torch.nn.utils.weight_norm,
    "old spectral norm": torch.nn.utils.spectral_norm,
    "spectral norm": parametrizations.spectral_norm,
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("kind", COMPUTED)
def test_save_pretrained_bakes_dense_layers_that_model_may_have_plain(kind, tmp_path):
    dense = Net()
    model = compressed(dense, NAMES)
    COMPUTED[kind](model.stem)
    before = model.eval()(x())
    folder = save_pretrained(model, tmp_path / "m")
    assert torch.equal(from_pretrained(folder, model=dense)(x()), before) and torch.equal(model(x()), before)


TRUE_CAUSES = {
    "a buffer": (lambda net: net.register_buffer("mean", torch.ones(3)), "the file has mean"),
    "a norm": (lambda net: setattr(net, "bn1", nn.Identity()), "'bn1' is a Identity"),
}


@pytest.mark.parametrize("wrong", TRUE_CAUSES)
def test_save_pretrained_names_what_differs_besides_a_new_classifier(wrong, tmp_path):
    change, named = TRUE_CAUSES[wrong]
    model = create_backbone("mobilenetv3_small_050")
    model.reset_classifier(10)
    change(model)
    refused(model, f"so it is not written: .*{named}", tmp_path / "m")


def test_save_pretrained_takes_a_compiled_network(tmp_path):
    dense = Net()
    model = compressed(dense, NAMES)
    assert torch.equal(back(torch.compile(model, backend="eager"), dense, tmp_path)(x()), model(x()))


def test_save_pretrained_leaves_the_network_and_the_random_state(tmp_path):
    model = stirred(student())
    state, before = torch.get_rng_state(), copy.deepcopy(model.state_dict())
    save_pretrained(model, tmp_path / "m")
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
