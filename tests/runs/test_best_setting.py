"""The verdict about runs, in one call."""

from __future__ import annotations

import pytest

import nes_lab
from nes_lab.errors import OptionError
from nes_lab.runs.writer import RunWriter


def finished(store, routing, seed, top1, madds=10):
    run = store.create({"seed": seed, "compression": {"madds": madds, "routing": routing}}, group="front")
    with RunWriter(store, run) as writer:
        writer.summary(top1=top1, madds=madds, params=5)
        writer.status("finished", step=1, total=1)


def test_best_setting_takes_runs_and_rows_alike(store):
    for seed in range(3):
        finished(store, "free", seed, 90.0 + seed / 10)
        finished(store, "tiled", seed, 80.0 + seed / 10)
    store.create({"seed": 9}, group="front")  # it has no result yet
    answer = nes_lab.best_setting(nes_lab.list_runs(root=store.root), budget=20)
    assert answer.best is not None and (answer.best.method, answer.best.n) == ("free", 3)
    heading, best, _, compared = str(answer).splitlines()
    assert heading == "Best top-1 under 20 MAdds" and best == "free: 90.1 ± 0.1 %"
    assert compared.startswith("Better than tiled at 10 MAdds by 10.0 points")
    assert nes_lab.best_setting([run.info for run in nes_lab.list_runs(root=store.root)], budget=20) == answer


def test_best_setting_says_what_is_not_a_run():
    with pytest.raises(OptionError, match=r"runs has 'front' in it.*list_runs"):
        nes_lab.best_setting(["front"])
