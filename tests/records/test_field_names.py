"""Every field and every choice of a configuration has one name for people, in forms, tables and labels of runs."""

from __future__ import annotations

from nes_lab.config import knobs
from nes_lab.records.field_names import CHOICES, choice_of, choice_words, field_words, label_of


def test_every_field_has_a_name_of_its_own_without_words_of_the_file():
    for name in (label_of, field_words):
        names = [name(knob.path) for knob in knobs()]
        assert len(set(names)) == len(names) and not any(mark in each for each in names for mark in "._")


def test_every_named_choice_is_one_and_has_a_name_of_its_own():
    for path, named in CHOICES.items():
        (knob,) = (knob for knob in knobs() if knob.path == path)
        names = [choice_words(path, value) for value in knob.choices]
        assert set(named) <= set(knob.choices) and len(set(names)) == len(names)
        assert [choice_of(path, name) for name in names] == list(knob.choices)
