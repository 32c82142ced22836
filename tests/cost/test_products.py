"""Products that torch's counter misses have formulas; what cannot be counted is named, and no budget limits it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import nes_lab
from nes_lab import Budget
from nes_lab.errors import BudgetError
from nes_lab.records.cost_report import CostReport

T, B, IN, H = 5, 2, 6, 8


class _Cells(nn.Module):
    """A recurrent network as a loop over cells of torch, which call plain matrix products."""

    def __init__(self, cell: Callable[[int, int], nn.Module], layers: int, directions: int, steps: int) -> None:
        super().__init__()
        sizes = [IN] + [directions * H] * (layers - 1)
        self.cells = nn.ModuleList(nn.ModuleList(cell(size, H) for _ in range(directions)) for size in sizes)
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        pairs: Iterable[nn.ModuleList] = self.cells  # type: ignore[assignment]
        for pair in pairs:
            x = torch.cat([self._direction(cell, x) for cell in pair], dim=-1)
        return x

    def _direction(self, cell: nn.Module, x: Tensor) -> Tensor:
        state, outputs = None, []
        for step in range(self.steps):
            state = cell(x[step], state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(outputs)


@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2, "bidirectional": True}, {"batch_first": True, "bias": False}], ids=str
)
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_count_as_a_loop_over_their_cells(kind, options):
    layer, cell = getattr(nn, kind)(IN, H, **options), getattr(nn, f"{kind}Cell")
    loop = _Cells(cell, options.get("num_layers", 1), 1 + options.get("bidirectional", False), T)
    x = torch.randn(T, B, IN)
    report = nes_lab.count(layer, x.transpose(0, 1) if options.get("batch_first") else x)
    assert report.madds == nes_lab.count(loop, x).madds > 0 and not report.not_counted


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_packed_and_projected_and_single_sequences(kind):
    layer, gates = getattr(nn, kind)(IN, H), 4 if kind == "LSTM" else 3
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(T, 3, IN), [5, 3, 2])
    assert nes_lab.count(layer, (packed,)).madds == (5 + 3 + 2) * gates * H * (IN + H)
    assert nes_lab.count(layer, torch.randn(T, IN)).madds == T * gates * H * (IN + H)
    if kind == "LSTM":
        layer = nn.LSTM(IN, H, proj_size=3)
        assert nes_lab.count(layer, torch.randn(T, B, IN)).madds == T * B * (gates * H * (IN + 3) + H * 3)


def test_the_lstm_of_a_network_is_counted_in_every_dtype_and_predicted():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.lstm, self.fc = nn.Conv1d(4, 16, 3), nn.LSTM(16, 32), nn.Linear(32, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.lstm(self.conv(x).movedim(2, 0))[0][-1])

    net, x = Net(), torch.randn(1, 4, 12)
    by_hand = {"conv": 10 * 3 * 4 * 16, "lstm": 10 * 4 * 32 * (16 + 32), "fc": 32 * 5}
    for dtype in (torch.float32, torch.bfloat16):
        report = nes_lab.count(net.to(dtype), x.to(dtype))
        assert {row.name: row.madds for row in report.by_layer} == by_hand
    plan = nes_lab.plan_for_budget(net.float(), Budget(madds="98%"), x, round_to=1)
    assert nes_lab.count(nes_lab.compress(net, plan), x).madds == plan.predicted.madds < plan.dense.madds


class _Uses(nn.Module):
    """A module with one weight and a function of it and the inputs."""

    def __init__(self, function, *shape: int) -> None:
        super().__init__()
        self.function, self.weight = function, nn.Parameter(torch.randn(*shape))

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(self.weight, *inputs)


PRODUCTS = {
    "mv": (lambda w, x: w.mv(x), (3, 6), [(6,)], 18),
    "matrix @ vector": (lambda w, x: w @ x, (3, 6), [(6,)], 18),
    "vector @ matrix": (lambda w, x: x @ w, (6, 3), [(6,)], 18),
    "batch @ vector": (lambda w, x: x @ w, (6,), [(2, 5, 6)], 60),
    "dot": (lambda w, x: w.dot(x), (6,), [(6,)], 6),
    "vdot": (lambda w, x: torch.vdot(w, x), (6,), [(6,)], 6),
    "inner": (lambda w, x: torch.inner(w, x), (3, 6), [(6,)], 18),
    "outer": (lambda w, x: torch.outer(w, x), (3,), [(6,)], 18),
    "kron": (lambda w, x: torch.kron(w, x), (3, 6), [(2, 2)], 72),
    "einsum outer": (lambda w, x: torch.einsum("i,j->ij", w, x), (3,), [(6,)], 18),
    "einsum": (lambda w, x: torch.einsum("bi,io->bo", x, w), (6, 3), [(2, 6)], 36),
    "tensordot": (lambda w, x: torch.tensordot(x, w, 1), (6, 3), [(2, 6)], 36),
    "by hand": (lambda w, x: (x[:, :, None] * w).sum(1), (6, 3), [(1, 6)], 18),
    "by hand, batch": (lambda w, x: (x[:, :, None] * w).sum(1), (6, 3), [(2, 6)], 36),
    "addmv": (lambda w, x: torch.addmv(torch.zeros(3), w, x), (3, 6), [(6,)], 18),
    "addr": (lambda w, x: torch.addr(torch.zeros(3, 6), w, x), (3,), [(6,)], 18),
    "addmm_": (lambda w, x: torch.zeros(2, 3).addmm_(x, w), (6, 3), [(2, 6)], 36),
    "addbmm": (lambda w, x: torch.addbmm(torch.zeros(5, 3), x, w), (2, 6, 3), [(2, 5, 6)], 180),
    "baddbmm": (lambda w, x: torch.baddbmm(torch.zeros(2, 5, 3), x, w), (2, 6, 3), [(2, 5, 6)], 180),
    "baddbmm_": (lambda w, x: torch.zeros(2, 5, 3).baddbmm_(x, w), (2, 6, 3), [(2, 5, 6)], 180),
    "bilinear": (lambda w, x, y: F.bilinear(x, y, w), (3, 6, 4), [(2, 6), (2, 4)], 2 * 3 * 6 * 4 + 2 * 3 * 4),
    "cdist": (lambda w, x: torch.cdist(x, w), (9, 6), [(4, 6)], 216),
    "conv_tbc": (lambda w, x: torch.conv_tbc(x, w, torch.zeros(4)), (3, 6, 4), [(5, 2, 6)], 3 * 2 * 3 * 6 * 4),
    "conv_transpose1d": (
        lambda w, x: F.conv_transpose1d(x, w, stride=2, groups=2),
        (6, 2, 3),
        [(2, 6, 5)],
        2 * 5 * 6 * 2 * 3,
    ),
    "sparse": (lambda w, x: torch.sparse.mm(w.to_sparse(), x), (3, 6), [(6, 2)], 36),
    "deformable": (
        lambda w, x, offset: torchvision.ops.deform_conv2d(x, offset, w),
        (4, 6, 3, 3),
        [(2, 6, 5, 5), (2, 18, 3, 3)],
        2 * 9 * 4 * 6 * 9,
    ),
    "embedding_bag": (
        lambda w, x: F.embedding_bag(torch.zeros(4, 5, dtype=torch.long), w, per_sample_weights=x, mode="sum"),
        (9, 6),
        [(4, 5)],
        120,
    ),
    "attention": (lambda w, x: F.scaled_dot_product_attention(x @ w, x, x), (6, 6), [(1, 2, 5, 6)], 360 + 600),
    # entry by entry, looked up, normalized or moved: no products
    "scale": (lambda w, x: x * w, (6,), [(2, 6)], 0),
    "gate": (lambda w, x: x * torch.sigmoid(w), (5, 6), [(2, 5, 6)], 0),
    "position": (lambda w, x: x + w, (5, 6), [(2, 5, 6)], 0),
    "norm": (lambda w, x: F.layer_norm(x, (5, 6), w), (5, 6), [(2, 5, 6)], 0),
    "lookup": (lambda w, x: F.embedding(x.argmax(-1), w), (6, 3), [(2, 6)], 0),
    "tokens": (lambda w, x: torch.cat([w.expand(2, -1, -1), x], 1), (1, 5, 6), [(2, 5, 6)], 0),
    "bag of sums": (lambda w, x: F.embedding_bag(x.argsort(-1), w), (6, 3), [(2, 6)], 0),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_of_every_form_count_as_by_hand(name):
    function, weight, inputs, by_hand = PRODUCTS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # nothing is named as not counted
        warnings.filterwarnings("ignore", "Sparse")
        report = nes_lab.count(_Uses(function, *weight), tuple(torch.randn(*shape).abs() for shape in inputs))
    assert report.madds == by_hand and report.not_counted == ()


@torch.library.custom_op("nes_lab_tests::product", mutates_args=())
def _product(x: Tensor, w: Tensor) -> Tensor:
    return x.mm(w)


def _hidden(w: Tensor, x: Tensor) -> Tensor:
    return torch.from_numpy(x.numpy() @ w.detach().numpy())


@pytest.mark.parametrize(
    ("function", "reason"),
    [(_product, "nes_lab_tests.product has no formula"), (_hidden, "no operation of torch was seen to read weight")],
)
def test_a_module_whose_products_were_not_seen_is_named_and_no_madds_budget_holds(function, reason):
    use = _Uses(lambda w, x: function(x, w.bfloat16().float()) if function is _product else function(w, x), 16, 16)
    model, x = nn.Sequential(nn.Linear(16, 16), use), torch.randn(1, 16)
    with pytest.warns(UserWarning, match="count: not counted: madds of 1"):
        report = nes_lab.count(model, x)
    assert [(gap.name, gap.quantity, gap.reason) for gap in report.not_counted] == [("1", "madds", reason)]
    assert f"not counted: madds of 1 (_Uses): {reason}" in str(report) and reason in repr(report)
    assert CostReport.from_json(report.to_json()) == report
    with (
        pytest.warns(UserWarning, match="not counted"),
        pytest.raises(BudgetError, match=r"madds=0.9 cannot be checked.*1 \(_Uses\)"),
    ):
        nes_lab.plan_for_budget(model, Budget(madds="90%"), x)
    with pytest.warns(UserWarning, match="not counted"):
        plan = nes_lab.plan_for_budget(model, Budget(params="90%"), x)
    assert any(reason in note for note in plan.notes)


@pytest.mark.parametrize(
    ("function", "operation"),
    [
        (lambda w, x: torch.fft.irfft(torch.fft.rfft(x) * w), "_fft_r2c"),
        (lambda w, x: torch.fft.fft(w).real + x[:, :9], "_fft_r2c"),
        (lambda w, x: x[:, :9] @ torch.matrix_exp(w), "linalg_matrix_exp"),
        (lambda w, x: x[:, :9] @ torch.linalg.inv(w), "linalg_inv_ex"),
    ],
)
def test_operations_that_multiply_inside_are_named_where_a_weight_is_used(function, operation):
    model, x = nn.Sequential(nn.Linear(16, 16), _Uses(function, 9, 9)), torch.randn(9, 16)
    with pytest.warns(UserWarning, match="not counted: madds of 1"):
        gaps = nes_lab.count(model, x).not_counted
    assert [(gap.name, gap.reason) for gap in gaps] == [("1", f"aten.{operation} has no formula")]
    with pytest.warns(UserWarning, match="not counted"), pytest.raises(BudgetError, match="cannot be checked"):
        nes_lab.plan_for_budget(model, Budget(madds="90%"), x)
    spectrum = _Uses(lambda _, x: torch.fft.rfft(x).abs() / torch.linalg.vector_norm(x), 1)
    spectrum.weight = None  # a transform of the data, where no parameter is near
    assert not nes_lab.count(spectrum, x).not_counted


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_numbers_packed_by_torchs_quantization_are_named_and_no_budget_holds():
    net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.LSTM(16, 8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        packed = torch.ao.quantization.quantize_dynamic(net, {nn.Linear, nn.LSTM})
    x = torch.randn(4, 2, 6)
    with pytest.warns(UserWarning, match="packed by torch's quantization"):
        report = nes_lab.count(packed, x)
    assert [(gap.name, gap.quantity) for gap in report.not_counted] == [
        ("0", "params"),
        ("2", "params"),
        ("2", "madds"),
    ]
    assert report.madds == 4 * 2 * 6 * 16  # of the linear layer
    with (
        pytest.warns(UserWarning, match="not counted"),
        pytest.raises(BudgetError, match=r"not counted: params of 0 \(Linear\), 2 \(LSTM\)"),
    ):
        nes_lab.plan_for_budget(packed, Budget(params="50%"), x)
    mixed = nn.Sequential(packed[0], nn.Linear(16, 16))
    with (
        pytest.warns(UserWarning, match="not counted"),
        pytest.raises(BudgetError, match=r"params=0\.5 cannot be checked"),
    ):
        nes_lab.plan_for_budget(mixed, Budget(params="50%"), x)


@pytest.mark.parametrize("config", ["Int8WeightOnlyConfig", "Int8DynamicActivationInt8WeightConfig"])
def test_weights_quantized_by_torchao_are_counted_as_stored_and_stay_dense(config):
    torchao = pytest.importorskip("torchao.quantization")
    net, x = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32)), torch.randn(2, 64)
    madds = nes_lab.count(net, x).madds
    torchao.quantize_(net, getattr(torchao, config)())
    report = nes_lab.count(net, x)
    assert report.madds == madds and report.not_counted == ()
    # integers, a factor and a zero point per row in at most 8 bytes each, and the bias
    integers = 64 * 32 + 32 * 32
    assert integers + 2 * 32 * 4 + 2 * 32 * 4 <= report.stored_bytes <= integers + 2 * 32 * 16 + 2 * 32 * 4
    with pytest.raises(BudgetError, match="its weight is of class Int8Tensor, not a plain tensor; compress before"):
        nes_lab.plan_for_budget(net, Budget(params="50%"), x)
