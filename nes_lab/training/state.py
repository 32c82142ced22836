"""All of a training that is not in its networks' state dicts, as plain values, and the way back."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from nes_lab.datasets.spec import DatasetSpec
from nes_lab.datasets.words import some
from nes_lab.errors import CheckpointError
from nes_lab.training import distributed
from nes_lab.training.checkpoint import load_optimizer

if TYPE_CHECKING:
    from nes_lab.training.loop import Trainer

__all__ = ["STATE_SCHEMA", "match_structure", "own_state", "restore", "state_of"]

STATE_SCHEMA = 1
_SAME = ("steps_per_epoch", "total", "seed")


def own_state(trainer: Trainer) -> dict[str, Any]:
    """Return what differs between the processes of one training: random generators and what is counted so far."""
    rng = trainer.rng if isinstance(trainer.rng, dict) else {"seed": trainer.rng}
    return {"rng": rng, "meter": trainer.progress.meter.state_dict()}


def state_of(trainer: Trainer) -> dict[str, Any]:
    """Return tensors, numbers, lists and dicts; with several processes, what each had when it was last saved."""
    return {
        "schema_version": STATE_SCHEMA,
        "step": trainer.step,
        "steps_per_epoch": trainer.steps_per_epoch,
        "total": trainer.total,
        "seed": trainer.seed,
        "processes": distributed.world_size(),
        "data": _outline(trainer.data),
        "validated": trainer.validated,
        "last": dict(trainer.last),
        "best_top1": trainer.best_top1,
        "optimizer": trainer.optimizer.state_dict(),
        "scaler": trainer.engine.scaler_state(),
        "routing": trainer.routing.state_dict(),
        **own_state(trainer),
        "others": trainer.others,
    }


def _outline(data: DatasetSpec) -> dict[str, Any]:
    """What must stay the same about data for a training to go on: which examples there are, and what they are called."""
    digest = hashlib.sha256()
    for split in (data.train, data.val):
        digest.update(split.labels.cpu().numpy().tobytes())
    numbers = {"training examples": len(data.train), "validation examples": len(data.val)}
    return {**numbers, "classes": list(data.classes), "labels": digest.hexdigest()}


def _check_data(data: DatasetSpec, saved: dict[str, Any]) -> None:
    """Refuse other data: its examples come in another order, and perhaps mean something else.

    Raises:
        CheckpointError: With what changed.
    """
    present = _outline(data)
    changed = [_change(name, saved.get(name), now) for name, now in present.items() if now != saved.get(name)]
    if changed:
        raise CheckpointError(
            f"the data is not what it was at the checkpoint ({'; '.join(changed)}); put it back, or begin a new run"
        )


def _change(name: str, before: object, now: object) -> str:
    """Say what was and what is; of long lists only what one of them has."""
    if isinstance(before, list) and isinstance(now, list):
        gone, new = ([word for word in one if word not in other] for one, other in ((before, now), (now, before)))
        return f"{name}: {some(gone) or 'none'}, now {some(new) or 'none'}"
    return f"{name}: {str(before)[:8]}, now {str(now)[:8]}"


def match_structure(trainer: Trainer, state: dict[str, Any]) -> None:
    """Exchange a fresh trainer's modules as those of a saved one were, so that its weights can be loaded.

    Raises:
        CheckpointError: If the state is of another schema or of other data, or the trainer has gone farther.
    """
    if state.get("schema_version") != STATE_SCHEMA:
        raise CheckpointError(f"the state has schema_version={state.get('schema_version')!r}; want {STATE_SCHEMA}")
    if isinstance(saved := state.get("data"), dict):  # absent from the checkpoints of older versions
        _check_data(trainer.data, saved)
    done = state.get("routing", {})
    if not isinstance(done, dict):
        raise CheckpointError(f"the state is incomplete or damaged: routing={done!r}")
    trainer.routing.restore(done, trainer.optimizer)


def restore(trainer: Trainer, state: dict[str, Any]) -> None:
    """Continue where a saved state was; the networks' weights are loaded apart.

    Raises:
        CheckpointError: If the state is of another schema, or of a run with other data, seed, length or processes.
    """
    match_structure(trainer, state)
    for name in _SAME:
        if state.get(name) != getattr(trainer, name):
            raise CheckpointError(f"the state is of a run with {name}={state.get(name)}, not {getattr(trainer, name)}")
    processes = state.get("processes", 1)
    if processes != distributed.world_size():
        raise CheckpointError(
            f"the state is of a run with processes={processes}, not {distributed.world_size()}; resume it with as many"
        )
    try:
        load_optimizer(trainer.optimizer, state["optimizer"])
        trainer.engine.load_scaler_state(state["scaler"])
        mine = state if distributed.is_main() else state["others"][distributed.rank() - 1]
        trainer.progress.meter.load_state_dict(mine["meter"])
        trainer.step, trainer.validated = int(state["step"]), int(state["validated"])
        trainer.last, trainer.best_top1 = dict(state["last"]), state["best_top1"]
        rng = mine["rng"]
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError) as error:
        raise CheckpointError(f"the state is incomplete or damaged: {error!r}") from error
    trainer.rng = rng.get("seed", rng)
