"""The form of the page Compress: backbones, starts, data, and what the address holds."""

from __future__ import annotations

from nes_lab.records.backbone_list import backbone_list
from tests.app.test_views import open_page, planner, words  # noqa: F401 - a fixture


def choose(at, name):
    at.selectbox(key="backbone.name").set_value(name).run()
    assert not at.exception, at.exception
    return at


def test_a_backbone_shows_its_cost_and_sets_the_size_that_it_needs(home, planner):  # noqa: F811
    at = choose(open_page("compress"), "mobilenetv2_100")
    assert "3.505 M params · 300.8 M MAdds at 224 px" in words(at)
    assert planner.questions[-1]["input_shape"] == [1, 8, 8]  # it takes digits as they are
    choose(at, "vit_tiny_patch16_224")
    assert planner.questions[-1]["input_shape"] == [1, 224, 224]
    assert "needs images of 224 px" in words(at)
    at.number_input(key="data.image_size").set_value(100).run()
    assert "takes images of 224 px only" in words(at)
    assert next(button for button in at.button if button.label == "Launch").disabled


def test_sound_and_images_are_not_mixed(home, planner):  # noqa: F811
    at = choose(open_page("compress"), "m5")
    assert "m5 takes sound" in words(at)
    at.selectbox(key="data.name").set_value("audio_folder").run()
    assert "takes sound" not in words(at)


def test_every_backbone_is_offered_ours_first(home, planner):  # noqa: F811
    options = open_page("compress").selectbox(key="backbone.name").options
    assert options == list(backbone_list()) and options[0] == "small_mobilenetv2" and len(options) > 1000


def test_the_app_begins_with_learned_starts_and_explains_each_choice(home, planner):  # noqa: F811
    at = open_page("compress")
    assert planner.compression["routing"] == "learner" and "by a small network" in words(at)
    pills = at.button_group(key="compression.routing")
    pills.set_value("stride").run()
    assert planner.compression["routing"] == "stride" and "evenly spaced" in words(at)
