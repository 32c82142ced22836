"""Every option of planning has one name, one default and one help text, wherever it can be set."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any, get_args, get_type_hints

import pytest

import nes_lab
from nes_lab.cli.plan_flags import PlanFlags
from nes_lab.config import CompressionConfig
from nes_lab.errors import OptionError
from nes_lab.execution.registry import EXECUTIONS
from nes_lab.geometry.epitome_geometry import Boundary
from nes_lab.geometry.start_rules import ROUTING_MODES
from nes_lab.planning.strategies import STRATEGIES
from nes_lab.records import options
from nes_lab.records.keywords import EpitomeKeywords, PlanKeywords, SavingKeywords
from nes_lab.records.options import CHOICES, LearnerOptions, PlanOptions, option_default, option_help

NOT_MEASURED = {"share", "windows", "epitome_dtype", "strategy", "layer_options", "seconds"}
IN_CONFIG = {*PlanOptions.names(), *LearnerOptions.names()} - {"seed", "layer_options", "seconds"}


def test_choices_describe_every_name():
    sets = {
        "routing": options.Routing,
        "scope": options.ScopeOption,
        "boundary": Boundary,
        "share": options.Share,
        "epitome_dtype": options.EpitomeDtype,
        "wiring": options.Wiring,
        "strategy": options.Strategy,
        "initial_weights": options.InitialWeights,
        "squash": options.Squash,
        "learner": options.LearnerKind,
    }
    assert {name: tuple(texts) for name, texts in CHOICES.items()} == {n: get_args(s) for n, s in sets.items()}
    assert tuple(ROUTING_MODES) == get_args(options.Routing)
    assert {*EXECUTIONS, "auto"} == {*get_args(options.ExecutionOption)}


@pytest.mark.parametrize(
    ("function", "absent"),
    [(nes_lab.plan_for_budget, set()), (nes_lab.measure_sensitivity, NOT_MEASURED)],
    ids=["plan_for_budget", "measure_sensitivity"],
)
def test_plan_options_are_the_keywords_of_functions(function: Any, absent: set[str]):
    keywords = {name: p.default for name, p in inspect.signature(function).parameters.items()}
    expected = {name: option_default(name) for name in PlanOptions.names() if name not in absent}
    assert {name: default for name, default in keywords.items() if name in PlanOptions.names()} == expected
    documented = " ".join((inspect.getdoc(function) or "").replace("``", "").split())
    sentences = {name: option_help(name).removesuffix(".").partition(": ")[0] for name in expected}
    assert [name for name, text in sentences.items() if f"{name}: {text}" not in documented] == []


@pytest.mark.parametrize(
    ("keywords", "function"),
    [
        (EpitomeKeywords, nes_lab.EpitomeLinear.__init__),
        (EpitomeKeywords, nes_lab.EpitomeConv2d.__init__),
        (PlanKeywords, nes_lab.plan_for_budget),
        (SavingKeywords, nes_lab.save_pretrained),
    ],
    ids=["EpitomeLinear", "EpitomeConv2d", "plan_for_budget", "save_pretrained"],
)
def test_keywords_are_those_of_functions(keywords: Any, function: Any):
    names = [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    types = get_type_hints(function)
    assert {name: types[name] for name in names} == get_type_hints(keywords)


def test_plan_options_are_flags_of_the_command_line():
    flags = {flag.name: flag.default for flag in fields(PlanFlags)}
    assert {*IN_CONFIG, "seed", "seconds"} - set(LearnerOptions.names()) <= flags.keys()
    assert {
        name: d for name, d in flags.items() if name in IN_CONFIG and (d or None) != (option_default(name) or None)
    } == {}


def test_strategies_are_the_names_of_the_option():
    assert tuple(STRATEGIES) == get_args(options.Strategy)


def test_plan_options_are_the_fields_of_the_config():
    sections = {name: f for name, f in CompressionConfig.model_fields.items() if name in IN_CONFIG}
    assert sections.keys() == IN_CONFIG
    for name, field in sections.items():
        assert field.description == option_help(name)
        assert (field.default or None) == (option_default(name) or None), name


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"routing": "tild"}, "Did you mean 'tiled'"),
        ({"scope": "x"}, "separable"),
        ({"strategy": "best"}, "uniform"),
        ({"wiring": "wide"}, "narrow_axis"),
        ({"round_to": 0}, "round_to=0"),
        ({"min_channels": 0}, "min_channels=0"),
        ({"seed": -3}, "seed=-3"),
        ({"patch_channels": 0}, "patch_channels=0"),
        ({"patch_channels": "3"}, "patch_channels='3'"),
        ({"layer_options": {"scope": "joint"}}, "layer_options='scope'"),
        ({"layer_options": {"rech": 2}}, "Did you mean 'reach'"),
    ],
)
def test_plan_options_refuses_wrong_values(values: dict[str, Any], says: str):
    with pytest.raises(OptionError, match=says):
        PlanOptions(**values)


def test_plan_options_take_a_pair_of_channels_as_a_list() -> None:
    assert PlanOptions(patch_channels=[2, 1]).patch_channels == (2, 1)  # type: ignore[arg-type]
