"""plan, compress, fit, export, tune, zoo: from a name to a file, and what each says to a mistake."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import nes_lab
from nes_lab.cli import main
from nes_lab.models.create import dense_backbone

NET = ["small_mobilenetv2", "--input", "1", "8", "8", "--classes", "10", "--round-to", "2"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def weights(here):
    dense = dense_backbone("small_mobilenetv2", num_classes=10, in_channels=1, seed=3)
    save_file(dense.state_dict(), here / "w.safetensors")
    return "w.safetensors"


def said(capsys, *words):
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_plan_compress_tune_and_export_make_a_file_for_other_runtimes(here, capsys):
    import numpy as np
    import onnxruntime

    plan = said(capsys, "plan", *NET, "--madds", "75%", "--output", "plan.json")
    saved = said(capsys, "compress", *NET, "small", "--plan", "plan.json")
    assert saved["madds"] == plan["predicted"]["madds"] and saved["params"] == plan["predicted"]["params"]
    assert saved["file_bytes"] == saved["bytes"] == sum(file.stat().st_size for file in Path("small").iterdir())
    report = said(capsys, "tune", "small", "--seconds", "0.2")
    model = nes_lab.from_pretrained("small")
    executions = {layer["name"]: layer["execution"] for layer in report["layers"]}
    assert {name: model.get_submodule(name).execution for name in executions} == executions
    assert {name: layer.execution for name, layer in model.nes_lab_plan.layers.items()} == executions
    for form in ("materialized", "factored"):
        told = said(capsys, "export", "small", f"{form}.onnx", "--form", form)
        assert told["file_bytes"] == Path(f"{form}.onnx").stat().st_size
        x = torch.randn(3, 1, 8, 8)
        output = onnxruntime.InferenceSession(f"{form}.onnx").run(None, {told_input(form): x.numpy()})[0]
        with torch.no_grad():
            expected = model(x).numpy()
        assert np.abs(output - expected).max() <= 1e-4 * np.abs(expected).max()


def told_input(form):
    import onnx

    return onnx.load(f"{form}.onnx").graph.input[0].name


def test_fit_with_searched_starts_is_closer_than_with_the_plans_starts(weights, capsys):
    budget = [*NET, "--madds", "75%", "--checkpoint", weights]
    searched = said(capsys, "fit", *budget, "a")
    renamed = pytest.warns(FutureWarning, match="--learnable is now called --no-snap")
    with renamed, pytest.warns(FutureWarning, match="--starts plan is now called --no-search-starts"):
        planned = said(capsys, "fit", *budget, "b", "--starts", "plan", "--learnable")
    assert total(searched) < total(planned)
    wanted = load_file(weights)["head.0.weight"]
    head = nes_lab.from_pretrained("a").get_submodule("head.0").weight.detach()
    assert 0 < float((head - wanted).norm() / wanted.norm()) < 1
    for saved in (searched, planned):  # the plan counts the starts as the fit leaves them
        assert saved["madds"] == saved["plan"]["predicted"]["madds"]
    assert (
        searched["plan"]["snap"] and searched["params"] > planned["params"]
    )  # integers cost no multiply-adds of their own


def total(saved):
    return sum(layer["residual_after"] ** 2 * layer["weight_energy"] for layer in saved["fit"]["layers"])


def test_fit_calibrates_on_images(weights, capsys):
    budget = [*NET, "--madds", "75%", "--checkpoint", weights]
    words = ["fit", *budget, "c", "--calibration", "digits", "--images", "64"]
    at_once = said(capsys, *words)["fit"]
    assert at_once["calibration_batches"] == at_once["norm_batches"] == 2
    words[words.index("c")] = "d"
    in_turn = said(capsys, *words, "--sequential")["fit"]
    assert in_turn["calibration_batches"] == 2 and in_turn["norm_batches"] == 0  # norms are corrected on the way
    assert in_turn["output_error"] != at_once["output_error"]


def test_zoo_lists_families(capsys):
    assert said(capsys, "zoo")["mobilenetv3"]["model"] == "mobilenetv3_small_050"


def test_compress_and_plan_print_text_for_people(here, capsys):
    with pytest.warns(FutureWarning, match="--weights is now called --initial-weights"):
        assert main(["compress", *NET, "small", "--params", "80%", "--weights=reset"]) == 0
    out = capsys.readouterr().out
    assert "of the dense network" in out and "nes-lab export small" in out
    assert main(["plan", *NET, "--params", "80%", "--explain"]) == 0
    assert "head.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compress", "mobilenetv2_10", "x", "--madds", "50%"], "mobilenetv2_100"),
        (["compress", *NET, "x"], "give a budget"),
        (["compress", *NET, "x", "--madds", "1%"], "least reachable"),
        (["compress", *NET, "x", "--plan", "none.json"], "--plan none.json cannot be read"),
        (["compress", *NET, "x", "--plan", "none.json", "--madds", "50%"], "already holds what --madds asks for"),
        (["compress", *NET, "x", "--plan", "none.json", "--snap"], "already holds what --snap asks for"),
        (["compress", *NET, "x", "--madds", "75%", "--checkpoint", "none.safetensors"], "is not a file"),
        (["compress", *NET, "x", "--madds", "75%", "--checkpoint", "w.safetensors", "--pretrained"], "two sources"),
        (["compress", "vit_tiny_patch16_224", "x", "--madds", "75%", "--input", "3", "200", "200"], "cannot run it"),
        (["fit", *NET, "x", "--madds", "75%"], "fresh weights"),
        (["fit", *NET, "x", "--madds", "75%", "--checkpoint", "w.safetensors", "--calibration", "digit"], "data.name"),
        (["fit", *NET, "x", "--madds", "75%", "--checkpoint", "w.safetensors", "--sequential"], "needs calibration"),
        (["fit", *NET, "x", "--madds", "75%", "--checkpoint", "nan.safetensors"], "holds NaN"),
        (["fit", *NET, "x", "--madds", "75%", "--checkpoint", "other.safetensors"], "another architecture"),
        (["export", "none", "x.onnx"], "neither the folder of a saved network nor a run"),
        (["export", ".", "x.onnx"], "no saved model"),
        (["tune", "none"], "no saved model"),
        (["zoo", "resnet_18"], "resnet18"),
        (["zoo", "resnet18", "--params", "2M"], "a share of the dense network"),
    ],
)
def test_model_commands_write_nothing_after_a_mistake(weights, words, message, capsys):
    state = load_file(weights)
    save_file(state | {"head.0.weight": state["head.0.weight"] * float("nan")}, "nan.safetensors")
    save_file({"fc.weight": torch.ones(2, 2)}, "other.safetensors")
    before = sorted(Path().iterdir())
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert sorted(Path().iterdir()) == before


def test_model_commands_leave_a_saved_model_unchanged_after_a_mistake(here, capsys):
    assert main(["compress", *NET, "small", "--madds", "75%"]) == 0
    before = {file.name: file.read_bytes() for file in Path("small").iterdir()}
    for words, message in [
        (["compress", *NET, "small", "--madds", "75%"], "overwrite"),
        (["export", "small", "x.onnx", "--opset", "7"], "opset"),
        (["export", "small", "x.pt2", "--opset", "18"], "opset=18 is for ONNX"),
        (["export", "small", "x.onnx", "--input", "3", "8", "8"], "cannot run it"),
        (["export", "small", "no/such/x.onnx"], "no/such"),
        (["tune", "small", "--batch", "0"], "batch=0"),
        (["tune", "small", "--seconds", "-1"], "seconds=-1"),
    ]:
        assert main(words) == 2, words
        assert message in capsys.readouterr().err
        assert {file.name: file.read_bytes() for file in Path("small").iterdir()} == before
        assert sorted(path.name for path in Path().iterdir()) == ["small"]
    weights = Path("small/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    assert main(["export", "small", "x.onnx"]) == 2
    assert "model.safetensors" in capsys.readouterr().err


def test_plan_takes_channels_and_samples_of_a_sound(capsys):
    assert main(["plan", "m5", "--params", "25%", "--input", "1", "8000", "--classes", "10", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["predicted"]["params"] <= 0.25 * plan["dense"]["params"]
    assert main(["plan", "m5", "--params", "25%", "--input", "8000"]) == 2
    assert "--input 8000: give channels, height and width" in capsys.readouterr().err
