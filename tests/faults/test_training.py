"""Numbers that leave the finite, and memory that runs out: the last good checkpoint stays, and the message helps."""

import pytest

from tests.faults.conftest import config, count_lost, saved

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("batch", [2, 6, 11])
def test_nan_stops_with_the_last_good_checkpoint(store, zygote, ends_exactly, tally, batch):
    """A batch of NaN pixels stands for whatever makes a loss NaN; gone the next time, the run ends exactly."""
    run_id = store.create(config())
    assert zygote.train(store, run_id, spoil={"batch": batch, "how": "nan"}) == 2
    info = store.get(run_id)
    assert info.state == "failed" and "nan" in info.reason.lower() and f"step {batch}" in info.reason
    before = saved(store, run_id)
    assert before[0] == (batch - 1) // 4 * 4
    tally(
        "a loss that is NaN",
        "fails; the message has the step, the learning rate and what to try; the last good checkpoint stays",
        resumed=1,
        identical=ends_exactly(store, run_id),
        lost=count_lost(store, run_id, before),
    )


@pytest.mark.parametrize("batch", [1, 7])
def test_out_of_memory_says_the_batch_to_try(store, zygote, ends_exactly, tally, batch):
    run_id = store.create(config())
    assert zygote.train(store, run_id, spoil={"batch": batch, "how": "memory"}) == 2
    info = store.get(run_id)
    assert info.state == "failed" and "data.batch_size=24; try 12" in info.reason
    before = saved(store, run_id)
    tally(
        "CUDA out of memory",
        "fails; the message names the batch size and a smaller one to try; can be resumed",
        resumed=1,
        identical=ends_exactly(store, run_id),
        lost=count_lost(store, run_id, before),
    )
