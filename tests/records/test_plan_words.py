"""What a plan says of itself agrees with its numbers."""

from __future__ import annotations

from nes_lab.records.plan_words import dense_words, layer_words, quantity_words, what_binds

KEPT = {"epitome_shape": None, "why": "", "madds_dense": 30, "params_dense": 30}
ROWS = [
    KEPT | {"name": "a", "reason": "depthwise", "madds": 30, "params": 5},
    KEPT | {"name": "b", "reason": "depthwise", "madds": 24, "params": 5},
    KEPT | {"name": "c", "reason": "the budget is met without it", "madds": 40, "params": 70},
]
PLANNED = {"dense": {"madds": 400, "params": 100}, "predicted": {"madds": 300, "params": 80}, "rows": ROWS}


def test_what_binds_is_the_tightest_budget_and_the_layers_that_cannot_shrink():
    both = what_binds(PLANNED, {"madds": "75%", "params": "99%"})
    assert both == "the MAdds budget. 2 layers stay dense, with 18 % of the MAdds left."
    assert what_binds(PLANNED, {"params": "80", "madds": "90%"}).endswith("with 12 % of the params left.")
    assert what_binds(PLANNED | {"rows": ROWS[2:]}, {"madds": "75%"}) == "the MAdds budget. All layers can shrink."
    assert what_binds(PLANNED, {"latency_ms": "50%"}).startswith("the time budget.")
    stem = ROWS[0] | {"name": "d", "reason": "the stem", "madds": 10}
    assert dense_words(PLANNED | {"rows": [*ROWS, stem]}, {"madds": "75%"}) == [
        "2 layers stay dense, with 18 % of the MAdds left. Reason: depthwise.",
        "1 layer stays dense, with 3 % of the MAdds left. Reason: the stem.",
    ]


def test_a_plan_is_under_its_budget():
    assert quantity_words("madds", PLANNED, {"madds": "400"}) == "75.0 % of dense · 25 % under the budget"
    assert quantity_words("params", PLANNED, {"madds": "400"}) == "80.0 % of dense"


def test_a_layer_says_why():
    row = {
        "name": "x",
        "epitome_shape": (8, 8),
        "weight_shape": (16, 16),
        "reason": "",
        "why": "",
        "execution": "factored",
    }
    row |= {"madds": 64, "madds_dense": 256}
    assert "25 % of the dense layer's 256 MAdds, computed by factored" in layer_words(row)
    assert "you set it" in layer_words(row | {"why": "ratio set by overrides['x']"})
    assert layer_words(ROWS[0]) == "Stays dense: depthwise."
