"""All of a training that is not in its networks' state dicts, as plain values, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
        "validated": trainer.validated,
        "last": dict(trainer.last),
        "best_top1": trainer.best_top1,
        "optimizer": trainer.optimizer.state_dict(),
        "scaler": trainer.engine.scaler_state(),
        "routing": trainer.routing.state_dict(),
        **own_state(trainer),
        "others": trainer.others,
    }


def match_structure(trainer: Trainer, state: dict[str, Any]) -> None:
    """Exchange a fresh trainer's modules as those of a saved one were, so that its weights can be loaded.

    Raises:
        CheckpointError: If the state is of another schema, or the trainer has gone farther.
    """
    if state.get("schema_version") != STATE_SCHEMA:
        raise CheckpointError(f"the state has schema_version={state.get('schema_version')!r}; want {STATE_SCHEMA}")
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
