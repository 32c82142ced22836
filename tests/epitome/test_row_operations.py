"""Fold and expansion by slices and by row operations: the same as with the sampling matrix, whatever the layout."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from nes_lab.epitome import row_operations, sampling
from nes_lab.epitome.sampling import expand, fold, sampling_matrix
from nes_lab.epitome.slices import axis_slices
from nes_lab.epitome.taps import AxisTaps, axis_taps
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.nn.conv import EpitomeConv2d

LAYOUTS = {
    "conv2d": ((2, 0, 5, 4), 1),
    "channels_last": ((2, 0, 5, 4), 1),
    "conv1d": ((2, 0, 9), 1),
    "linear": ((3, 4, 0), 2),
    "weight_out": ((0, 3, 3, 3), 0),
    "weight_in": ((5, 0, 3, 3), 1),
    "pointwise": ((7, 0, 1, 1), 1),
    "grouped": ((2, 3, 0, 4, 4), 2),
    "one_row": ((0,), 0),
}


def _taps(kind: str, boundary: str = "clamp", dtype: torch.dtype = torch.float64) -> AxisTaps:
    """An axis of 11 entries over 7 cells: whole-axis tiles, patches of 3 off the integers, or single channels."""
    patch = {"tiled": 7, "single": 1}.get(kind, 3)
    g = EpitomeGeometry((11, 1), (7, 1), (patch, 1), boundary=boundary)
    draw = np.random.default_rng(3)
    if kind == "fractional":
        starts = torch.from_numpy(draw.uniform(0, 1, g.starts_shape(0)) * np.maximum(g.limits(0), 0.5)).to(dtype)
        return axis_taps(starts.requires_grad_(), g, 0, True)
    table = np.arange(g.patch_grid[0]) * 5 % (g.limits(0) + 1)
    if kind == "single":
        table = draw.permutation(11) % 7
    return axis_taps(torch.from_numpy(table), g, 0, False, axis_slices(table, g, 0))


def _tensor(layout: str, length: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, int]:
    shape, dim = LAYOUTS[layout]
    x = torch.randn(*[n or length for n in shape], generator=torch.Generator().manual_seed(length), dtype=torch.float64)
    x = x.to(dtype)
    return (x.contiguous(memory_format=torch.channels_last) if layout == "channels_last" else x), dim


def _along(matrix: torch.Tensor, x: torch.Tensor, dim: int) -> torch.Tensor:
    return torch.tensordot(matrix, x, ([1], [dim])).movedim(0, dim)


@pytest.mark.parametrize("boundary", ["clamp", "circular"])
@pytest.mark.parametrize("kind", ["tiled", "single", "patches", "fractional"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_fold_and_expand_are_products_with_the_sampling_matrix(layout, kind, boundary):
    taps = _taps(kind, boundary)
    matrix = sampling_matrix(taps).to(torch.float64)
    for grad in (True, False):  # inference takes other paths
        with torch.set_grad_enabled(grad):
            z, dim = _tensor(layout, 7)
            torch.testing.assert_close(expand(z, taps, dim), _along(matrix, z, dim), rtol=1e-12, atol=1e-13)
            x, dim = _tensor(layout, 11)
            torch.testing.assert_close(fold(x, taps, dim), _along(matrix.T, x, dim), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", ["tiled", "single", "patches", "fractional"])
def test_channels_last_is_kept(kind):
    taps = _taps(kind, dtype=torch.float32)
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            for operation, length in ((expand, 7), (fold, 11)):
                x, _ = _tensor("channels_last", length, torch.float32)
                assert operation(x, taps, 1).is_contiguous(memory_format=torch.channels_last)
                assert operation(x.contiguous(), taps, 1).is_contiguous()


@pytest.mark.parametrize("kind", ["tiled", "single", "fractional"])
@pytest.mark.parametrize("layout", ["conv2d", "channels_last", "linear"])
def test_scale_and_bias_come_after_the_reading(layout, kind):
    taps = _taps(kind)
    z, dim = _tensor(layout, 7)
    scale, bias = torch.linspace(-1, 2, 11).double(), torch.linspace(3, 4, 11).double()
    shape = [11 if d == dim else 1 for d in range(z.ndim)]
    expected = _along(sampling_matrix(taps).double(), z, dim)
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            for s, b in ((scale, bias), (None, bias), (scale, None)):
                wanted = expected if s is None else expected * s.view(shape)
                wanted = wanted if b is None else wanted + b.view(shape)
                torch.testing.assert_close(expand(z, taps, dim, s, b), wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("layout", ["conv2d", "linear"])
@pytest.mark.parametrize("kind", ["tiled", "single", "fractional"])
def test_first_and_second_derivatives(layout, kind):
    """Against numerical differences, float64; the row operations' own backward passes included."""
    shape, dim = (2, 0, 4, 3) if layout == "conv2d" else (2, 3, 0), 1 if layout == "conv2d" else 2
    starts = torch.tensor([0.3, 2.6, 1.45], dtype=torch.float64, requires_grad=True)
    g = EpitomeGeometry((5, 1), (4, 1), (2, 1))
    table = np.array([0, 2, 1])

    def taps() -> AxisTaps:
        if kind == "fractional":
            return axis_taps(torch.minimum(starts, torch.as_tensor(g.limits(0))), g, 0, True)
        if kind == "tiled":
            return axis_taps(torch.from_numpy(table), g, 0, False, axis_slices(table, g, 0))
        return axis_taps(torch.from_numpy(table), g, 0, False)

    for operation, length in ((expand, 4), (fold, 5)):
        x = torch.randn([n or length for n in shape], dtype=torch.float64, requires_grad=True)
        inputs = (x, starts) if kind == "fractional" else (x,)
        assert gradcheck(lambda x, *_, f=operation: f(x, taps(), dim), inputs)
        assert gradgradcheck(lambda x, *_, f=operation: f(x, taps(), dim).square(), inputs)


def test_plain_indexing_is_the_fallback_and_the_reference(monkeypatch):
    """Values and gradients of the row operations equal those of index operations; so a device without them loses nothing."""
    taps, results = _taps("fractional"), []
    frac_source = taps.frac
    for serve in (True, False):
        monkeypatch.setattr(sampling, "rows_supported", lambda *_, s=serve: s)
        x, dim = _tensor("conv2d", 11)
        x.requires_grad_()
        y = expand(fold(x, taps, dim).sin(), taps, dim)
        results.append((y, *torch.autograd.grad(y.cos().sum(), (x, frac_source), retain_graph=True)))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_sums_in_float32(dtype):
    """Four hundred readers of one cell: summed in half precision, the last additions would be lost."""
    taps = AxisTaps(torch.zeros(400, dtype=torch.int64), 1)
    x = torch.ones(1, 400, 16, dtype=dtype)
    assert fold(x, taps, 1).float().eq(400).all()


def test_cells_without_readers_and_empty_batches():
    taps = AxisTaps(torch.tensor([0, 2]), 4, torch.tensor([1, 3]), torch.tensor([0.0, 1.0]))
    folded = fold(torch.ones(1, 2, 9), taps, 1)
    assert folded[0, :, 0].tolist() == [1, 0, 0, 1]
    assert fold(torch.ones(0, 2, 9), taps, 1).shape == (0, 4, 9)
    x = torch.ones(0, 4, 9, requires_grad=True)
    expand(x, taps, 1).sum().backward()
    assert x.grad is not None and x.grad.shape == x.shape


def test_runs_join_neighbors_and_give_up_when_many():
    g = EpitomeGeometry((16, 1), (8, 1), (2, 1))
    assert axis_slices(np.array([0, 2, 4, 6, 0, 2, 4, 6]), g, 0) == ((0, 0, 8), (8, 0, 8))
    assert axis_slices(np.array([6, 0, 2, 4, 1, 1, 1, 1]), g, 0) == (
        (0, 6, 2),
        (2, 0, 6),
        *((b, 1, 2) for b in (8, 10, 12, 14)),
    )
    many = EpitomeGeometry((18, 1), (8, 1), (1, 1))
    assert axis_slices(np.arange(18)[::-1] % 8, many, 0) is None
    around = EpitomeGeometry((6, 1), (4, 1), (3, 1), boundary="circular")
    assert axis_slices(np.array([3, 1]), around, 0) == ((0, 3, 1), (1, 0, 2), (3, 1, 3))
    assert axis_slices(np.array([[0]]), EpitomeGeometry((4, 1), (4, 1), scope="joint"), 0) is None


@pytest.mark.parametrize("kind", ["tiled", "single", "fractional"])
def test_transforms_and_tracers_get_plain_operations(kind):
    """vmap and forward-mode derivatives know no custom backward; the result is the same."""
    taps = _taps(kind)
    taps = replace(taps, frac=None if taps.frac is None else taps.frac.detach())
    x, dim = _tensor("conv2d", 11)
    expected = fold(x, taps, dim)
    mapped = torch.vmap(lambda one: fold(one, taps, 0))(x)
    torch.testing.assert_close(mapped, expected)
    _, tangent = torch.func.jvp(lambda v: fold(v, taps, dim), (x,), (x,))
    torch.testing.assert_close(tangent, expected)
    traced = torch.jit.trace(lambda v: fold(v, taps, dim), x, check_trace=False)
    torch.testing.assert_close(traced(x), expected)


def test_row_dots_by_hand():
    a, b = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), torch.tensor([[[5.0, 6.0], [7.0, 8.0]]])
    left, right = torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1])
    assert row_operations.row_dots(a, b, 1, left, right).tolist() == [17, 39, 53]


class _Kernels:
    """Stands in for the Triton module on the CPU: dense products, and a record of what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def combine_rows(self, x, dim, index, offsets, share=None, per_row=None):
        self.asked.append("combine_rows")
        count = offsets.diff()
        assert per_row is None or (count == per_row).all()
        row = torch.repeat_interleave(torch.arange(len(count)), count)
        share = torch.ones(len(index)) if share is None else share
        matrix = torch.zeros(len(count), x.shape[dim], dtype=x.dtype).index_put_(
            (row, index), share.to(x.dtype), accumulate=True
        )
        return _along(matrix, x, dim)

    def row_dots(self, a, b, dim, left, right):
        self.asked.append("row_dots")
        return (a.movedim(dim, 0)[left] * b.movedim(dim, 0)[right]).flatten(1).sum(1)

    def expand_weight(self, epitome, *rows):
        self.asked.append("expand_weight")
        for axis, given in enumerate(rows):
            if given is not None:
                lower, upper, frac = given
                taps = AxisTaps(lower, epitome.shape[axis], upper, frac)
                epitome = _along(sampling_matrix(taps).to(epitome.dtype), epitome, axis)
        return epitome


@pytest.mark.parametrize("routing", ["tiled", "random", "free"])
def test_kernels_of_a_device_serve_layer_and_gradients(routing, monkeypatch):
    """What CUDA takes from Triton, with stand-ins: the same outputs and gradients, first and second, and all three asked."""
    layers, kernels = [], _Kernels()
    for used in (False, True):
        torch.manual_seed(0)
        options = {"epitome_shape": (6, 5, 3, 3), "patch_channels": (3, 2), "routing": routing, "dtype": torch.float64}
        layer = EpitomeConv2d(8, 10, 3, **options)
        with torch.no_grad():
            for _, table in layer.routing.tables():
                if table.is_floating_point():
                    table.add_(0.4)
        x = torch.randn(2, 8, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
        found = []
        with monkeypatch.context() as patch:
            if used:
                patch.setattr(row_operations, "kernels_for", lambda tensor: kernels)
                patch.setattr(sampling, "kernels_for", lambda tensor: kernels)
            for name in ("materialize", "factored", "wrapped"):
                layer.execution = name
                first = torch.autograd.grad(layer(x).sin().sum(), (x, *layer.parameters()), create_graph=True)
                found += [*first, *torch.autograd.grad(sum(g.square().sum() for g in first), layer.epitome)]
        layers.append(found)
    for a, b in zip(*layers, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    assert "expand_weight" in kernels.asked
    assert routing == "tiled" or "combine_rows" in kernels.asked
    assert routing != "free" or "row_dots" in kernels.asked
