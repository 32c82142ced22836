"""Show the explorer of the page Epitomes in a notebook: a layer's weight, the epitome that it is read from, and its starts, all linked.

Tests: tests/widgets/test_epitome_explorer.py
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anywidget
import traitlets
from torch import nn

from nes_lab.errors import OptionError, closest
from nes_lab.figures.explorer_data import explorer_data, explorer_js
from nes_lab.figures.inputs import HasSnapshot, history_of, largest_layers, snapshot_of
from nes_lab.figures.patches_on_epitome import patches_on_epitome
from nes_lab.geometry.layer_snapshot import LayerSnapshot, with_epitome
from nes_lab.nn.inspect import snapshot_layers
from nes_lab.runs.handle import RunHandle
from nes_lab.runs.same_layer import column_facts, gradient_note
from nes_lab.text import format_shape
from nes_lab.widgets.figure_view import add_fallback, picture_of, still_html

__all__ = ["EpitomeExplorer"]

Layers = Mapping[int, Mapping[str, LayerSnapshot]]
"""Training step -> copies of all layers, by name."""

_RENDER = """
export default {
  render({ model, el }) {
    const draw = () => mount(el, model.get("data"), {
      view: model.get("view"),
      onView: (view) => { model.set("view", view); model.save_changes(); },
    });
    draw();
    model.on("change:data change:view", draw);
    return () => model.off("change:data change:view", draw);
  },
};
"""


class EpitomeExplorer(anywidget.AnyWidget):
    """Notebook widget that links a layer's weight with the epitome that it is read from.

    Pointing at a patch (a block of the weight) shows where in the epitome it begins and writes the sum in words. A click on a cell of
    the epitome lists the patches that read it, in all layers that share the epitome. For a run, a row of pictures shows the training.
    The browser computes everything, so the widget still answers where no kernel runs. Where widgets cannot be shown, a picture shows
    the epitome and its patches.

    Args:
        source: An epitome layer, a network with epitome layers, a run, or a copy of a layer's epitome and starts.
        layer: Name of the layer in a network or run. None: the layer whose epitome has most cells.

    Attributes:
        data: What is drawn, as :func:`~nes_lab.figures.explorer_data.explorer_data` returns it.
        view: What the user has chosen: texts under the names ``step``, ``color``, ``kernel``, ``pin`` and ``cell``. What is as usual
            has no entry.

    Raises:
        OptionError: If ``source`` is something else, or has no epitome layer of this name.

    Examples:
        >>> import nes_lab
        >>> layer = nes_lab.EpitomeConv2d(16, 32, 3, epitome_shape=(16, 8, 3, 3))
        >>> explorer = nes_lab.widgets.EpitomeExplorer(layer)
        >>> explorer
        EpitomeExplorer: EpitomeConv2d, weight 32×16×3×3 from epitome 16×8×3×3, tiled
        >>> explorer.view = {"color": "reuse"}
    """

    _esm = explorer_js() + _RENDER
    data = traitlets.Dict().tag(sync=True)
    view = traitlets.Dict().tag(sync=True)

    def __init__(self, source: HasSnapshot | LayerSnapshot | nn.Module | RunHandle, layer: str | None = None) -> None:
        history, about, layers = _history(source, layer)
        self._last = with_epitome(history, max(history))[0]
        super().__init__(data=explorer_data(history, *about, layers=layers))

    def __repr__(self) -> str:
        shapes = [format_shape(self.data[name]) for name in ("weightShape", "epitomeShape")]
        steps = f", {len(self.data['steps'])} steps" if len(self.data["steps"]) > 1 else ""
        return f"EpitomeExplorer: {self.data['name']}, weight {shapes[0]} from epitome {shapes[1]}, {self.data['routing']}{steps}"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """Return the widget for a notebook, and where widgets cannot be shown a picture, which our site replaces by the explorer."""
        picture = picture_of(patches_on_epitome(self._last))
        still = still_html("explorer", self.data, repr(self), picture)
        return add_fallback(super()._repr_mimebundle_(**options), text=repr(self), html=still, picture=picture)


def _history(source: Any, layer: str | None) -> tuple[dict[int, LayerSnapshot], tuple[Any, ...], Layers]:
    """Return the snapshots of a layer by training step, what else is known about its run, and the snapshots of all layers."""
    if isinstance(source, RunHandle):
        layers: Layers = source.snapshots()
        pairs = history_of(layers, layer)
        if not pairs:
            raise OptionError(
                f"run {source.id} has no epitome layers: its network is dense, or training has not started"
            )
        info = source.info
        return dict(pairs), (info.label or info.id, column_facts(info), gradient_note(info)), layers
    if isinstance(source, nn.Module) and not hasattr(source, "snapshot"):
        copies = snapshot_layers(source)
        return {0: _layer_of(source, copies, layer)}, (), {0: copies}
    if layer is not None:
        raise OptionError(f"layer={layer!r} names a layer of a network or run, but source is a {type(source).__name__}")
    other: Any = source
    return {0: snapshot_of(other)}, (), {}


def _layer_of(network: nn.Module, layers: Mapping[str, LayerSnapshot], name: str | None) -> LayerSnapshot:
    if not layers:
        raise OptionError(f"source is a {type(network).__name__} without epitome layers; give a compressed network")
    chosen = name if name is not None else largest_layers(layers, most=1)[0]
    if chosen not in layers:
        raise OptionError(f"layer={chosen!r} is not an epitome layer of the network.{closest(chosen, layers)}")
    return layers[chosen]
