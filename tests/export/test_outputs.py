"""Outputs of ONNX files keep their names; files can be quantized; what cannot be exported is explained."""

import copy
import re

import pytest
import torch
from torch import nn

from nes_lab import export_onnx, export_torch
from nes_lab.errors import ExportError, OptionError
from nes_lab.export.trace import chosen_tolerance
from tests.house.tree import ROOT

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
X = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))


class Named(nn.Module):
    """Its keys are names that the graph uses for other tensors too; one tensor is returned twice."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(8, 4)

    def forward(self, x):
        h = self.a(x)
        r = torch.relu(h)
        return {"zeta": r @ self.a.weight, "relu": h, "a.weight": r, "x": x + 1, "none": None, "deep": {"same": h}}


def outputs(path, x):
    session = ort.InferenceSession(str(path))
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(None, {session.get_inputs()[0].name: x.numpy()}), strict=True))


def test_names_of_outputs_are_the_keys_of_the_dict(tmp_path):
    model = Named().eval()
    export_onnx(model, X, tmp_path / "m.onnx")
    found, expected = outputs(tmp_path / "m.onnx", X), model(X)
    expected |= {"deep.same": expected["deep"]["same"], "x_output": expected["x"]}
    assert list(found) == ["zeta", "relu", "a.weight", "x_output", "deep.same"]
    assert [value.name for value in onnx.load(tmp_path / "m.onnx").graph.input] == ["x"]
    for name, value in found.items():
        assert torch.allclose(torch.from_numpy(value), expected[name], atol=1e-5), name


def test_names_of_outputs_may_be_given(tmp_path):
    export_onnx(nn.Linear(8, 4), X, tmp_path / "m.onnx", output_names=["logits"], verify=False)
    assert list(outputs(tmp_path / "m.onnx", X)) == ["logits"]
    for wrong in (["a", "b"], "a", [""]):
        with pytest.raises(OptionError, match="give 1 different names"):
            export_onnx(nn.Linear(8, 4), X, tmp_path / "n.onnx", output_names=wrong)


class Counts(nn.Module):
    def forward(self, x):
        return {"y": x * 2, "n": x.shape[0]}


def test_names_of_outputs_name_what_is_no_tensor(tmp_path):
    with pytest.raises(ExportError, match="output 'n' of Counts is of type int; an ONNX file has tensors only"):
        export_onnx(Counts(), X, tmp_path / "m.onnx")


class FixedBatch(nn.Module):
    def forward(self, x):
        return x.view(2, 4, 2) * 2


@pytest.mark.parametrize(("export", "name"), [(export_onnx, "m.onnx"), (export_torch, "m.pt2")])
def test_a_fixed_batch_size_is_explained(export, name, tmp_path):
    with pytest.raises(ExportError, match="dynamic_batch=False"):
        export(FixedBatch(), X, tmp_path / name)
    assert not list(tmp_path.iterdir())


class Mean(nn.Module):
    def forward(self, x):
        return torch.relu(x.reshape(-1, 2, 4)).mean(2)


def test_only_the_operators_that_a_lower_opset_lacks_are_named(tmp_path):
    with pytest.raises(ExportError, match="opset=17 lacks operators of this model: ReduceMean; give opset=18"):
        export_onnx(Mean(), X, tmp_path / "m.onnx", opset=17)


def test_chosen_tolerance_follows_the_dtype(tmp_path):
    half = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 4)).half()
    report = export_onnx(half, X.half(), tmp_path / "m.onnx")
    assert report.tolerance == chosen_tolerance(None, torch.float16) == pytest.approx(0.01, rel=0.03)
    assert chosen_tolerance(None, torch.float32) == 1e-4 and chosen_tolerance(0.5, torch.float16) == 0.5
    with pytest.raises(ExportError, match=r"bfloat16: export copy.deepcopy\(model\).float\(\)"):
        export_onnx(copy.deepcopy(half).bfloat16(), X.bfloat16(), tmp_path / "b.onnx")


class Untraceable(nn.Module):
    def forward(self, x):
        return x * 2 if float(x.sum()) > 0 else x


def test_graphs_are_printed_only_if_asked(tmp_path, capfd):
    for verbose in (False, True):
        with pytest.raises(ExportError):
            export_torch(Untraceable(), X, tmp_path / "m.pt2", verbose=verbose)
        assert ("def forward" in capfd.readouterr().err) is verbose


def test_int8_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "int8.md").read_text(encoding="utf-8")
    exec("\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)), {})
    assert 0 < float(capsys.readouterr().out.splitlines()[-1]) < 0.05
    assert (tmp_path / "small.int8.onnx").stat().st_size < 0.6 * (tmp_path / "small.onnx").stat().st_size
