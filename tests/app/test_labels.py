"""Messages of errors are shown in the words of the app: no command, and no name of a configuration file."""

from __future__ import annotations

import pytest

from app.labels import in_words


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("there is no run 'a' in /x. nes-lab runs lists them.", "The page Runs lists them."),
        ("set data.download to true to fetch it", "switch on Download to fetch it"),
        ("run a is running in process 7; nes-lab cancel a stops it", "the button Cancel on its page stops it"),
        ("nothing to resume. nes-lab resume a --epochs N trains it further", "Train further on its page"),
        (
            "madds=874.8 k cannot be met with round_to=8, scope='joint'",
            "Round channels to: 8, What has its own starts: each patch",
        ),
        (
            "pretrained=True: the weights of 'a' could not be downloaded (no connection); "
            "give checkpoint= with the path of a .safetensors file of the weights",
            "the weights of 'a' could not be downloaded (no connection); connect this computer to the internet",
        ),
        ("config: training.lr=-1: give a positive number", "Learning rate: -1"),
    ],
)
def test_commands_and_names_of_files_become_those_of_the_app(message, shown):
    assert shown in in_words(message) and "nes-lab" not in in_words(message)
