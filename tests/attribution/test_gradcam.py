"""GradCAM agrees with captum's where captum's applies, and finds positions in tokens and grids."""

import captum.attr
import numpy as np
import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.attribution import attribute
from nes_lab.attribution.gradcam import positions_of


def test_gradcam_equals_captum_on_convolutions():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4)
    )
    inputs = torch.randn(2, 3, 17, 17)
    found = attribute(network, inputs, "gradcam", target=1, layer="1")
    other = captum.attr.LayerGradCam(network, network[1]).attribute(inputs, target=1, relu_attributions=True)
    other = captum.attr.LayerAttribution.interpolate(other, (17, 17), "bilinear").detach().numpy()
    np.testing.assert_allclose(found.values, other, atol=1e-6)  # float32
    assert other.max() > 0


@pytest.mark.parametrize(
    ("shape", "spatial", "expected"),
    [
        ((2, 64, 7, 7), (224, 224), (2, 64, 7, 7)),
        ((2, 64, 4, 6), (32, 48), (2, 64, 4, 6)),
        ((2, 7, 7, 64), (224, 224), (2, 64, 7, 7)),  # a transformer that keeps its grid
        ((2, 65, 16), (128, 128), (2, 16, 8, 8)),  # a class token and a grid
        ((2, 24, 16), (64, 96), (2, 16, 4, 6)),
        ((2, 16, 250), (2000,), (2, 16, 250)),
        ((2, 64), (32, 32), None),
        ((2, 64, 1, 1), (32, 32), None),  # pooled
        ((2, 3, 197, 64), (224, 224), None),  # attention heads are no grid
        ((2, 71, 16), (64, 64), None),
    ],
)
def test_positions_of_finds_the_axes_of_positions(shape, spatial, expected):
    found = positions_of(torch.zeros(shape), spatial)
    assert (None if found is None else tuple(found.shape)) == expected


def test_positions_of_tokens_are_in_the_order_of_rows():
    tokens = torch.arange(7.0)[None, :, None]  # a class token, then 2 rows of 3
    assert positions_of(tokens, (32, 48))[0, 0].tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("name", "size", "inside"), [("cifar_resnet20", 32, "stages"), ("vit_tiny_patch16_224", 64, "blocks.")]
)
def test_gradcam_finds_the_last_layer_with_positions(name, size, inside):
    options = {"img_size": size, "depth": 2} if name.startswith("vit") else {}
    network = nes_lab.create_backbone(name, num_classes=10, **options).eval()
    found = attribute(network, torch.randn(1, 3, size, size), "gradcam")
    layers = [layer for layer, _ in network.named_modules()]
    assert layers.index(found.layer) > len(layers) // 2, found.layer
    assert not isinstance(network.get_submodule(found.layer), nn.Linear)


def test_gradcam_points_at_the_part_that_the_answer_depends_on():
    network = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Identity(), nn.Flatten(), nn.Linear(64, 2, bias=False))
    nn.init.ones_(network[0].weight)
    with torch.no_grad():
        network[3].weight.zero_()
        network[3].weight[1].view(8, 8)[:4] = 1  # class 1 is the sum of the upper half
    image = torch.zeros(1, 1, 8, 8)
    image[..., :4, :] = 1
    found = attribute(network, image, "gradcam", target=1, layer="1").maps[0]
    assert (found[:4] > 0).all() and (found[4:] == 0).all()


def test_gradcam_says_where_there_are_no_positions():
    with pytest.raises(nes_lab.OptionError, match="name one as layer="):
        attribute(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), torch.randn(1, 1, 8, 8), "gradcam")
