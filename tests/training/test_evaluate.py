"""Loss and accuracy on a split."""

from __future__ import annotations

import pytest

from nes_lab.training.evaluate import evaluate
from tests.training.nets import tiny_data, tiny_net


def test_evaluate_restores_modes_and_does_not_depend_on_the_batch_size() -> None:
    net, data = tiny_net(), tiny_data()
    net.train()
    net[1].eval()
    whole, parts = evaluate(net, data.val, batch_size=360), evaluate(net, data.val, batch_size=50)
    assert [net[0].training, net[1].training] == [True, False]
    assert whole["top1"] == parts["top1"]
    assert whole["loss"] == pytest.approx(parts["loss"], rel=1e-6)  # float32 means of other batches
