"""The form of the page Compress: backbones, starts, data, and what the address holds."""

from __future__ import annotations

import json
import math

import torch
import yaml

import nes_lab
from app.components import compress_plane
from app.inputs import form_address
from nes_lab.config import knobs, load_config
from nes_lab.recipes.chips import CHIPS
from nes_lab.recipes.registry import experiment_tree
from nes_lab.records.backbone_list import backbone_list
from tests.app.test_views import figures, open_page, planner, words  # noqa: F401 - a fixture


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


def test_the_table_of_backbones_shows_published_accuracies_and_no_empty_cell(home, planner):  # noqa: F811
    at = open_page("compress")
    at.button(key="browse").click().run()
    assert not at.exception, at.exception
    table = next(table for table in at.dataframe if "published_top1" in table.value)
    shown, drawn = table.value.set_index("backbone"), table.proto
    assert shown.loc["resnet50", "published_top1"] == 80.382
    assert math.isnan(shown.loc["resnet50_clip", "published_top1"]) and drawn.placeholder == "–"
    accuracy = json.loads(drawn.columns)["published_top1"]
    assert accuracy["type_config"] == {"type": "number", "format": "%.1f %%"}
    assert "timm reports none for the default weights" in words(at)
    assert "as reported by timm" in accuracy["help"] and "input side" in accuracy["help"]


def test_the_app_begins_with_learned_starts_and_explains_each_choice(home, planner):  # noqa: F811
    at = open_page("compress")
    assert planner.compression["routing"] == "learner" and "by a small network" in words(at)
    pills = at.button_group(key="compression.routing")
    pills.set_value("stride").run()
    assert planner.compression["routing"] == "stride" and "evenly spaced" in words(at)


def fields(at):
    """Every field of the form: key -> label."""
    kinds = ("selectbox", "text_input", "number_input", "toggle", "button_group")
    return {item.key: item.label for kind in kinds for item in getattr(at, kind) if item.key}


def test_every_setting_is_reachable_and_has_a_human_name(home, planner):  # noqa: F811
    at = open_page("compress", **{"data.name": "image_folder"})
    found = fields(at) | fields(open_page("compress", **{"data.name": "audio_folder"}))
    found |= fields(open_page("compress", **{"data.name": "cifar10"}))
    elsewhere = {"schema_version", "start", "backbone.pretrained", "compression.initial_weights"}
    assert {knob.path for knob in knobs()} - set(found) <= elsewhere
    words_of_files = {"Root", "Min channels", "Wiring", "Boundary", "Lr", "Madds", "Val fold", "Round to", "Kd weight"}
    assert not words_of_files & set(found.values())
    assert not [label for label in found.values() if "_" in label or "." in label]


def test_a_setting_that_does_not_fit_the_others_is_explained_before_launch(home, planner):  # noqa: F811
    at = open_page("compress")
    at.number_input(key="training.warmup_epochs").set_value(99.0).run()
    assert next(button for button in at.button if button.label == "Launch").disabled
    assert "is longer than" in words(at) and "warmup_epochs" not in words(at).split("Also set")[0].replace("--", "")


def test_the_form_survives_a_change_of_page(home, planner):  # noqa: F811
    at = choose(open_page("compress"), "resnet18")
    at.button_group(key="compression.routing").set_value("free").run()
    at.number_input(key="training.clip_grad").set_value(2.0).run()
    at.text_input(key="label").set_value("mine").run()
    at.switch_page("views/trade_off.py").run()
    at.switch_page("views/compress.py").run()
    asked = planner.questions[-1]
    assert asked["backbone"]["name"] == "resnet18" and asked["compression"]["routing"] == "free"
    assert at.number_input(key="training.clip_grad").value == 2.0 and at.text_input(key="label").value == "mine"


def chip(at, name):
    next(button for button in at.button if button.label == name).click().run()
    assert not at.exception, at.exception


def test_a_chip_fills_the_form_and_the_address(home, planner):  # noqa: F811
    at = open_page("compress")
    at.number_input(key="training.clip_grad").set_value(2.0).run()
    chip(at, "Paper: MobileNetV2, 225 M")
    assert at.selectbox(key="backbone.name").value == "mobilenetv2_100"
    assert planner.compression["madds"] == "225M" and planner.questions[-1]["input_shape"] == [3, 224, 224]
    assert (
        at.number_input(key="training.epochs").value == 300 and at.number_input(key="training.clip_grad").value is None
    )
    wanted = load_config(experiment_tree("imagenet_mobilenetv2"), {"compression.madds": "225M"})
    assert load_config(yaml.safe_load(at.code[-1].value)) == wanted
    chip(at, "Small file")
    assert any("you: small_file" in json.dumps(figure) for figure in figures(at))
    assert planner.compression["preset"] == "small_file" and "madds" not in planner.compression
    assert load_config(yaml.safe_load(at.code[-1].value)).compression == load_config(CHIPS[2].make()).compression
    at.session_state["compression.preset"], at.session_state["compression.madds"] = (
        "",
        "50%",
    )  # as a dragged budget does
    at.run()
    assert planner.compression["madds"] == "50%" and "preset" not in planner.compression
    chip(at, "Audio")
    assert planner.questions[-1]["backbone"]["name"] == "m5" and "madds" not in planner.compression
    chip(at, "ResNet-50, half")
    assert "downloaded when the run begins" in words(at) and planner.compression["initial_weights"] == "fit"


def test_a_dragged_budget_takes_the_place_of_a_preset(monkeypatch):
    entered, said = {}, []
    monkeypatch.setattr(compress_plane, "enter", entered.__setitem__)
    monkeypatch.setattr(compress_plane.st, "toast", said.append)
    budget = {"madds": None, "params": None, "latency_ms": None, "stored_bytes": None, "preset": "small_file"}
    compress_plane.entry_of("madds", budget)(0.5)
    assert entered == {"compression.preset": "", "compression.madds": "50%"} and "small_file" in said[0]
    entered.clear()
    compress_plane.entry_of("madds", budget | {"preset": None})(0.5)
    assert entered == {"compression.madds": "50%"} and len(said) == 1


def test_a_start_that_cannot_work_is_explained_before_launch(store, planner, tmp_path):  # noqa: F811
    at = open_page("compress")
    launch = lambda: next(button for button in at.button if button.label == "Launch")  # noqa: E731
    start = lambda kind: at.button_group(key="start-from").set_value(kind).run()  # noqa: E731
    start("pretrained, fitted")
    assert "No weights are published for small_mobilenetv2" in words(at) and launch().disabled
    start("a run")
    assert "There is no run yet" in words(at) and launch().disabled
    start("saved network")
    assert "Give the folder" in words(at) and launch().disabled
    at.text_input(key="start-folder").set_value(str(tmp_path)).run()
    assert "holds no saved model" in words(at) and launch().disabled
    start("scratch")
    assert not launch().disabled


def test_a_run_starts_from_a_saved_network(store, planner, tmp_path):  # noqa: F811
    network = nes_lab.create_backbone("small_mobilenetv2", num_classes=7, in_channels=1, width=0.5)
    nes_lab.save_pretrained(network, tmp_path / "net")
    at = open_page("compress", **{"start-from": "saved network", "start-folder": str(tmp_path / "net")})
    assert "The network is small_mobilenetv2, dense" in words(at) and planner.questions[-1]["backbone"]["width"] == 0.5
    assert "tells 7 classes apart, and the data has 10" in words(at)
    at.toggle(key="backbone.new_head").set_value(True).run()
    command = at.code[0].value
    assert f"--from {tmp_path / 'net'}" in command and "--backbone.new_head true" in command


def test_a_compressed_start_asks_for_no_budget(store, planner, tmp_path):  # noqa: F811
    network = nes_lab.create_backbone("small_mobilenetv2", num_classes=10, in_channels=1, width=0.5)
    smaller = nes_lab.compress(network, madds="60%", example_input=torch.zeros(1, 1, 8, 8))
    nes_lab.save_pretrained(smaller, tmp_path / "net")
    at = open_page("compress", **{"start-from": "saved network", "start-folder": str(tmp_path / "net")})
    assert "compressed; it is trained as it is" in words(at) and not at.exception
    assert "compression.madds" not in {each.key for each in at.text_input}


def test_values_have_human_names_and_links_may_hold_either(home, planner):  # noqa: F811
    for linked in ("joint", "each patch"):
        at = open_page("compress", **{"compression.scope": linked, "data.name": "image_folder"})
        assert planner.compression["scope"] == "joint" and not at.error
    shown = {option for box in at.selectbox if box.key != "backbone.name" for option in box.options}
    assert "each patch" in shown and not [
        option for option in shown if "_" in option or option in ("joint", "poly", "mlp")
    ]
    chip(at, "Audio")
    assert at.selectbox(key="data.name").value == "audio_folder"


def test_training_is_folded_under_its_values(home, planner):  # noqa: F811
    at = open_page("compress", **{"training.epochs": "7"})
    title = lambda: next(each.label for each in at.expander if each.label.startswith("Training:"))  # noqa: E731
    assert title() == "Training: 7 epochs, batch 64, learning rate 0.05"
    at.number_input(key="data.batch_size").set_value(32).run()
    assert title() == "Training: 7 epochs, batch 32, learning rate 0.05"


def test_published_weights_are_fitted_as_the_form_says(home, planner):  # noqa: F811
    at = choose(open_page("compress", **{"start-from": "pretrained, fitted"}), "resnet18")
    assert not {"compression.calibration", "compression.sequential"} & set(fields(at))  # they need a search of starts
    at.toggle(key="compression.search_starts").set_value(True).run()
    at.number_input(key="compression.calibration").set_value(64).run()
    at.toggle(key="compression.sequential").set_value(True).run()
    asked = {"initial_weights": "fit", "search_starts": True, "calibration": 64, "sequential": True}
    assert asked.items() <= planner.compression.items() and not at.error and "Also set:" not in words(at)
    command, python, text = (item.value for item in at.code[-3:])
    compression = load_config(yaml.safe_load(text)).compression
    assert compression is not None and asked.items() <= compression.model_dump().items()
    assert "--compression.sequential true" in command and "'sequential': True" in python
    again = open_page("compress", **form_address(load_config(yaml.safe_load(text)).to_dict()))
    assert again.toggle(key="compression.sequential").value is True and not again.error
    at.toggle(key="compression.search_starts").set_value(False).run()
    assert planner.compression["sequential"] is False and not at.error
