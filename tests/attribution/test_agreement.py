"""Agreement of two networks, and curves of deletion and insertion, on networks whose answers are known."""

import numpy as np
import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.attribution import attribute, compare_attributions, score_curves


def linear(weight):
    network = nn.Sequential(nn.Flatten(), nn.Linear(weight.numel(), 2, bias=False))
    with torch.no_grad():
        network[1].weight.zero_()
        network[1].weight[1] = weight.flatten()
    return network


WEIGHT = torch.arange(1.0, 17.0)
IMAGES = torch.ones(2, 1, 4, 4)


def test_compare_attributions_of_the_same_network_agrees_fully():
    found = compare_attributions(linear(WEIGHT), linear(WEIGHT), IMAGES)
    assert np.allclose(found.rank_correlation, 1) and (found.overlap == 1).all() and found.same_answer == 1


def test_compare_attributions_of_opposite_networks_disagrees_fully():
    found = compare_attributions(linear(WEIGHT), linear(-WEIGHT), IMAGES, target=1, top_share=0.25)
    assert np.allclose(found.rank_correlation, -1) and (found.overlap == 0).all() and found.same_answer == 0


def test_compare_attributions_explains_the_classes_of_the_first_network():
    found = compare_attributions(linear(WEIGHT), linear(-WEIGHT), IMAGES)
    assert found.first.target.tolist() == found.second.target.tolist() == [1, 1]


def test_compare_attributions_counts_the_common_positions():
    other = WEIGHT.clone()
    other[[0, 15]] = other[[15, 0]]  # one of the four most important positions moves away
    found = compare_attributions(linear(WEIGHT), linear(other), IMAGES, top_share=0.25)
    assert (found.overlap == 0.75).all()
    assert found.rows()[0]["overlap"] == 0.75 and "75 %" in str(found)


def test_score_curves_delete_the_most_important_first():
    network = linear(WEIGHT / 10)
    curves = score_curves(network, IMAGES, attribute(network, IMAGES), points=5)
    weights = (WEIGHT / 10).flip(0).double()
    kept = [float(weights[count:].sum()) for count in (0, 4, 8, 12, 16)]
    np.testing.assert_allclose(curves.deletion[0], torch.sigmoid(torch.tensor(kept)).numpy(), rtol=1e-5)  # float32
    gained = [float(weights[:count].sum()) for count in (0, 4, 8, 12, 16)]
    np.testing.assert_allclose(curves.insertion[0], torch.sigmoid(torch.tensor(gained)).numpy(), rtol=1e-5)


def test_compare_attributions_deletes_down_to_the_baseline_of_the_attribution():
    network = linear(WEIGHT / 10)
    curves = compare_attributions(network, network, 2 * IMAGES, baseline=IMAGES[0]).first_curves
    alone = torch.sigmoid((WEIGHT / 10).sum()).item()
    assert np.allclose(curves.deletion[:, -1], alone) and np.allclose(curves.insertion[:, 0], alone)


def test_score_curves_are_better_for_the_true_attribution_than_for_the_opposite():
    network = linear(WEIGHT / 10)
    true = attribute(network, IMAGES)
    opposite = attribute(linear(-WEIGHT / 10), IMAGES, target=1)
    good, bad = score_curves(network, IMAGES, true), score_curves(network, IMAGES, opposite)
    assert (good.deletion_area < bad.deletion_area).all() and (good.insertion_area > bad.insertion_area).all()


def test_score_curves_refuse_values_of_a_layer():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2))
    found = attribute(network, IMAGES, "layer_conductance", layer="0")
    with pytest.raises(nes_lab.OptionError, match="values per position"):
        score_curves(network, IMAGES, found)


@pytest.mark.parametrize(
    ("options", "message"), [({"top_share": 0.0}, "top_share=0.0"), ({"method": "layer_conductance"}, "per feature")]
)
def test_compare_attributions_names_what_is_wrong(options, message):
    with pytest.raises(nes_lab.OptionError, match=message):
        compare_attributions(linear(WEIGHT), linear(WEIGHT), IMAGES, **options)


def test_constant_maps_have_no_rank_correlation():
    flat = linear(torch.ones(16))
    assert np.isnan(compare_attributions(flat, linear(WEIGHT), IMAGES).rank_correlation).all()
