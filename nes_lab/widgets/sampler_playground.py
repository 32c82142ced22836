"""Drag the start of a patch over a small epitome in a notebook, and see the weight, the taps, the gradient and the multiply-adds.

Tests: tests/widgets/test_sampler_playground.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets

from nes_lab.epitome.sampling import sample_patches
from nes_lab.epitome.taps import axis_taps
from nes_lab.errors import OptionError
from nes_lab.figures.explorer_data import static_js
from nes_lab.figures.patches_on_epitome import patches_on_epitome
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.geometry.layer_snapshot import LayerSnapshot
from nes_lab.widgets.figure_view import add_fallback, picture_of, still_html

__all__ = ["SamplerPlayground"]

_RENDER = """
export default {
  render({ model, el }) {
    const tell = ({ starts, patch }) => {
      model.set("starts", starts.map((each) => [...each]));
      model.set("patch", [...patch]);
      model.save_changes();
    };
    const draw = () => mount(el, { ...model.get("data"), starts: model.get("starts"), patch: model.get("patch") }, { onChange: tell });
    requestAnimationFrame(draw);
    model.on("change:data change:starts change:patch", draw);
    return () => model.off("change:data change:starts change:patch", draw);
  },
};
"""
_PATCH = 4
_TOY = np.array(
    [
        [0.9, 0.6, 0.1, -0.3, -0.6, -0.4],
        [0.5, 0.8, 0.5, 0.0, -0.4, -0.8],
        [0.0, 0.3, 0.9, 0.6, 0.1, -0.5],
        [-0.5, -0.2, 0.3, 1.0, 0.7, 0.2],
        [-0.9, -0.6, -0.2, 0.4, 0.8, 0.6],
        [-0.4, -0.9, -0.5, -0.1, 0.5, 0.9],
    ]
)


class SamplerPlayground(anywidget.AnyWidget):
    """Notebook widget with a small epitome and a weight that is read from it. Drag the window of a patch, or use the arrow keys.

    The weight consists of patches of 4 by 4 numbers. Patches in one row of the weight share a row start, patches in one column share
    a column start, as in a layer with ``scope="separable"``. The widget shows what each position reads, how the patch changes
    when its start moves, and how many multiply-adds a linear layer with this weight takes. The browser computes everything.

    Args:
        epitome: Numbers of the epitome, at least 4 by 4, at most 16 by 16. None: a made-up one of 6 by 6.
        row_starts: Where the patches of each row of the weight begin, in cells.
        column_starts: Where the patches of each column of the weight begin, in cells.

    Attributes:
        starts: Row starts and column starts, as the user has moved them.
        patch: Row and column of the chosen patch in the weight.

    Raises:
        OptionError: If the epitome has another shape, or a start lies outside.

    Examples:
        >>> import nes_lab
        >>> playground = nes_lab.widgets.SamplerPlayground()
        >>> playground
        SamplerPlayground: weight 12×8 from epitome 6×6, 96 multiply-adds dense, 76 with the epitome
        >>> playground.starts = [[0, 1, 2], [0, 2]]
        >>> playground.madds["total"], playground.weight.shape
        (36, (12, 8))
    """

    _esm = static_js("sampling", "numbers", "colors", "playground") + _RENDER
    data = traitlets.Dict().tag(sync=True)
    starts = traitlets.List().tag(sync=True)
    patch = traitlets.List([0, 0]).tag(sync=True)

    def __init__(
        self,
        epitome: np.ndarray | None = None,
        row_starts: Sequence[float] = (0.0, 1.3, 2.0),
        column_starts: Sequence[float] = (0.6, 2.0),
    ) -> None:
        cells = np.asarray(_TOY if epitome is None else epitome, dtype=np.float64)
        if cells.ndim != 2 or not all(_PATCH <= size <= 16 for size in cells.shape) or not np.isfinite(cells).all():
            raise OptionError(f"epitome has shape {cells.shape}; give finite numbers, from 4 by 4 to 16 by 16")
        self._cells = cells
        starts = [[float(start) for start in each] for each in (row_starts, column_starts)]
        shape = [_PATCH * len(each) for each in starts]
        data = {"epitomeShape": list(cells.shape), "weightShape": shape, "patchShape": [_PATCH, _PATCH]}
        self._check(starts)
        super().__init__(data=data | {"epitome": cells.ravel().tolist()}, starts=starts)

    @property
    def weight(self) -> np.ndarray:
        """The weight that is read now."""
        shape = tuple(self.data["weightShape"])
        geometry = EpitomeGeometry(shape, self._cells.shape, patch_channels=(_PATCH, _PATCH))
        starts = [torch.tensor(each, dtype=torch.float64) for each in self.starts]
        taps = tuple(axis_taps(each, geometry, axis, fractional=True) for axis, each in enumerate(starts))
        return sample_patches(torch.as_tensor(self._cells), taps, geometry).numpy()

    @property
    def madds(self) -> dict[str, int]:
        """Multiply-adds of one input: ``dense``, and with the epitome ``cells``, ``rows``, ``columns`` and their ``total``.

        ``cells`` multiplies each cell once. ``rows`` and ``columns`` blend outputs and inputs where starts are fractions.
        """
        out, into = self.data["weightShape"]
        fractional = [any(start % 1 for start in each) for each in self.starts]
        parts = {"cells": self._cells.size, "rows": 2 * out * fractional[0], "columns": 2 * into * fractional[1]}
        return {"dense": out * into, **parts, "total": sum(parts.values())}

    def __repr__(self) -> str:
        (out, into), (rows, columns) = self.data["weightShape"], self._cells.shape
        madds = self.madds
        return (
            f"SamplerPlayground: weight {out}×{into} from epitome {rows}×{columns}, {madds['dense']} multiply-adds dense, "
            f"{madds['total']} with the epitome"
        )

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """Return the widget for a notebook, and where widgets cannot be shown a picture, which our site replaces by the widget."""
        picture = picture_of(patches_on_epitome(self._snapshot()))
        still = still_html("playground", {**self.data, "starts": self.starts, "patch": self.patch}, repr(self), picture)
        return add_fallback(super()._repr_mimebundle_(**options), text=repr(self), html=still, picture=picture)

    def _snapshot(self) -> LayerSnapshot:
        """Return the epitome and the starts as they are now."""
        shape = tuple(self.data["weightShape"])
        starts = tuple(np.array(each, dtype=np.float32) for each in self.starts)
        cells, patch = self._cells.astype(np.float32), (_PATCH, _PATCH)
        return LayerSnapshot("the playground", cells, starts, shape, self._cells.shape, patch, routing="free")

    def _check(self, starts: Sequence[Sequence[float]]) -> None:
        for name, each, cells in zip(("row_starts", "column_starts"), starts, self._cells.shape, strict=True):
            limit = cells - _PATCH
            if not 1 <= len(each) <= 6 or not all(0 <= start <= limit for start in each):
                raise OptionError(f"{name}={list(each)}; give one to six numbers from 0 to {limit}")
