"""``.pt2`` files: loaded back by torch alone, they compute the same, in both forms."""

import pytest
import torch
from torch import nn

from nes_lab import count, export_onnx, export_torch, materialize
from nes_lab.errors import CheckpointError, ExportError, OptionError
from nes_lab.export import torch_export as exporter
from tests.export.networks import Net, compressed
from tests.export.saving import NAMES


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def x(batch=1):
    return torch.randn(batch, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("form", "routing"),
    [
        ("materialized", "tiled"),
        ("factored", "tiled"),
        pytest.param("factored", "random", marks=pytest.mark.slow),
        pytest.param("factored", "learner", marks=pytest.mark.slow),
    ],
)
def test_export_torch_writes_a_file_that_loads_and_agrees(form, routing, tmp_path):
    model = compressed(Net(), NAMES, routing=routing)
    path = tmp_path / "m.pt2"
    report = export_torch(model, x(), path, form=form)
    program = torch.export.load(path).module()
    assert torch.allclose(program(x(3)), model(x(3)), atol=1e-5)
    counted = count(model if form == "factored" else materialize(model), x())
    assert report.madds <= counted.madds and report.opset is None and report.batches == (1, 2)
    assert report.madds == counted.madds or routing in ("free", "learner")  # whose taps are no products of layers
    if form == "factored":
        assert report.params < 0.7 * count(materialize(model), x()).params
    assert report.file_bytes == path.stat().st_size and [p.name for p in tmp_path.iterdir()] == ["m.pt2"]


def fails(tmp_path, kind, match, model=None, name="m.pt2", **options):
    (tmp_path / "m.pt2").write_text("old")
    with pytest.raises(kind, match=match):
        export_torch(nn.Linear(4, 3) if model is None else model, torch.randn(2, 4), tmp_path / name, **options)
    assert (tmp_path / "m.pt2").read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["m.pt2"]


def test_export_torch_leaves_what_was_there_after_an_error(tmp_path, monkeypatch):
    class Unexportable(nn.Module):
        def forward(self, x):
            return x * 2 if float(x.sum()) > 0 else x

    fails(tmp_path, OptionError, "end in .pt2", name="m.pth")
    fails(tmp_path, OptionError, "form='x'", form="x")
    fails(tmp_path, OptionError, "tolerance=0", tolerance=0)
    fails(tmp_path, OptionError, "cannot run it", nn.Linear(5, 3))
    fails(tmp_path, CheckpointError, "is missing", name="nowhere/m.pt2")
    fails(tmp_path, ExportError, "cannot be exported by torch.export", Unexportable())
    made = exporter.prepare_trace

    def wrong(model, *rest):
        graph, *others = made(model, *rest)
        torch.nn.init.zeros_(graph.weight)
        return graph, *others

    monkeypatch.setattr(exporter, "prepare_trace", wrong)
    fails(tmp_path, ExportError, "the torch.export file differs from PyTorch")


def test_export_torch_counts_recurrent_layers(tmp_path):
    model, x = nn.Sequential(nn.LSTM(6, 8)).eval(), torch.randn(5, 2, 6)
    report = export_torch(model, x, tmp_path / "m.pt2", dynamic_batch=False)
    assert report.madds == count(model, x).madds > 0


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x, mask=None, scale=None):
        y = self.layer(x) * scale
        return y if mask is None else y * mask


@pytest.mark.parametrize("by_name", [True, False])
@pytest.mark.parametrize(("export", "name"), [(export_torch, "m.pt2"), (export_onnx, "m.onnx")])
def test_exports_take_none_as_a_constant(export, name, by_name, tmp_path):
    if export is export_onnx:
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    arguments = {"x": torch.randn(2, 4), "mask": None, "scale": torch.randn(2, 1)}
    report = export(Masked(), arguments if by_name else tuple(arguments.values()), tmp_path / name)
    assert report.batches == (2, 1) and report.madds == 24
    with pytest.raises(OptionError, match="example_input holds a NoneType"):
        export(Masked(), (None,), tmp_path / name)
