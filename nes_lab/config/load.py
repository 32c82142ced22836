"""Read a configuration from a file or a mapping. Messages name each wrong field by its dotted path, such as ``training.lr``.

Tests: tests/config/test_config.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from nes_lab.config.base import Section
from nes_lab.config.sections import ExperimentConfig
from nes_lab.errors import OptionError, closest
from nes_lab.packages import needed_for
from nes_lab.records.renamed_fields import current_fields, current_tree

__all__ = ["Knob", "knobs", "load_config", "read_yaml"]


class Knob(NamedTuple):
    """One field of a configuration, as help texts and widgets show it.

    Attributes:
        path: Dotted path of the field, such as ``training.lr``.
        default: Default value of the field.
        description: Description of the field.
        choices: The allowed values, such as ``cosine``; empty if any value of the right type is allowed. For ``data.name``, a
            function of the user's own is allowed too.
    """

    path: str
    default: Any
    description: str
    choices: tuple[str, ...]


def knobs(section: type[BaseModel] = ExperimentConfig, prefix: str = "") -> Iterator[Knob]:
    """List every field of a configuration with its dotted path, default, description and choices.

    Args:
        section: Class of the configuration or section whose fields are listed, with the fields of the sections inside it.
        prefix: Text to put in front of every dotted path.

    Examples:
        >>> next(knob.default for knob in knobs() if knob.path == "training.epochs")
        20
    """
    for name, field in section.model_fields.items():
        kinds = (field.annotation, *get_args(field.annotation))
        inner = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), None)
        if inner is not None:
            yield from knobs(inner, f"{prefix}{name}.")
            continue
        default = None if field.default is PydanticUndefined else field.default
        words = (item for kind in kinds for item in (kind, *get_args(kind)) if isinstance(item, str))
        choices = tuple(dict.fromkeys(words))
        yield Knob(prefix + name, default, field.description or "", choices)


def load_config(source: str | Path | Mapping[str, Any], overrides: Mapping[str, str] | None = None) -> ExperimentConfig:
    """Read and check the configuration of an experiment.

    Args:
        source: Path of a YAML file, or a mapping with its content.
        overrides: Values that replace those of ``source``, by dotted path, such as ``{"training.lr": "0.1"}``. None: no value
            is replaced.

    Raises:
        OptionError: If a field is wrong or unknown. The message gives the dotted path and value of each wrong field, and the
            closest known name of each unknown field.

    Examples:
        >>> load_config({"training": {"epochs": 3}}, {"seed": "7"}).seed
        7
    """
    where = "config" if isinstance(source, Mapping) else str(source)
    tree = _copy_tree(source if isinstance(source, Mapping) else read_yaml(Path(source)))
    try:
        tree = current_tree(tree)
    except ValueError as error:
        raise OptionError(f"{where}: {error}") from error
    for path, value in (overrides or {}).items():
        parent, _, field = path.rpartition(".")
        for name, current in current_fields(parent, field, value).items():
            _set(tree, f"{parent}.{name}" if parent else name, current)
    try:
        return ExperimentConfig.model_validate(tree)
    except ValidationError as error:
        lines = list({item["loc"][:2]: _explain(item) for item in error.errors()}.values())[:8]
        raise OptionError(f"{where}:" + ("\n  " if len(lines) > 1 else " ") + "\n  ".join(lines)) from error


def read_yaml(path: Path) -> Mapping[str, Any]:
    """Read a YAML file that consists of sections with values.

    Raises:
        OptionError: If the file cannot be read, is empty, is not YAML, gives two values for one field, or does not hold a
            mapping.
    """
    with needed_for("reading YAML"):
        import yaml
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_loader())  # a subclass of the safe loader
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"config file {path} cannot be read: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise OptionError(f"config file {path} is not valid YAML: {' '.join(str(error).split())}") from error
    if tree is None:  # an empty file would train the default experiment
        raise OptionError(
            f"config file {path} is empty; give it sections with fields, such as 'data: {{name: digits}}', "
            "or write {} to take the default of every field"
        )
    if not isinstance(tree, Mapping):
        raise OptionError(f"config file {path} should hold 'section: values', but holds a {type(tree).__name__}")
    return tree


def _loader() -> type:
    """Return a class that loads YAML and raises an error if a section gives two values for the same field."""
    import yaml

    # the SafeLoader itself would silently keep only the last value of a name that is given twice
    class Strict(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise yaml.constructor.ConstructorError(
                    None, None, f"{', '.join(twice)} is given twice in one section", node.start_mark
                )
            return super().construct_mapping(node, deep)

    return Strict


def _copy_tree(tree: Mapping[Any, Any]) -> dict[Any, Any]:
    return {key: _copy_tree(value) if isinstance(value, Mapping) else value for key, value in tree.items()}


def _set(tree: dict[Any, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        if str(tree.get(parent)).strip().lower() in ("none", "null"):
            tree[parent] = {}
        if not isinstance(tree[parent], dict):
            raise OptionError(f"--{path} {value}: {parent}={_short(tree[parent])} is not a section with fields")
        tree = tree[parent]
    tree[last] = value


def _explain(item: Any) -> str:
    names = [str(part) for part in item["loc"] if isinstance(part, int) or str(part).isidentifier()]
    known = {knob.path for knob in knobs()}
    sections = {path.rsplit(".", 1)[0] for path in known if "." in path}
    while len(names) > 1 and ".".join(names) not in known | sections and item["type"] != "extra_forbidden":
        names.pop()  # the tail names a member of a union, such as str or float
    path = ".".join(names) or "config"
    if item["type"] == "extra_forbidden":
        path = ".".join(str(part) for part in item["loc"])
        parent = path.rpartition(".")[0]
        siblings = [name.rpartition(".")[2] for name in known | sections if name.rpartition(".")[0] == parent]
        last = path.rpartition(".")[2]
        elsewhere = [name for name in known if name.rpartition(".")[2] == last]
        near = f" Did you mean {elsewhere[0]!r}?" if elsewhere else closest(last, siblings)
        return f"{path} is not a known field.{near or ' Known here: ' + ', '.join(sorted(siblings)) + '.'}"
    value = item["input"]
    shown = "" if isinstance(value, Mapping | BaseModel) else f"={_short(value)}"
    message = item["msg"].removeprefix("Value error, ")
    if message.startswith(f"{names[-1] if names else path}="):  # the message already names the value
        return f"{path.rpartition('.')[0]}.{message}".lstrip(".") + "." * (not message.endswith((".", "?")))
    choices = next((knob.choices for knob in knobs() if knob.path == path), ())
    return f"{path}{shown}: {message}.{closest(value, choices)}"


def _short(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
