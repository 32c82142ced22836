"""Six real trainings here, and on a Ray cluster of two nodes that loses a training, a worker and a node."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from nes_lab.runs.info import RunInfo
from nes_lab.runs.store import RunStore
from nes_lab.sweeps.ray_executor import import_ray
from nes_lab.sweeps.sweep import run_sweep

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
INTERVAL, STEPS = 16, 48  # 256 images in batches of 16, three epochs, a checkpoint after each
TREE = {
    "name": "front",
    "base": {
        "data": {"limit": 256, "batch_size": 16},
        "compression": {"round_to": 2, "routing": "free"},
        "training": {"epochs": 3, "warmup_epochs": 0, "threads": 1, "log_every_steps": 1, "device": "cpu"},
    },
    "space": {
        "compression.madds": ["50%", "75%"],
        "seed": [0, 1, 2],
    },
}
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000, "node_ip_address": "127.0.0.1"}
IMPATIENT = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 8}


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    store = RunStore(tmp_path_factory.mktemp("calm") / "runs")
    return store, run_sweep(TREE, jobs=2, root=store.root)


@pytest.fixture(scope="module")
def cluster():
    ray = import_ray("")
    from ray.cluster_utils import Cluster

    look = ray._private.services.get_node

    def patient_look(*address):  # a node takes half a minute to come up on a busy machine, as long as Ray waits
        end = time.monotonic() + 120
        while True:
            try:
                return look(*address)
            except RuntimeError:
                if time.monotonic() > end:
                    raise

    ray._private.services.get_node = patient_look
    nodes = Cluster(True, head_node_args=NODE | {"include_dashboard": False, "_system_config": IMPATIENT})
    try:
        nodes.add_node(**NODE)
        yield nodes
    finally:
        ray._private.services.get_node = look
        nodes.shutdown()
        deadline = time.monotonic() + 20
        while (left := _ray_processes()) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not left


def _ray_processes():
    mine = psutil.Process().children(recursive=True)
    return [p.name() for p in mine if p.status() != "zombie" and p.name().startswith(("ray", "gcs_server"))]


class Trouble(threading.Thread):
    """Wait for a trial between its first checkpoint and its end, and do harm: thrice, to three trials."""

    def __init__(self, store, cluster):
        super().__init__(daemon=True)
        self.store, self.cluster, self.over = store, cluster, threading.Event()
        self.hit: dict[str, str] = {}
        self.survivors: list[int] = []
        self.is_short = False

    def run(self):
        for name, harm in (("training", self.kill_training), ("worker", self.kill_worker), ("node", self.remove_node)):
            while not self.over.is_set():
                victims = [info for info in self._midway() if harm(info)]
                if victims:
                    self.hit[name] = victims[0].id
                    break
                time.sleep(0.01)

    def _midway(self):
        for folder in self.store.root.glob("2*"):
            try:
                saved = json.loads((folder / "latest.json").read_text())["checkpoint"]["step"]
                status = json.loads((folder / "status.json").read_text())
            except (OSError, ValueError):
                continue
            busy = status["state"] == "running" and saved < STEPS and status["attempt"] == 1
            if busy and folder.name not in self.hit.values():
                yield RunInfo(folder.name, pid=status["pid"])
                return

    def kill_training(self, info):
        os.kill(info.pid, signal.SIGKILL)
        return True

    def kill_worker(self, info):
        child = psutil.Process(info.pid)
        os.kill(child.ppid(), signal.SIGKILL)
        self._expect_end(child)
        return True

    def remove_node(self, info):
        raylet = psutil.Process(psutil.Process(info.pid).ppid()).ppid()
        for node in list(self.cluster.worker_nodes):
            if not node.head and node.all_processes["raylet"][0].process.pid == raylet:
                child = psutil.Process(info.pid)
                self.cluster.remove_node(node, allow_graceful=False)
                self._expect_end(child)
                self.is_short = True
                return True
        return False

    def mend(self, *_):
        """Add a node for the one that was removed; Ray wants it done by the main thread."""
        if self.is_short:
            self.is_short = False
            self.cluster.add_node(**NODE)

    def _expect_end(self, child):
        try:
            child.wait(20)
        except psutil.TimeoutExpired:
            self.survivors.append(child.pid)


@pytest.fixture(scope="module")
def rough(tmp_path_factory, cluster):
    store = RunStore(tmp_path_factory.mktemp("rough") / "runs")
    trouble = Trouble(store, cluster)
    trouble.start()
    try:
        found = run_sweep(TREE, executor="ray", address=cluster.address, root=store.root, on_progress=trouble.mend)
    finally:
        trouble.over.set()
        trouble.join(60)
    return store, found, trouble


def numbers(trials):
    return {trial.label: {name: trial.numbers[name] for name in ("top1", "madds", "params")} for trial in trials}


def rows(store, run_id):
    kept = ("step", "split", "loss", "top1")
    return [{name: row.get(name) for name in kept} for row in store.metrics(run_id)]


def test_a_cluster_in_trouble_finds_what_this_machine_finds(calm, rough):
    (_, here), (_, there, trouble) = calm, rough
    assert set(trouble.hit) == {"training", "worker", "node"}
    assert len(here.trials) == 6 and not here.unfinished and not there.unfinished
    assert numbers(there.trials) == numbers(here.trials)
    assert there.front and there.front == here.front


@pytest.mark.parametrize("what", ["training", "worker", "node"])
def test_who_was_hit_repeats_at_most_one_interval_and_ends_bit_for_bit_alike(calm, rough, what):
    (here, found), (there, _, trouble) = calm, rough
    run_id = trouble.hit[what]
    info = there.get(run_id)
    twin = next(trial.run for trial in found.trials if here.get(trial.run).label == info.label)
    assert info.attempt == 2
    assert rows(there, run_id) == rows(here, twin)
    ends = [store.latest_checkpoint(name).weights.read_bytes() for store, name in ((there, run_id), (here, twin))]
    assert ends[0] == ends[1]
    lines = (there.path(run_id) / "metrics.jsonl").read_text().splitlines()
    steps = [row["step"] for row in map(json.loads, lines) if row["split"] == "train"]
    assert set(steps) == set(range(1, STEPS + 1))
    assert len(steps) - STEPS <= INTERVAL


def test_a_training_does_not_outlive_its_worker(rough):
    assert rough[2].survivors == []


def test_who_was_spared_was_trained_once(rough):
    store, _, trouble = rough
    assert {info.attempt for info in store.list() if info.id not in trouble.hit.values()} == {1}


def test_a_finished_sweep_is_not_trained_again_elsewhere(rough, cluster):
    store, found, _ = rough
    again = run_sweep(TREE, executor="ray", address=cluster.address, root=store.root)
    assert again == found


def test_sweep_command_on_a_cluster_saves_the_running_trials_at_sigterm(tmp_path, cluster, wait, monkeypatch):
    """Ray installs a handler of its own for SIGTERM, under which the process would end at once."""
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path))
    training = {**TREE["base"]["training"], "epochs": 500}
    base = TREE["base"] | {"training": training, "compression": None}
    tree = {"name": "long", "base": base, "space": {"seed": [0]}}
    (tmp_path / "sweep.yaml").write_text(json.dumps(tree))
    words = ["sweep", str(tmp_path / "sweep.yaml"), "--executor", "ray", "--address", cluster.address]
    process = subprocess.Popen(
        [sys.executable, "-m", "nes_lab.cli", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    store = RunStore(tmp_path / "runs")
    wait(lambda: process.poll() is not None or [info for info in store.list() if info.step > 2], 240)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    (info,) = store.list()
    assert info.state == "cancelled" and "continues from the last checkpoints" in out
    assert store.latest_checkpoint(info.id).step == info.step > 2
