"""Splitting a command line into flags and config overrides."""

import pytest

from nes_lab.cli.options import split_overrides
from nes_lab.errors import OptionError


@pytest.mark.parametrize(
    ("words", "rest", "overrides"),
    [
        (["a", "--x.y", "1", "--detach"], ["a", "--detach"], {"x.y": "1"}),
        (["--x.y=1=2", "a"], ["a"], {"x.y": "1=2"}),
        (["--x.y-z", "-1", "a"], ["a"], {"x.y_z": "-1"}),
        (["--data.download", "a"], ["a"], {"data.download": "true"}),
        (["--data.download", "false", "a"], ["a"], {"data.download": "false"}),
        (["--label", "two words", "a"], ["a"], {"label": "two words"}),
        (["-h"], ["-h"], {}),
    ],
)
def test_split_overrides_separates_them_from_other_words(words, rest, overrides):
    assert split_overrides(words, own=["--detach"]) == (rest, overrides)


@pytest.mark.parametrize("words", [["--x.y"], ["--x.y", "--detach"], ["--x.y", "1", "--x.y", "2"]])
def test_split_overrides_refuses_missing_and_repeated_values(words):
    with pytest.raises(OptionError, match=r"x\.y"):
        split_overrides(words, own=["--detach"])
