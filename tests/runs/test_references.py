"""A run is compared with runs on the same data, and with the dense network that it began with."""

import pytest

from nes_lab.runs.info import RunInfo
from nes_lab.runs.references import can_explain, names_of_pair, origin_text, references_of

SMALL = {
    "compression": {"madds": "50%"},
    "data": {"name": "digits", "image_size": 16},
    "backbone": {"name": "a"},
    "seed": 1,
}
DENSE = SMALL | {"compression": None}


def test_references_are_dense_first_then_the_most_similar():
    chosen = RunInfo("chosen", config=SMALL, group="g")
    others = [
        RunInfo("other seed", config=SMALL | {"seed": 2}),
        RunInfo("same group", config=SMALL, group="g"),
        RunInfo("other size", config=DENSE | {"data": {"name": "digits"}}),
        RunInfo("dense, other network", config=DENSE | {"backbone": {"name": "b"}}),
        RunInfo("dense", config=DENSE),
        chosen,
    ]
    assert [info.id for info in references_of(chosen, others)] == [
        "dense",
        "dense, other network",
        "same group",
        "other seed",
    ]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, ""),
        ({"backbone": {"pretrained": True}}, "the pretrained network that it began with"),
        ({"backbone": {"checkpoint": "a.safetensors"}}, "the pretrained network that it began with"),
        ({"backbone": {"pretrained": True, "new_head": True}}, ""),
        ({"training": {"kd_weight": 0.5, "kd_checkpoint": "t.safetensors"}}, "the teacher of its distillation"),
        ({"training": {"kd_weight": 0.0, "kd_checkpoint": "t.safetensors"}}, ""),
        ({"compression": None, "backbone": {"pretrained": True}}, ""),
    ],
)
def test_origin_text_names_a_dense_network_that_has_learned(changed, says):
    assert origin_text(SMALL | changed) == says


def test_can_explain_needs_a_network_that_files_can_make():
    assert can_explain(RunInfo("a", state="cancelled"))
    assert not can_explain(RunInfo("a", state="failed")) and not can_explain(
        RunInfo("a", state="finished", given={"data": "x"})
    )


def test_names_of_pair_say_dense_only_of_dense_networks():
    small, dense = RunInfo("s", config=SMALL), RunInfo("d", config=DENSE)
    assert names_of_pair(small, None) == names_of_pair(small, dense) == ("dense", "compressed")
    assert names_of_pair(small, small) == names_of_pair(dense, dense) == ("reference", "this run")
