"""A fake clock for tuning: tests say how long each execution takes."""

from __future__ import annotations

import sys

import nes_lab


class FakeClock:
    """Stands for ``time_rounds``: scripted times per layer, scripted ratios of the whole networks."""

    def __init__(self, layers: list[dict[str, float]], ratios: list[float | list[float]]) -> None:
        self.layers, self.ratios, self.runs = list(layers), list(ratios), 0

    def __call__(self, contenders, device, seconds, **options):
        for call in contenders.values():
            call()
        if "tuned" in contenders:
            ratio = self.ratios.pop(0)
            ratios = ratio if isinstance(ratio, list) else [ratio] * 11
            return {"materialize": [1.0] * len(ratios), "tuned": ratios}
        self.runs += 1
        times = self.layers.pop(0)
        assert next(iter(contenders)) == "materialize"  # what time_rounds compares the others with
        return {name: [times.get(name, 9.0)] * 7 for name in contenders}


def script_times(monkeypatch, layers, ratios) -> FakeClock:
    """Let tuning measure these times: of each layer by execution, then of the complete networks as ratios."""
    fake = FakeClock(layers, ratios)
    monkeypatch.setattr(sys.modules[nes_lab.tune.__module__], "time_rounds", fake)
    return fake
