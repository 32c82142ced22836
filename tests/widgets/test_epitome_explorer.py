"""The explorer in a notebook: what it is given, what it sends to the page, and its errors."""

from __future__ import annotations

import pytest
from torch import nn

import nes_lab
from nes_lab.errors import OptionError
from nes_lab.figures.explorer_data import explorer_data, explorer_js
from nes_lab.runs.handle import RunHandle
from nes_lab.runs.store import RunStore
from nes_lab.widgets.epitome_explorer import EpitomeExplorer
from tests.figures.samples import write_run
from tests.shared_epitomes import shared_net


def network() -> nn.Sequential:
    small, large = (nes_lab.EpitomeLinear(16, 32, epitome_shape=(size, 8)) for size in (8, 16))
    return nn.Sequential(small, nn.ReLU(), nn.Linear(32, 16), large)


def test_it_draws_a_layer_a_network_or_a_run(tmp_path):
    store = RunStore(tmp_path)
    net = network()
    assert EpitomeExplorer(net).data["name"] == "3"  # the largest
    chosen = EpitomeExplorer(net, layer="0").data
    assert chosen == explorer_data({0: net[0].snapshot("0")})
    assert EpitomeExplorer(net[0]).data["epitomes"] == chosen["epitomes"]
    run = RunHandle(store, write_run(store, label="a run", gradients=True))
    explorer = EpitomeExplorer(run, layer="blocks.1")
    assert explorer.data["steps"] == [0, 30, 60] and set(explorer.data["gradients"]) == {"30", "60"}
    assert explorer.data["about"]["title"] == "a run"
    assert "blocks.1" in repr(explorer) and "3 steps" in repr(explorer)


def test_it_names_the_layers_that_share_an_epitome():
    explorer = EpitomeExplorer(shared_net(), layer="7")
    assert [reader["name"] for reader in explorer.data["readers"]] == ["0", "2", "7"]
    assert "from epitome" in repr(explorer) and explorer._repr_mimebundle_()[0]["image/png"]


def test_it_sends_one_small_module_and_a_text_for_places_without_widgets():
    explorer = EpitomeExplorer(network())
    text = explorer._esm
    assert text.startswith(explorer_js()) and "export default" in text and len(text.encode()) < 150_000
    bundle, _ = explorer._repr_mimebundle_()
    assert bundle["text/plain"] == repr(explorer) and any("widget" in kind for kind in bundle)


@pytest.mark.parametrize(
    ("source", "layer", "message"),
    [
        (nn.Linear(4, 4), None, "source is a Linear without epitome layers"),
        (network(), "4", "layer='4' is not an epitome layer of the network"),
        (network()[0], "0", "layer='0' names a layer of a network or run"),
        ("text", None, "layer is a str"),
    ],
)
def test_it_explains_what_it_cannot_draw(source, layer, message):
    with pytest.raises(OptionError, match=message):
        EpitomeExplorer(source, layer)


def test_a_dense_run_has_nothing_to_explore(tmp_path):
    store = RunStore(tmp_path)
    with pytest.raises(OptionError, match="has no epitome layers"):
        EpitomeExplorer(RunHandle(store, write_run(store, routing=None)))
