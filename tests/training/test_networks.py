"""The moving average of the weights."""

from __future__ import annotations

from tests.training.nets import tiny_net, trainer


def test_build_ema_without_warm_up_follows_slowly() -> None:
    slow, fast = trainer(ema_decay=0.999, ema_warmup=False), trainer(ema_decay=0.999)
    begin = tiny_net()[0].weight
    for tr in (slow, fast):
        tr.fit()
    moved = [float((tr.ema.module[0].weight - begin).abs().max().detach()) for tr in (slow, fast)]
    assert moved[0] < 0.5 * moved[1]
