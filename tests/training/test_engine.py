"""Steps through Accelerate, whose global state is restored."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from torch import nn

from nes_lab.training.engine import isolated_accelerate_state
from nes_lab.training.hooks import Hooks
from tests.training.nets import trainer
from tests.training.resuming import epitome_net


def test_engine_accumulates_parts_to_the_step_of_the_complete_batch() -> None:
    """Gradients are means of equal parts: only the order of float32 sums differs, 1e-5 of a weight after 8 steps."""
    nets = [nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    whole, parts = trainer(nets[0], batch_size=24), trainer(nets[1], batch_size=12, accumulate=2)
    assert whole.total == parts.total == 8
    assert whole.fit()
    assert parts.fit()
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert whole.last["top1"] == parts.last["top1"]


def test_isolated_accelerate_state_restores_the_callers_state() -> None:
    with isolated_accelerate_state():
        accelerator = Accelerator(cpu=True, mixed_precision="bf16", gradient_accumulation_steps=3)
        tr = trainer(accumulate=2, amp="off")
        tr.hooks = Hooks(epoch_end=lambda _: trainer(amp="bf16", epochs=1).fit())  # one training inside another
        assert tr.fit()
        assert (accelerator.mixed_precision, accelerator.gradient_accumulation_steps) == ("bf16", 3)
    assert PartialState._shared_state == AcceleratorState._shared_state == {}


@pytest.mark.slow
def test_engine_compiled_agrees_with_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the compiler's front end; its code generator needs a C++ compiler and minutes."""
    monkeypatch.setattr("nes_lab.training.engine.COMPILER", "aot_eager")
    plain, compiled = epitome_net("free"), epitome_net("free")
    plain[5].p = compiled[5].p = 0.0
    trainer(plain, epochs=1).fit()
    trainer(compiled, epochs=1, compile=True).fit()
    assert list(plain.state_dict()) == list(compiled.state_dict())
    for (name, a), b in zip(plain.state_dict().items(), compiled.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4, msg=name)  # fused arithmetic rounds elsewhere
