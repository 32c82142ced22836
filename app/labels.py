"""Say messages of the library in the words of the app: no command, and no name of the configuration file."""

import re

from nes_lab.records.field_names import LABELS, choice_words

__all__ = ["FIRST_RUN_SECONDS", "in_words"]

FIRST_RUN_SECONDS = 20
"""Time of the smallest run on two free processor cores, in seconds, as pages say it. ``benchmarks/app_speed.py`` measures it."""

COMMANDS = {
    r"pretrained=True: the weights": "the weights",
    r"give checkpoint= with the path of a \.safetensors file of the weights": "connect this computer to the internet, "
    "or start from scratch with File with dense weights under All settings",
    r"nes-lab runs lists them": "The page Runs lists them",
    r"set data\.download to true": "switch on Download",
    r"nes-lab cancel \S+ stops it": "the button Cancel on its page stops it",
    r"nes-lab resume \S+ continues it": "the button Resume on its page continues it",
    r"nes-lab resume \S+ --epochs \w+ trains it further": "Train further on its page gives it more epochs",
    r"then continue with nes-lab resume": "then press Resume on the run's page",
    r"To train it longer: nes-lab resume \S+ --epochs \S+, or in Python \S+;": "To train it longer: Train further on its page;",
}
"""Pattern of a command in a message -> what to do in the app instead."""


def _named(found: re.Match[str]) -> str:
    """Return the name of a compression's field and of its value, for a text such as ``scope='joint'``."""
    path = f"compression.{found[1]}"
    return f"{LABELS[path]}: {choice_words(path, found[3])}" if path in LABELS else found[0]


def in_words(message: str) -> str:
    """Return the message of an error with the names of the form instead of dotted paths.

    Args:
        message: Message that a check of a configuration raised, such as ``config: training.lr=-1: ...``.
    """
    text = message.removeprefix("config:").strip()
    for pattern, words in COMMANDS.items():
        text = re.sub(pattern, words, text)
    text = re.sub(r"(?<![\w.])([a-z_]+)=('?)([\w.%]+)\2", _named, text)
    for path in sorted(LABELS, key=len, reverse=True):
        text = text.replace(f"{path}=", f"{LABELS[path]}: ").replace(path, LABELS[path]) if "." in path else text
    return text
