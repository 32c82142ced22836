"""Move a slider along an epitome of one axis, and see the patch that begins there and its gradient.

The position of the slider is the start of the patch: the position in the epitome, in cells, at which the patch begins.
"""

from __future__ import annotations

from typing import Any

import ipywidgets
import numpy as np
import plotly.graph_objects as go
import torch

from nes_lab.epitome.sampling import sample_patches
from nes_lab.epitome.taps import axis_taps
from nes_lab.errors import OptionError
from nes_lab.figures.patch_by_hand import PatchReading, patch_and_gradient
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.widgets.figure_view import FigureView, add_fallback

__all__ = ["StartExplorer", "read_patch"]


def read_patch(epitome: np.ndarray, start: float, length: int, name: str = "patch") -> PatchReading:
    """Read one patch from an epitome of one axis, with the derivative of each sample with respect to the position of the patch.

    Args:
        epitome: The values of the ``n`` cells of the epitome, ``(n,)``.
        start: Position in the epitome at which the patch begins, in cells, from 0 to ``n - length``; it may be a fraction.
        length: Number of samples in the patch.
        name: Name of the patch in figures.

    Returns:
        The start, the samples of the patch, and the derivatives.

    Raises:
        GeometryError: If the patch does not fit in the epitome.
        OptionError: If the start is below 0 or above ``n - length``, or if the epitome has more than one axis.

    Examples:
        >>> import nes_lab, numpy
        >>> reading = nes_lab.widgets.read_patch(numpy.array([0.0, 10.0, 30.0, 20.0]), start=0.5, length=2)
        >>> reading.patch.tolist(), reading.gradient.tolist()
        ([5.0, 20.0], [10.0, 20.0])
    """
    cells = torch.as_tensor(np.asarray(epitome), dtype=torch.float64)
    if cells.ndim != 1:
        raise OptionError(f"epitome has shape {tuple(cells.shape)}; give one axis, (n,)")
    geometry = EpitomeGeometry((length, 1), (max(1, cells.numel()), 1), patch_channels=(length, 1))
    limit = cells.numel() - length
    if not 0 <= start <= limit:
        raise OptionError(
            f"start={start} should be from 0 to {limit}, the number of cells minus the length of the patch"
        )

    def sample(where: torch.Tensor) -> torch.Tensor:
        taps = (axis_taps(where, geometry, 0, fractional=True), None)
        return sample_patches(cells[:, None], taps, geometry).flatten()

    where = torch.tensor([start], dtype=torch.float64)
    slopes = torch.as_tensor(torch.autograd.functional.jacobian(sample, where))[:, 0]
    if limit == 0:  # a patch as long as the epitome cannot move
        slopes = torch.zeros_like(slopes)
    return PatchReading(float(start), sample(where).numpy(), slopes.numpy(), name)


class StartExplorer(ipywidgets.VBox):
    """Notebook widget with a slider for the start of a patch, above a figure of the patch and its gradient.

    The start is the position in an epitome of one axis at which the patch begins, in cells. The gradient says how much each
    sample changes per cell when the start moves. The slider moves by mouse or by the arrow keys.

    Args:
        epitome: The values of the ``n`` cells of an epitome of one axis, ``(n,)``.
        length: Number of samples in the patch.
        start: Value of the slider at the beginning, in cells.
        step: Smallest movement of the slider, in cells.

    Raises:
        GeometryError: If the patch does not fit in the epitome.
        OptionError: If the start is below 0 or above ``n - length``.

    Examples:
        >>> import nes_lab, numpy
        >>> explorer = nes_lab.widgets.StartExplorer(numpy.array([0.0, 10.0, 30.0, 20.0]), length=2)
        >>> explorer.slider.value = 1.5
        >>> explorer.reading.patch.tolist()
        [20.0, 25.0]
    """

    def __init__(self, epitome: np.ndarray, length: int, start: float = 0.0, step: float = 0.05) -> None:
        self._epitome, self._length = np.asarray(epitome), length
        self._reading = read_patch(self._epitome, start, length)
        self.view = FigureView(self._draw())
        self.slider = ipywidgets.FloatSlider(
            value=start,
            min=0.0,
            max=float(self._epitome.size - length),
            step=step,
            description="start (cells)",
            readout_format=".2f",
            style={"description_width": "initial"},
            layout={"width": "auto", "max_width": "700px"},
        )
        super().__init__([self.slider, self.view])
        self.slider.observe(self._redraw, names="value")

    @property
    def reading(self) -> PatchReading:
        """Return the patch that begins at the slider's present value, and the gradient of the patch."""
        return self._reading

    @property
    def figure(self) -> go.Figure:
        """The figure that is shown now."""
        return self.view.figure

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """Return the widget for a notebook, and the figure as it is now where widgets cannot be shown."""
        text = f"StartExplorer: {self.view.spec['layout']['meta']['alt']}"
        still = patch_and_gradient(self._epitome, self._reading)
        return add_fallback(super()._repr_mimebundle_(**options), text=text, figure=still)

    def _redraw(self, change: dict[str, Any]) -> None:
        self._reading = read_patch(self._epitome, change["new"], self._length)
        self.view.figure = self._draw()

    def _draw(self) -> go.Figure:
        figure = patch_and_gradient(self._epitome, self._reading)
        figure.update_layout(title=None, margin_t=16)  # the slider says what the title would
        return figure
