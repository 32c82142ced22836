"""The Triton kernels: on the CPU through Triton's interpreter, and where there is a GPU the same cases on it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from nes_lab.epitome.slices import like_format
from nes_lab.errors import GeometryError

SOURCES = Path(__file__).resolve().parents[2] / "nes_lab" / "epitome"
NO_TRITON = "needs triton, which torch brings on Linux with CUDA only; without it the row operations run as torch code"
TOLERANCE = {torch.float64: 1e-13, torch.float32: 2e-6, torch.bfloat16: 8e-3, torch.float16: 1e-3}
DTYPES = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)


class Place(NamedTuple):
    kernels: ModuleType
    device: str


def interpreted(patch: pytest.MonkeyPatch) -> ModuleType:
    """A copy of the module whose kernels run on the CPU; what that changes in triton, ``patch`` undoes."""
    triton = pytest.importorskip("triton", reason=NO_TRITON)
    interpreter = importlib.import_module("triton.runtime.interpreter")
    patch.setenv("TRITON_INTERPRET", "1")
    for name in ("max", "sum"):  # compiled functions since triton was imported, perhaps without that variable
        patch.setattr(triton.language, name, triton.jit(getattr(triton.language, name).fn))
    original = interpreter._patch_lang_tensor

    def with_loop_bounds(
        tensor: type, scope: object
    ) -> None:  # older ones call int() on an array, which numpy now refuses
        original(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.reshape(())))

    patch.setattr(interpreter, "_patch_lang_tensor", with_loop_bounds)
    patch.setitem(sys.modules, "nes_lab.epitome.triton_kernels", _loaded("triton_kernels"))
    return _loaded("triton_rows")


def _loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"_interpreted_{name}", SOURCES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["interpreter", pytest.param("cuda", marks=pytest.mark.gpu)])
def place(request, monkeypatch):
    if request.param == "cuda":
        pytest.importorskip("triton", reason=NO_TRITON)
        return Place(importlib.import_module("nes_lab.epitome.triton_rows"), "cuda")
    return Place(interpreted(monkeypatch), "cpu")


def small_tiles(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of 512 elements, so that small tensors need several programs along each axis."""
    for name, value in {"TILE": 512, "ROW_LANES": 16, "POSITION_LANES": 32}.items():
        monkeypatch.setattr(place.kernels, name, value)


def sliced(*shape: int) -> Tensor:
    return torch.randn(*shape[:-2], 2 * shape[-2], 2 * shape[-1])[..., ::2, ::2]


CELLS = 11
LAYOUTS = {
    "images": (lambda: torch.randn(3, CELLS, 5, 3), 1),
    "images, aligned": (lambda: torch.randn(3, CELLS, 4, 8), 1),
    "channels_last": (lambda: torch.randn(3, CELLS, 5, 3).to(memory_format=torch.channels_last), 1),
    "tokens": (lambda: torch.randn(2, 9, CELLS), -1),
    "signals": (lambda: torch.randn(3, CELLS, 7), 1),
    "vector": (lambda: torch.randn(CELLS), 0),
    "weight, out": (lambda: torch.randn(CELLS, 4, 3, 3), 0),
    "weight, in": (lambda: torch.randn(4, CELLS, 3, 3), 1),
    "weight, in, channels_last": (lambda: torch.randn(4, CELLS, 3, 3).to(memory_format=torch.channels_last), 1),
    "sliced": (lambda: sliced(2, CELLS, 3, 5), 1),
    "sliced, channels_last": (lambda: sliced(2, CELLS, 3, 5).to(memory_format=torch.channels_last)[:, :, ::2], 1),
    "transposed": (lambda: torch.randn(CELLS, 13).T, 1),
    "permuted": (lambda: torch.randn(3, 2, 5, CELLS).permute(2, 3, 0, 1), 1),
    "expanded": (lambda: torch.randn(2, CELLS, 1, 1).expand(2, CELLS, 3, 4), 1),
}
ANY_LAYOUT = pytest.mark.parametrize("layout", LAYOUTS)


def tensor(layout: str, place: Place, dtype: torch.dtype = torch.float32) -> tuple[Tensor, int]:
    make, dim = LAYOUTS[layout]
    torch.manual_seed(len(layout))
    x = make()
    if layout == "expanded":  # .to would make it dense
        return x[:, :, :1, :1].to(place.device, dtype).expand(x.shape), dim
    return torch.empty_strided(x.shape, x.stride(), dtype=dtype, device=place.device).copy_(x), dim


def csr(counts: list[int], cells: int, device: str, shared: bool = True) -> tuple[Tensor, Tensor, Tensor | None]:
    """Random rows of so many entries each: ``index``, ``offsets``, ``share``."""
    index = torch.randint(cells, (sum(counts),), device=device)
    offsets = torch.tensor([0, *counts], device=device).cumsum(0)
    return index, offsets, torch.rand(sum(counts), device=device) if shared else None


def by_matrix(x: Tensor, dim: int, index: Tensor, offsets: Tensor, share: Tensor | None) -> Tensor:
    """The same with a dense matrix, in float64."""
    rows = torch.repeat_interleave(torch.arange(len(offsets) - 1, device=x.device), offsets.diff())
    matrix = torch.zeros(len(offsets) - 1, x.shape[dim], dtype=torch.float64, device=x.device)
    values = torch.ones(len(index), dtype=torch.float64, device=x.device) if share is None else share.double()
    matrix.index_put_((rows, index), values, accumulate=True)
    return torch.tensordot(matrix, x.double().movedim(dim, 0), 1).movedim(0, dim)


def assert_close(got: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    torch.testing.assert_close(got.double(), expected, rtol=TOLERANCE[dtype], atol=4 * TOLERANCE[dtype])


RAGGED = [3, 0, 1, 9, 2, 0, 0, 5, 1, 1, 4, 2, 0, 1, 3, 2, 6, 1, 0]


@ANY_LAYOUT
def test_combined_rows_are_a_matrix_product(place, monkeypatch, layout):
    small_tiles(place, monkeypatch)
    x, dim = tensor(layout, place)
    rows = csr(RAGGED, CELLS, place.device, shared=layout != "signals")
    out = place.kernels.combine_rows(x, dim, *rows)
    assert out.dtype == x.dtype
    assert out.stride() == like_format(x, dim % x.ndim, len(RAGGED)).stride()  # what compiled code is told
    assert_close(out, by_matrix(x, dim, *rows), x.dtype)
    empty = [r for r, count in enumerate(RAGGED) if count == 0]
    assert not out.movedim(dim, 0)[empty].any()


@DTYPES
@pytest.mark.parametrize("layout", ["images", "images, aligned", "channels_last"])
def test_combined_rows_in_every_dtype(place, layout, dtype):
    x, dim = tensor(layout, place, dtype)
    rows = csr(RAGGED, CELLS, place.device)
    out = place.kernels.combine_rows(x, dim, *rows)
    assert out.dtype == dtype
    assert_close(out, by_matrix(x, dim, *rows), dtype)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("per_row", [0, 1, 2, 3, 9])
def test_rows_alike_need_no_loop(place, monkeypatch, per_row, shared):
    small_tiles(place, monkeypatch)
    for layout in ("images", "tokens"):
        x, dim = tensor(layout, place)
        index, offsets, share = csr([per_row] * 19, CELLS, place.device, shared)
        out = place.kernels.combine_rows(x, dim, index, offsets, share, per_row=per_row)
        assert_close(out, by_matrix(x, dim, index, offsets, share), x.dtype)


def test_per_row_must_fit_the_entries(place):
    index, offsets, share = csr([2, 1], CELLS, place.device)
    with pytest.raises(GeometryError, match="per_row=2 for 2 rows and 3 entries"):
        place.kernels.combine_rows(torch.zeros(4, CELLS, device=place.device), 1, index, offsets, share, per_row=2)


@DTYPES
def test_a_row_of_one_whole_entry_is_a_copy(place, dtype):
    x, dim = tensor("channels_last", place, dtype)
    index, offsets, _ = csr([1] * 5, CELLS, place.device)
    assert torch.equal(place.kernels.combine_rows(x, dim, index, offsets, None, per_row=1), x.index_select(1, index))


def test_sums_of_short_floats_run_in_float32(place):
    x = torch.ones(300, 3, dtype=torch.bfloat16, device=place.device)  # in bfloat16, 256 + 1 is 256
    index, offsets = torch.arange(300, device=place.device), torch.tensor([0, 300], device=place.device)
    assert place.kernels.combine_rows(x, 0, index, offsets).tolist() == [[300.0] * 3]
    assert place.kernels.row_dots(x, x, 1, index[:2], index[:2]).tolist() == [300.0] * 2


@pytest.mark.parametrize("shape", [(2, 4, 3, 5), (2, 4, 1, 1), (2, 4, 1, 5), (0, 4, 3, 5)], ids=str)
def test_the_memory_format_is_kept(place, shape):
    index, offsets, share = csr([1, 2, 0], shape[1], place.device)
    for kept in (torch.contiguous_format, torch.channels_last):
        x = torch.zeros(shape, device=place.device).contiguous(memory_format=kept)
        out = place.kernels.combine_rows(x, 1, index, offsets, share)
        assert out.shape == (shape[0], 3, *shape[2:]) and out.is_contiguous(memory_format=kept)


def test_nothing_in_nothing_out(place):
    index, offsets, share = csr([1, 2], 4, place.device)
    none, zeros = index[:0], torch.zeros(2, 4, 3, device=place.device)
    combine_rows, row_dots = place.kernels.combine_rows, place.kernels.row_dots
    assert combine_rows(zeros[:0], 1, index, offsets, share).shape == (0, 2, 3)
    assert combine_rows(zeros, 1, none, offsets[:1]).shape == (2, 0, 3)
    assert torch.equal(combine_rows(zeros[:, :0], 1, none, offsets * 0), zeros[:, :2])
    assert row_dots(zeros[:0], zeros[:0], 1, index, index).tolist() == [0, 0, 0]
    assert row_dots(zeros, zeros, 1, none, none).shape == (0,)
    assert place.kernels.expand_weight(zeros[0], (none, None, None), None).shape == (0, 3)


@ANY_LAYOUT
def test_row_dots(place, monkeypatch, layout):
    small_tiles(place, monkeypatch)
    monkeypatch.setattr(place.kernels, "PROGRAMS", 6)  # so that there are splits, of several steps
    x, dim = tensor(layout, place)
    rows = csr(RAGGED, CELLS, place.device)
    y = place.kernels.combine_rows(x, dim, *rows)
    left = torch.repeat_interleave(torch.arange(len(RAGGED), device=x.device), rows[1].diff())
    products = y.double().movedim(dim, 0)[left] * x.double().movedim(dim, 0)[rows[0]]
    expected = products.reshape(len(left), -1).sum(1)
    for a in (y, y.contiguous()):  # of one memory format, and of two
        dots = place.kernels.row_dots(a, x, dim, left, rows[0])
        torch.testing.assert_close(dots.double(), expected, rtol=1e-5, atol=1e-4)
        assert dots.dtype == torch.float32


@DTYPES
@pytest.mark.parametrize("layout", ["images", "images, aligned", "channels_last"])
def test_row_dots_in_every_dtype(place, layout, dtype):
    x, dim = tensor(layout, place, dtype)
    left, right = torch.arange(CELLS, device=x.device), torch.arange(CELLS, device=x.device).flip(0)
    dots = place.kernels.row_dots(x, x, dim, left, right)
    assert dots.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    expected = (x.double() * x.double().flip(1)).sum((0, 2, 3))
    tolerance = 1e-13 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(dots.double(), expected, rtol=tolerance, atol=4 * tolerance)
    assert torch.equal(dots, place.kernels.row_dots(x, x, dim, left, right))


def test_row_dots_refuse_other_shapes(place):
    index = torch.arange(2, device=place.device)
    a = torch.zeros(3, 4, device=place.device)
    with pytest.raises(GeometryError, match=r"they may differ along dim=0 only"):
        place.kernels.row_dots(a, torch.zeros(3, 5, device=place.device), 0, index, index)


def test_positions_beyond_32_bits_are_numbered_alike(place, monkeypatch):
    monkeypatch.setattr(place.kernels, "WIDE_FROM", 0)
    small_tiles(place, monkeypatch)
    for layout in ("images", "channels_last"):
        x, dim = tensor(layout, place)
        rows = csr(RAGGED, CELLS, place.device)
        assert_close(place.kernels.combine_rows(x, dim, *rows), by_matrix(x, dim, *rows), x.dtype)
        index = torch.arange(CELLS, device=x.device)
        dots = place.kernels.row_dots(x, x, dim, index, index)
        torch.testing.assert_close(dots, (x * x).sum((0, 2, 3)), rtol=1e-5, atol=1e-5)


EPITOMES = {
    "conv": lambda: torch.randn(7, 5, 3, 3),
    "conv, channels_last": lambda: torch.randn(7, 5, 3, 3).to(memory_format=torch.channels_last),
    "pointwise": lambda: torch.randn(7, 5, 1, 1),
    "conv1d": lambda: torch.randn(7, 5, 4),
    "linear": lambda: torch.randn(7, 5),
    "transposed": lambda: torch.randn(5, 7).T,
    "permuted": lambda: torch.randn(3, 7, 5, 2).permute(1, 2, 0, 3),
    "sliced": lambda: sliced(7, 5, 3, 2),
}


def axis_rows(kind: str, cells: int, count: int, device: str) -> tuple[Tensor, Tensor | None, Tensor | None] | None:
    lower = torch.randint(cells, (count,), device=device)
    if kind == "identity":
        return None
    if kind == "integer":
        return lower, None, None
    share = torch.rand(count, device=device)
    share[:3] = torch.tensor([0.0, 1.0, 0.5])[:count]
    return lower, (lower + 1) % cells, share


def matrix(rows: tuple[Tensor, Tensor | None, Tensor | None] | None, cells: int, device: str) -> Tensor:
    eye = torch.eye(cells, dtype=torch.float64, device=device)
    if rows is None or rows[1] is None:
        return eye if rows is None else eye[rows[0]]
    return eye[rows[0]] * (1 - rows[2].double())[:, None] + eye[rows[1]] * rows[2].double()[:, None]


@pytest.mark.parametrize("in_kind", ["identity", "integer", "fractional"])
@pytest.mark.parametrize("out_kind", ["identity", "integer", "fractional"])
@pytest.mark.parametrize("epitome", EPITOMES)
def test_an_expanded_weight_is_the_product_of_three(place, monkeypatch, epitome, out_kind, in_kind):
    small_tiles(place, monkeypatch)
    made = EPITOMES[epitome]()
    e = torch.empty_strided(made.shape, made.stride(), device=place.device).copy_(made)
    out_rows, in_rows = axis_rows(out_kind, 7, 19, place.device), axis_rows(in_kind, 5, 11, place.device)
    weight = place.kernels.expand_weight(e, out_rows, in_rows)
    a_out, a_in = matrix(out_rows, 7, place.device), matrix(in_rows, 5, place.device)
    assert_close(weight, torch.einsum("oe,ef...,if->oi...", a_out, e.double(), a_in), e.dtype)
    kept = torch.channels_last if "channels_last" in epitome else torch.contiguous_format
    assert weight.is_contiguous(memory_format=kept)


@DTYPES
def test_an_expanded_weight_in_every_dtype(place, dtype):
    e = torch.randn(7, 5, 3, 3, device=place.device).to(dtype)
    out_rows, in_rows = axis_rows("fractional", 7, 19, place.device), axis_rows("fractional", 5, 11, place.device)
    weight = place.kernels.expand_weight(e, out_rows, in_rows)
    a_out, a_in = matrix(out_rows, 7, place.device), matrix(in_rows, 5, place.device)
    assert weight.dtype == dtype
    assert_close(weight, torch.einsum("oe,efhw,if->oihw", a_out, e.double(), a_in), dtype)
    whole = place.kernels.expand_weight(e, (*out_rows[:1], None, None), (*in_rows[:1], None, None))
    assert torch.equal(whole, e[out_rows[0]][:, in_rows[0]])


def test_shares_at_the_ends_and_equal_cells_are_exact(place):
    e = 1e3 * torch.randn(7, 5, 3, 3, device=place.device)
    lower, upper, share = axis_rows("fractional", 7, 19, place.device)
    ends = (share > 0.5).float()
    weight = place.kernels.expand_weight(e, (lower, upper, ends), None)
    assert torch.equal(weight, e[torch.where(ends == 1, upper, lower)])
    constant = torch.full_like(e, 0.1)
    in_rows = axis_rows("fractional", 5, 11, place.device)
    assert (place.kernels.expand_weight(constant, (lower, upper, share), in_rows) == constant[0, 0, 0, 0]).all()
    share[4] = torch.nan
    assert place.kernels.expand_weight(e, (lower, upper, share), None)[4].isnan().all()


def test_interpreting_leaves_triton_as_it_was():
    triton = pytest.importorskip("triton", reason=NO_TRITON)
    before = triton.language.sum, triton.language.max, type(triton.jit(by_matrix))
    with pytest.MonkeyPatch.context() as patch:
        kernels = interpreted(patch)
        rows = csr([2, 1], 3, "cpu")
        assert_close(
            kernels.combine_rows(torch.ones(2, 3), 1, *rows), by_matrix(torch.ones(2, 3), 1, *rows), torch.float32
        )
        assert type(kernels.combine_kernel) is not before[2]
    assert before == (triton.language.sum, triton.language.max, type(triton.jit(by_matrix)))


@pytest.mark.gpu
@DTYPES
@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("size", [56, 14, 7])
def test_layers_of_real_size(dtype, format, size):
    kernels = importlib.import_module("nes_lab.epitome.triton_rows")
    x = torch.randn(16, 256, size, size, device="cuda").to(dtype).to(memory_format=format)
    fold = csr([0, *([4] * 126), 12], 256, "cuda")
    assert_close(kernels.combine_rows(x, 1, *fold) / 4, by_matrix(x, 1, *fold) / 4, dtype)
    expansion = csr([2] * 1024, 256, "cuda")
    y = kernels.combine_rows(x, 1, *expansion, per_row=2)
    assert_close(y, by_matrix(x, 1, *expansion), dtype)
    left = torch.arange(2048, device="cuda") // 2
    dots = kernels.row_dots(y, x, 1, left, expansion[0])
    expected = torch.einsum("nrhw,nchw->rc", y.double(), x.double())[left, expansion[0]]
    scale = expected.abs().max()
    torch.testing.assert_close(dots.double() / scale, expected / scale, rtol=0, atol=1e-5)
    assert torch.equal(dots, kernels.row_dots(y, x, 1, left, expansion[0]))


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [(2**31 + 2**17, 2), (2, 2, 2**30 + 2**17), (2, 2**21 + 3, 1024)], ids=str)
def test_more_than_32_bits_of_elements(shape):
    if torch.cuda.mem_get_info()[0] < 40 * 2**30:
        pytest.skip("needs 40 GiB of free GPU memory")
    kernels = importlib.import_module("nes_lab.epitome.triton_rows")
    x = torch.randint(-8, 8, shape, dtype=torch.int8, device="cuda").to(torch.bfloat16)
    last = shape[1] - 1
    index, offsets = torch.tensor([last, 0], device="cuda"), torch.tensor([0, 2], device="cuda")
    out = kernels.combine_rows(x, 1, index, offsets)
    assert torch.equal(out.select(1, 0), x.select(1, 0) + x.select(1, last))
    dots = kernels.row_dots(x, out, 1, index, index * 0)
    expected = [
        torch.sum(x.select(1, c).float() * out.select(1, 0).float(), dtype=torch.float64) for c in index.tolist()
    ]
    torch.testing.assert_close(dots.double(), torch.stack(expected), rtol=1e-5, atol=0)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["integer", "fractional"])
def test_weights_of_real_size(kind):
    kernels = importlib.import_module("nes_lab.epitome.triton_rows")
    for shape, dtype in (((512, 512, 3, 3), torch.bfloat16), ((1024, 1024), torch.float32)):
        e = torch.randn(shape, device="cuda").to(dtype)
        out_rows, in_rows = axis_rows(kind, shape[0], 2048, "cuda"), axis_rows(kind, shape[1], 2100, "cuda")
        a_out, a_in = matrix(out_rows, shape[0], "cuda"), matrix(in_rows, shape[1], "cuda")
        expected = torch.einsum("oe,ef...,if->oi...", a_out, e.double(), a_in)
        assert_close(kernels.expand_weight(e, out_rows, in_rows), expected, dtype)
