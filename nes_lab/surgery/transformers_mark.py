"""Mark compressed networks of Hugging Face's transformers, so that its own ``save_pretrained`` saves what it can load again.

Without the mark, it writes a folder that its ``from_pretrained`` loads as a dense network with new weights.

Tests: tests/export/test_hugging_face.py
"""

from __future__ import annotations

import sys
from types import SimpleNamespace

from nes_lab.nn.copy_network import Model
from nes_lab.nn.layer import EpitomeLayer

__all__ = ["METHOD", "mark_for_transformers_"]

METHOD = "nes_lab"
"""Name of the quantization method in the registry of transformers."""

_REFUSED = "NES Lab epitomes (this version of transformers cannot load them; use nes_lab.save_pretrained)"


def mark_for_transformers_(model: Model) -> Model:
    """Mark each network of transformers within a model if it has epitome layers, and remove the mark if it has none.

    The mark is the attribute ``hf_quantizer``. ``save_pretrained`` of transformers asks it what to save. If epitomes could not be
    registered, because transformers is too old, the mark makes ``save_pretrained`` refuse.

    Args:
        model: Any module; attributes of networks of transformers are changed.

    Returns:
        ``model``.

    Examples:
        >>> mark_for_transformers_(nn.Linear(2, 3))
        Linear(in_features=2, out_features=3, bias=True)
    """
    modeling = sys.modules.get("transformers.modeling_utils")
    if modeling is None:
        return model
    for network in model.modules():
        if isinstance(network, modeling.PreTrainedModel):
            if any(isinstance(module, EpitomeLayer) for module in network.modules()):
                network.hf_quantizer = _quantizer()  # type: ignore[assignment]
            elif _is_ours(getattr(network, "hf_quantizer", None)):
                del network.hf_quantizer
                vars(network.config).pop("quantization_config", None)
    return model


def _is_ours(quantizer: object) -> bool:
    method = getattr(getattr(quantizer, "quantization_config", None), "quant_method", None)
    return method in (METHOD, _REFUSED)


def _quantizer() -> object:
    registry = sys.modules.get("transformers.quantizers.auto")
    make = getattr(registry, "AUTO_QUANTIZER_MAPPING", {}).get(METHOD)
    if make is None:
        return SimpleNamespace(quantization_config=SimpleNamespace(quant_method=_REFUSED))
    return make(registry.AUTO_QUANTIZATION_CONFIG_MAPPING[METHOD](), pre_quantized=True)  # type: ignore[union-attr]
