"""Find recipes by name. A recipe is a named experiment that comes with the library.

A recipe has variants, which train the same network in different ways.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nes_lab.config import read_yaml
from nes_lab.errors import OptionError, check_choice, closest

__all__ = ["NamedRecipe", "experiment_tree", "recipe", "recipe_names"]

_FOLDER = Path(__file__).parent
_KEYS = {"about", "source", "default", "experiment", "variants"}


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe: a named experiment that comes with the library.

    A recipe has variants, which train the same network in different ways.

    Attributes:
        name: Name of the recipe, as ``nes-lab train`` takes it.
        about: One line that says what the recipe trains.
        source: Where the settings of the recipe come from.
        default: Name of the variant that is used if you name none.
        variants: Dict from the name of each variant to one line about the variant.
    """

    name: str
    about: str
    source: str
    default: str
    variants: Mapping[str, str]

    def tree(self, variant: str | None = None, dense: bool = False) -> dict[str, Any]:
        """Return the experiment of a recipe as a dict of sections and their values, for :func:`nes_lab.config.load_config`.

        Args:
            variant: Name of a variant of the recipe (another way to train); None: the recipe's default variant.
            dense: Leave out the compression section. The experiment then trains the dense network with the same data
                and settings.

        Raises:
            OptionError: If the recipe does not have the variant.

        Examples:
            >>> recipe("cifar10").tree(dense=True)["backbone"]
            {'name': 'cifar_resnet56'}
        """
        name = check_choice("variant", self.default if variant is None else variant, self.variants)
        content = _read(self.name)
        tree = copy.deepcopy(dict(content["experiment"]))
        for section, values in content["variants"][name].items():
            if section != "about":
                tree[section] = {**tree.get(section, {}), **copy.deepcopy(values)}
        if dense:
            tree = _without_compression(tree)
        tree["label"] = " ".join(filter(None, (f"{self.name}/{name}", "dense" if dense else "")))
        return tree


def _without_compression(tree: dict[str, Any]) -> dict[str, Any]:
    """Return an experiment without its compression section. The experiment then trains the dense network.

    Training options for the learned positions in epitomes, and for a teacher network, are removed too.
    """
    training = {key: value for key, value in tree.get("training", {}).items() if not key.startswith(("starts_", "kd_"))}
    return {key: value for key, value in tree.items() if key != "compression"} | {"training": training}


def recipe_names() -> tuple[str, ...]:
    """Return the names of all recipes (named experiments), sorted.

    Examples:
        >>> recipe_names()
        ('audio', 'cifar10', 'digits', 'imagenet_efficientnet_b0', 'imagenet_finetune', 'imagenet_mobilenetv2')
    """
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def recipe(name: str) -> NamedRecipe:
    """Return the recipe (named experiment) with this name.

    Raises:
        OptionError: If there is no recipe with this name; the message suggests the closest name.

    Examples:
        >>> recipe("imagenet_mobilenetv2").variants["authors"]
        'RMSprop, x0.97 every 3 epochs, 550 epochs, EMA 0.9998, color jitter 0.4'
    """
    content = _read(check_choice("recipe", name, recipe_names()))
    abouts = {variant: str(values["about"]) for variant, values in content["variants"].items()}
    return NamedRecipe(name, content["about"], content["source"], content["default"], abouts)


@cache
def _read(name: str) -> Mapping[str, Any]:
    content = read_yaml(_FOLDER / f"{name}.yaml")
    assert set(content) == _KEYS, f"{name}.yaml: {set(content) ^ _KEYS}"
    return content


def experiment_tree(name: str | Path, variant: str | None = None, dense: bool = False) -> Mapping[str, Any]:
    """Return an experiment as a dict of sections and their values, read from a YAML file or a recipe (a named experiment).

    Args:
        name: Path of a YAML file, or name of a recipe.
        variant: Name of a variant of the recipe (another way to train). None: the default variant of the recipe. A file
            has no variants.
        dense: Leave out the compression section, so that the experiment trains the dense network.

    Raises:
        OptionError: If there is no such file, recipe or variant, the file is not YAML, or a variant is given for a file.

    Examples:
        >>> from nes_lab.config import load_config
        >>> load_config(experiment_tree("audio")).backbone.name
        'm5'
    """
    path = Path(name)
    if path.is_file() or path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        if variant is not None:
            raise OptionError(f"variant={variant!r}: the file {path} has no variants; only recipes do: {_listed()}")
        tree = dict(read_yaml(path))
        return _without_compression(tree) if dense else tree
    if str(name) not in recipe_names():
        near = closest(str(name), recipe_names())
        raise OptionError(f"{str(name)!r} is neither a file nor a recipe.{near} Recipes: {_listed()}.")
    return recipe(str(name)).tree(variant, dense)


def _listed() -> str:
    return ", ".join(recipe_names())
