"""``nes-lab recipes``: list the recipes (named experiments) that ``nes-lab train`` accepts, or print one.

Tests: tests/recipes/test_registry.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from nes_lab.cli.json_output import print_json
from nes_lab.cli.options import parse
from nes_lab.cli.tables import print_table
from nes_lab.config import load_config
from nes_lab.errors import OptionError
from nes_lab.recipes.registry import NamedRecipe, recipe, recipe_names
from nes_lab.records.columns import columns
from nes_lab.records.table import Table

__all__ = ["RecipesCommand", "run_command"]


@dataclass(frozen=True)
class RecipesCommand:
    """List the recipes (named experiments), or print one as a YAML file that nes-lab train accepts."""

    name: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="RECIPE")]] = ""
    """Recipe to print; without it, all recipes are listed."""
    variant: str | None = None
    """Variant of the recipe to print; by default the one the recipe names."""
    dense: bool = False
    """Print the recipe without compression, for comparison."""
    json: bool = False
    """Print the result as one JSON value on standard output."""


def run_command(words: Sequence[str]) -> int:
    """List all recipes (named experiments), or print the recipe that the command line names."""
    options = parse(RecipesCommand, "recipes", words)
    if not options.name and (options.variant is not None or options.dense):
        raise OptionError("--variant and --dense need the name of a recipe; give one of " + ", ".join(recipe_names()))
    if options.name:
        _print_one(options)
    elif options.json:
        print_json([_plain(recipe(name)) for name in recipe_names()])
    else:
        _list()
    return 0


def _print_one(options: RecipesCommand) -> None:
    chosen = recipe(options.name)
    tree = chosen.tree(options.variant, options.dense)
    load_config(tree)
    if options.json:
        print_json(tree)
        return
    import yaml

    print(f"# {chosen.about}\n# Source: {chosen.source}")
    print(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), end="")


def _list() -> None:
    rows = []
    for chosen in map(recipe, recipe_names()):
        print(f"{chosen.name}: {chosen.about}")
        for variant, about in chosen.variants.items():
            default = " (default)" if variant == chosen.default else ""
            rows.append({"recipe": chosen.name, "variant": variant + default, "training": about})
    print()
    print_table(Table(columns("recipe", "variant", "training"), rows))


def _plain(chosen: NamedRecipe) -> dict[str, Any]:
    names = ("name", "about", "source", "default")
    return {name: getattr(chosen, name) for name in names} | {"variants": dict(chosen.variants)}
