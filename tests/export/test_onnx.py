"""ONNX files: what they compute, what is in them, and what is left when something fails."""

import sys

import pytest
import torch
from torch import nn

from nes_lab import Budget, compress, count, create_backbone, export_onnx, materialize, plan_for_budget
from nes_lab.errors import CheckpointError, ExportError, OptionError
from nes_lab.export import onnx as exporter
from nes_lab.nn.conv import EpitomeConv1d, EpitomeConv2d
from tests.export.networks import Net, compressed, stirred
from tests.export.saving import NAMES

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SCATTERS = {"ScatterElements", "ScatterND", "Scatter", "OneHot", "GatherElements", "Loop"}


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def x(batch=1, size=8):
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


def operators(path):
    return {node.op_type for node in onnx.load(path).graph.node}


def run(path, *inputs):
    session = ort.InferenceSession(str(path))
    feed = {value.name: tensor.numpy() for value, tensor in zip(session.get_inputs(), inputs, strict=True)}
    return torch.from_numpy(session.run(None, feed)[0])


@pytest.mark.parametrize("form", [pytest.param("materialized", marks=pytest.mark.slow), "factored"])
def test_export_onnx_writes_a_small_cheap_file_that_agrees(form, tmp_path):
    model = compressed(Net(), NAMES, execution="auto")
    report = export_onnx(model, x(), tmp_path / "m.onnx", form=form)
    assert (report.form, report.format, report.batches) == (form, "onnx", (1, 2))
    assert report.relative_difference < 1e-5 and report.exported_ms > 0 and report.torch_ms > 0
    assert report.file_bytes == (tmp_path / "m.onnx").stat().st_size and [p.name for p in tmp_path.iterdir()] == [
        "m.onnx"
    ]
    plain = materialize(model)
    same = model if form == "factored" else plain
    assert report.madds == count(same, x()).madds  # the graph's own count
    assert report.params <= count(same, x()).params + 200  # folded norms take their statistics in
    assert torch.allclose(run(tmp_path / "m.onnx", x(3)), model(x(3)), atol=1e-5)
    assert not operators(tmp_path / "m.onnx") & SCATTERS
    text = (tmp_path / "m.onnx").read_bytes()
    assert b".py" not in text and b"/nes_lab" not in text  # nothing of this machine


SETTINGS = [
    {"routing": "random"},
    {"routing": "learner"},
    {"routing": "free", "scope": "joint"},
    {"routing": "free", "execution": "wrapped"},
]
"""Gathers in rounds, blended expansions of starts that still learn, joint weights, and another execution plan."""


@pytest.mark.slow
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(s.values()))
def test_export_onnx_keeps_the_reuse_of_every_kind_of_starts(settings, tmp_path):
    model = compressed(Net(), NAMES, **settings).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = export_onnx(model, x(), tmp_path / "m.onnx", form="factored")
    assert model.training and list(before) == list(model.state_dict())
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in before.items())
    model.eval()
    assert torch.allclose(run(tmp_path / "m.onnx", x(2)), model(x(2)), atol=1e-5)
    assert not operators(tmp_path / "m.onnx") & SCATTERS
    assert (
        report.madds < count(materialize(model), x()).madds
        or settings.get("scope") == "joint"
        or "execution" in settings
    )
    stored, names = count(model, x()).params, {t.name for t in onnx.load(tmp_path / "m.onnx").graph.initializer}
    assert {f"{name}.epitome" for name in NAMES} <= names
    assert (
        report.params < stored + 700 < count(materialize(model), x()).params
    )  # shares of fractional starts, norms' statistics


@pytest.mark.slow
def test_export_onnx_takes_one_dimensional_networks_with_long_kernels(tmp_path):
    conv = EpitomeConv1d(
        4, 16, 9, padding=4, epitome_shape=(2, 4, 16), patch_channels=(2, 4), routing="stride", execution="product_map"
    )
    model = nn.Sequential(conv, nn.ReLU(), nn.Conv1d(16, 3, 1)).eval()
    signal = torch.randn(2, 4, 40)
    report = export_onnx(model, signal, tmp_path / "m.onnx", form="factored")
    assert report.madds == count(model, signal).madds < count(materialize(model), signal).madds


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(2, 3)

    def forward(self, first, second):
        return {"sum": self.a(first) + self.b(second), "first": self.a(first)}


@pytest.mark.slow
@pytest.mark.parametrize("by_name", [True, False])
def test_export_onnx_takes_several_inputs_and_outputs(by_name, tmp_path):
    inputs = {"first": torch.randn(2, 4), "second": torch.randn(2, 2)}
    export_onnx(TwoInputs(), inputs if by_name else tuple(inputs.values()), tmp_path / "m.onnx")
    assert run(tmp_path / "m.onnx", *(t[:1] for t in inputs.values())).shape == (1, 3)


def test_export_onnx_with_a_fixed_batch_and_no_comparison(tmp_path):
    report = export_onnx(nn.Linear(4, 3), torch.randn(5, 4), tmp_path / "m.onnx", dynamic_batch=False, verify=False)
    assert report.batches == () and report.largest_difference is None and report.madds == 60
    with pytest.raises(Exception, match=r"[Ii]nvalid dimensions|Got: 2"):
        run(tmp_path / "m.onnx", torch.randn(2, 4))


def test_export_onnx_drops_unread_positions_without_slow_slices(tmp_path):
    layer = EpitomeConv2d(8, 16, 1, stride=2, epitome_shape=(16, 4, 1, 1))
    images = torch.randn(2, 8, 7, 9)
    export_onnx(nn.Sequential(layer), images, tmp_path / "m.onnx", form="factored", verify=False)
    assert torch.allclose(run(tmp_path / "m.onnx", images), layer(images), atol=1e-6)
    graph = onnx.load(tmp_path / "m.onnx").graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    steps = [constants[node.input[4]] for node in graph.node if node.op_type == "Slice" and len(node.input) > 4]
    assert all((step == 1).all() for step in steps) and "MaxPool" in operators(tmp_path / "m.onnx")


# ---- faults ----------------------------------------------------------------------------------------------------------


def fails(tmp_path, kind, match, model=None, example=None, name="m.onnx", **options):
    """The error comes, and what was there is still there alone."""
    (tmp_path / "m.onnx").write_text("old")
    model = nn.Linear(4, 3) if model is None else model
    with pytest.raises(kind, match=match):
        export_onnx(model, torch.randn(2, 4) if example is None else example, tmp_path / name, **options)
    assert (tmp_path / "m.onnx").read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_export_onnx_names_an_operator_that_the_opset_lacks(tmp_path):
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    fails(
        tmp_path,
        ExportError,
        r"opset=12 lacks operators of this model: LayerNormalization \(since opset 17\)",
        model,
        opset=12,
    )


@pytest.mark.slow
def test_export_onnx_takes_another_opset(tmp_path):
    assert export_onnx(nn.Linear(4, 3), torch.randn(2, 4), tmp_path / "m.onnx", opset=18).opset == 18


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"opset": 999}, "opset=999"),
        ({"opset": 0}, "opset=0"),
        ({"opset": "18"}, "opset='18'"),
        ({"form": "factord"}, "Did you mean 'factored'"),
        ({"tolerance": -1}, "tolerance=-1"),
    ],
)
def test_export_onnx_refuses_wrong_options(tmp_path, options, match):
    fails(tmp_path, OptionError, match, **options)


def test_export_onnx_refuses_wrong_inputs(tmp_path):
    fails(tmp_path, OptionError, "cannot run it", example=torch.randn(2, 5))
    fails(tmp_path, OptionError, "example_input holds a str", example="x")
    fails(tmp_path, OptionError, "example_input holds a int", example=(torch.randn(2, 4), 3))


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_export_onnx_says_how_to_install_a_missing_package(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    fails(tmp_path, OptionError, rf"needs {package}, which is not installed; .*: pip install 'nes-lab\[export\]'")


def test_export_onnx_refuses_paths_it_cannot_write(tmp_path):
    fails(tmp_path, CheckpointError, "the folder .*nowhere is missing", name="nowhere/m.onnx")
    (tmp_path / "m.onnx").unlink()
    (tmp_path / "taken.onnx").mkdir()
    with pytest.raises(CheckpointError, match="it is a folder"):
        export_onnx(nn.Linear(4, 3), torch.randn(2, 4), tmp_path / "taken.onnx")


def test_export_onnx_keeps_no_file_that_differs(tmp_path, monkeypatch):
    made = exporter.prepare_trace

    def wrong(model, *rest):
        graph, *others = made(model, *rest)
        with torch.no_grad():
            graph.weight.add_(0.01)
        return graph, *others

    monkeypatch.setattr(exporter, "prepare_trace", wrong)
    fails(
        tmp_path,
        ExportError,
        "differs from PyTorch by .* more than tolerance=0.0001; nothing was written",
        model=nn.Linear(4, 3),
    )


class Unexportable(nn.Module):
    def forward(self, x):
        return x * 2 if float(x.sum()) > 0 else x


@pytest.mark.slow
def test_export_onnx_refuses_a_model_that_cannot_be_traced(tmp_path):
    fails(tmp_path, ExportError, "cannot be exported to ONNX: .*dynamic_batch=False", Unexportable())


def test_export_onnx_refuses_a_model_of_nan(tmp_path):
    model = nn.Linear(4, 3)
    nn.init.constant_(model.weight, float("nan"))
    fails(tmp_path, ExportError, "the model's own output for the example holds NaN", model)


def test_export_onnx_leaves_nothing_when_interrupted(tmp_path, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(exporter, "run_tracer", stop)
    fails(tmp_path, KeyboardInterrupt, None)


# ---- whole networks --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "routing", "form"),
    [
        ("mobilenetv2_035", 64, "tiled", "factored"),
        ("resnet18", 64, "learner", "factored"),
        ("convnext_atto", 64, "random", "materialized"),
    ],
)
def test_export_onnx_takes_backbones(name, size, routing, form, tmp_path):
    dense, images = create_backbone(name, num_classes=10).eval(), x(1, size)
    model = stirred(compress(dense, plan_for_budget(dense, Budget(params="60%"), images, routing=routing)))
    report = export_onnx(model, images, tmp_path / "m.onnx", form=form)
    whole = count(dense, images)
    if form == "materialized":
        assert report.madds == whole.madds
        return
    assert report.madds <= count(model, images).madds  # which counts the taps of fractional starts too
    assert report.file_bytes < 0.7 * whole.bytes and not operators(tmp_path / "m.onnx") & SCATTERS


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_export_onnx_counts_recurrent_layers(kind, tmp_path):
    x = torch.randn(5, 2, 6)
    model = nn.Sequential(kind(6, 8, bidirectional=True)).eval()
    report = export_onnx(model, x, tmp_path / "m.onnx", dynamic_batch=False)
    assert report.madds == count(model, x).madds > 0
