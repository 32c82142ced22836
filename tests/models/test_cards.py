from __future__ import annotations

from nes_lab.models.cards import CARDS


def test_cards_tell_budgets_of_the_paper_from_ours():
    assert {c.settings_of for c in CARDS.values()} == {"paper", "ours"}
    assert all(("1907.05642" in c.why) == (c.settings_of == "paper") for c in CARDS.values())
