"""Stages of many layers, and the settings that their bars write."""

from __future__ import annotations

import json

import pytest

from nes_lab.errors import OptionError
from nes_lab.records.fold_rows import MOST_BARS, bars_of
from nes_lab.records.overrides_text import read_overrides, with_override, without_override


def _rows(*names):
    return [{"name": name, "madds": 2, "madds_dense": 3} for name in names]


def test_few_layers_are_not_folded_and_many_keep_their_sum_and_order():
    few = _rows(*(f"blocks.{n}.conv" for n in range(MOST_BARS)))
    assert [bar.name for bar in bars_of(few)] == [row["name"] for row in few]
    many = _rows("stem", *(f"layer{a}.{b}.conv{c}" for a in (1, 2) for b in range(9) for c in (1, 2, 3)), "fc")
    bars = bars_of(many)
    assert [bar.name for bar in bars][:3] == ["stem", "layer1.0", "layer1.1"] and bars[-1].name == "fc"
    assert sum(bar.total("madds") for bar in bars) == 2 * len(many) and len(bars) == 20
    assert bars[1].pattern == "layer1.0.*" and bars[0].pattern == "stem"
    assert len(bars_of(many, fold=False)) == len(many)


def test_deep_networks_are_folded_by_their_widest_parts():
    bars = bars_of(_rows(*(f"layer{a}.{b}.conv" for a in (1, 2) for b in range(40))))
    assert [bar.name for bar in bars] == ["layer1", "layer2"]


def test_the_newest_setting_of_a_layer_wins_and_can_be_taken_back():
    text = with_override('{"head*": {"ratio": 0.5}}', "head", {"keep": True})
    assert list(json.loads(text)) == ["head*", "head"]
    text = with_override(text, "head", {"ratio": 0.25})
    text = with_override(text, "head", {"routing": "free"})
    assert json.loads(text)["head"] == {"ratio": 0.25, "routing": "free"}
    text = with_override(text, "head*", {"ratio": 0.75})
    assert list(json.loads(text)) == ["head", "head*"]  # later patterns win
    assert read_overrides(without_override(text, "head")) == {"head*": {"ratio": 0.75}}


@pytest.mark.parametrize("text", ["{", "[1]", '{"head": 1}'])
def test_text_that_is_no_setting_is_refused(text):
    with pytest.raises(OptionError, match=r"compression\.overrides="):
        with_override(text, "head", {"keep": True})
