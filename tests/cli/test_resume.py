"""``nes-lab resume``: what it prints and refuses."""

import json
import sys

from nes_lab.cli import main
from nes_lab.runs.store import RunStore
from nes_lab.runs.writer import RunWriter


def test_resume_and_train_print_json_after_an_interrupt(config, monkeypatch, capsys):
    import nes_lab.experiment.run_experiment

    def stop(store, run_id, on_progress=None, data=None):
        sys.stdout.write("something a library says")
        with RunWriter(store, run_id) as writer:
            writer.status("cancelled", step=3, total=9, reason="SIGINT received")

    monkeypatch.setattr(nes_lab.experiment.run_experiment, "run_experiment", stop)
    for words in (["train", config], ["resume", ""]):
        words[1] = words[1] or RunStore().list()[0].id
        assert main([*words, "--json"]) == 130
        assert json.loads(capsys.readouterr().out)["state"] == "cancelled"


def test_resume_refuses_an_active_run(capsys):
    store = RunStore()
    run_id = store.create({})
    with RunWriter(store, run_id) as writer:
        assert main(["resume", run_id]) == 2
        assert "is running" in capsys.readouterr().err
        writer.status("finished")
