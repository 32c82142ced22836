"""Notebook 06: the stand-in from top to bottom, the branch for a real ImageNet on noise, and the numbers in the prose."""

from __future__ import annotations

import json
import re

import nbformat
import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

import nes_lab
from docs.site.executed import execute, executed
from nes_lab.figures import IMAGENET
from nes_lab.recipes.registry import recipe
from tests.house.tree import ROOT
from tests.notebooks.places import FOLDER
from tests.notebooks.test_notebooks import figures, printed

PATH = FOLDER / "06_imagenet_finetuning.ipynb"
RESULTS = ROOT / "benchmarks" / "results"


def prose():
    cells = nbformat.read(PATH, as_version=4).cells
    return " ".join(" ".join(cell.source for cell in cells if cell.cell_type == "markdown").split())


def warnings_of(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return [output.text for output in outputs if output.get("name") == "stderr"]


@pytest.fixture(scope="module")
def stand_in():
    return executed(PATH)


@pytest.fixture(scope="module")
def on_noise(tmp_path_factory):
    """The branch for a real ImageNet: three classes of noise, random weights of a small network, six steps."""
    place = tmp_path_factory.mktemp("imagenet")
    random = np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 4)):
        for wnid in ("n01440764", "n02102040", "n02979186"):
            folder = place / split / wnid
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(random.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(folder / f"{number}.JPEG")
    network = nes_lab.create_backbone("small_mobilenetv2", num_classes=3)
    save_file(network.state_dict(), place / "weights.safetensors")
    changes = {
        "data": {"image_size": 8, "batch_size": 8, "workers": 0},
        "backbone": {"name": "small_mobilenetv2"},
        "compression": {"madds": "75%", "calibration": 32},
        "training": {"epochs": 1, "accumulate": 1, "threads": 1, "log_every_steps": 1},
    }
    variables = {
        "IMAGENET_DIR": str(place),
        "IMAGENET_CHECKPOINT": str(place / "weights.safetensors"),
        "IMAGENET_CHANGES": json.dumps(changes),
    }
    return execute(nbformat.read(PATH, as_version=4), variables)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_stand_in_runs_says_so_and_meets_its_predictions(stand_in):
    text = printed(stand_in)
    assert "the stand-in: digits in ImageNet's layout" in text
    assert "1,437 training and 360 validation images of shape (3, 8, 8)" in text
    assert re.findall(r"predicted \d+ to \d+ %, measured [\d.]+ %: (.*)", text) == ["as predicted"] * 2
    assert not warnings_of(stand_in)


@pytest.mark.slow
def test_stand_in_keeps_the_budget_to_the_exported_file(stand_in):
    text = printed(stand_in)
    dense, planned = (
        int(found.replace(",", "")) for found in re.search(r"madds ([\d,]+) of ([\d,]+)", text).groups()[::-1]
    )
    assert 0.7 * dense < planned <= 0.75 * dense
    assert f"61,290 params, {dense:,} MAdds" in text
    assert re.search(rf"06_fine_tuned\.onnx .*, factored, .* {planned:,} madds; differs from PyTorch by at most", text)
    accuracy = {name: float(value) for name, value in re.findall(r"([a-z -]+): .*measured ([\d.]+) %", text)}
    assert f"loaded again: top-1 {accuracy['after fine-tuning']:.1f} %" in text


@pytest.mark.slow
def test_stand_in_draws_measured_and_published_results_apart(stand_in):
    titles = [spec["layout"]["title"]["text"] for spec in figures(stand_in)]
    assert titles[0] == "Examples by class" and titles[-2:] == [
        "Accuracy against multiply-adds",
        "As published, ImageNet",
    ]
    assert {"Cost of every layer", "Training curves"} < set(titles)
    measured = figures(stand_in)[-2]["data"]
    assert not any("reported" in trace.get("name", "") for trace in measured)
    assert "best within the budget" in [trace["name"] for trace in measured]
    views = [o.data for c in stand_in.cells for o in c.get("outputs", ()) if "data" in o]
    assert sum("application/vnd.jupyter.widget-view+json" in data for data in views) == 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_branch_for_imagenet_runs_with_a_checkpoint_and_draws_published_results(on_noise):
    text = printed(on_noise)
    assert "the real recipe" in text and "48 training and 12 validation images of shape (3, 8, 8)" in text
    assert "not ImageNet-1k: 3 classes instead of 1,000" in json.dumps(on_noise)
    assert len(re.findall(r"predicted \d+ to \d+ %, measured [\d.]+ %: (?:NOT )?as predicted", text)) == 2
    assert not warnings_of(on_noise)
    names = [trace["name"] for trace in figures(on_noise)[-2]["data"]]
    assert (
        "dense (measured)" in names
        and "NES MobileNetV2 (reported: Zhou et al., ICLR 2020 (abstract), absolute value by arithmetic)" in names
    )


def test_prose_repeats_the_settings_of_the_recipe():
    text, tree = prose(), recipe("imagenet_finetune").tree()
    training = tree["training"]
    assert f"`kd_weight: {training['kd_weight']}`, `kd_temperature: {training['kd_temperature']}`" in text
    assert training["epochs"] == 10 and "ten epochs are 12.8 million training images" in text
    assert f"the recipe's {tree['compression']['calibration']:,} images" in text
    source = PATH.with_suffix(".py").read_text()
    assert f'"batch_size": {tree["data"]["batch_size"]}, "workers": {tree["data"]["workers"]}' in source
    assert f'"interpolation": "{tree["data"]["interpolation"]}"' in source


def test_numbers_in_the_prose_are_those_of_committed_results():
    text = prose()
    scaling = json.loads((RESULTS / "scaling.json").read_text())["devices"]["AMD EPYC (AVX512)"]
    rate = scaling["steps"]["imagenet_finetune"]["epitome"]["images_per_s"]
    assert f"train {rate:.1f} images per second: {10 * 1_281_167 / rate / 86_400:.0f} days" in text
    assert f"At 1,000 images per second it is {10 * 1_281_167 / 1000 / 3600:.1f} hours" in text
    assert round(scaling["loader"]["standard, 2 workers"], -2) == 400 and "reads about 400 images per second" in text
    rows = json.loads((RESULTS / "finetune_budget.json").read_text())["rows"]
    fitted, dense = rows["params 80%"], rows["dense"]
    assert f"about {100 * fitted['madds']:.0f} % of its MAdds" in text
    assert f"kept {fitted['top1']} of {dense['top1']} %" in text
    assert 270 < fitted["seconds"] < 330 and "five minutes on a CPU for 256 images of 160 pixels" in text
    assert f"{scaling['loader']['standard, 0 workers']:.0f} images per second this takes 35 seconds" in text
    near = [point.top1 for point in IMAGENET if 209e6 <= point.madds <= 227e6]
    assert f"published networks of 209 to 227 M have {min(near)} to {max(near)} %" in text
    points = {point.name: point for point in IMAGENET}
    narrow, paper = points["MobileNetV2 0.75"], points["NES MobileNetV2"]
    assert f"MobileNetV2 0.75 has {narrow.madds / 1e6:.0f} M and {narrow.top1} % as reported" in text
    assert f"reports {paper.top1} % at {paper.madds / 1e6:.0f} M" in text
