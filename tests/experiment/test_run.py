"""``nes_lab.Run``: one object from the first look at a run to the exported file."""

from __future__ import annotations

import pytest
import torch

import nes_lab
from nes_lab.errors import OptionError, RunError

CONFIG = {
    "label": "a <b>",
    "data": {"limit": 64, "batch_size": 16},
    "compression": {"params": "60%", "round_to": 2},
    "training": {"epochs": 2, "threads": 1, "warmup_epochs": 0, "ema_decay": 0.5},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nes_lab.Run:
    return nes_lab.train(CONFIG, group="g", root=tmp_path_factory.mktemp("runs"), progress=False)


def test_run_knows_its_config_plan_and_results(run) -> None:
    assert run.config.training.epochs == 2
    assert run.plan is not None and run.plan.predicted.params == run.summary["params"]
    assert list(run.snapshots()) == run.snapshot_steps() == [0, 4, 8]
    html = run._repr_html_()
    assert "a &lt;b&gt;" in html and "<b>" not in html.replace("<b>a &lt;b&gt;</b>", "") and "finished" in html


def test_run_gives_its_networks(run) -> None:
    images = torch.randn(2, 1, 8, 8)
    last, averaged = run.network(), run.network("averaged")
    assert last.nes_lab_plan == run.plan and not last.training
    assert not torch.equal(last(images), averaged(images))
    with pytest.raises(OptionError, match="which='newest' is not known"):
        run.network("newest")


def test_run_exports_and_reports(run, tmp_path) -> None:
    images = torch.randn(1, 1, 8, 8)
    folder = run.export(tmp_path / "net", which="averaged")
    assert torch.equal(nes_lab.from_pretrained(folder)(images), run.network("averaged")(images))
    report = run.export(tmp_path / "net.pt2")
    assert report.path == str(tmp_path / "net.pt2")
    with pytest.raises(OptionError, match=r"net.onx.* the ending .onx means is not known"):
        run.export(tmp_path / "net.onx")
    with pytest.raises(OptionError, match="folder"):
        run.export(tmp_path / "net", format="onx")
    page = run.report(tmp_path / "run.html")
    assert page == tmp_path / "run.html" and "a &lt;b&gt;" in page.read_text()


def test_run_is_found_by_id_folder_group_and_state(run) -> None:
    root = run.folder.parent
    assert nes_lab.open_run(run.id[-6:], root=root) == run == nes_lab.open_run(run.folder)
    assert nes_lab.list_runs(group="g", state="finished", root=root) == [run]
    assert nes_lab.list_runs(group="other", root=root) == nes_lab.list_runs(limit=0, root=root) == []
    with pytest.raises(OptionError, match="'finished'"):
        nes_lab.list_runs(state="finish")
    with pytest.raises(RunError, match="there is no run"):
        nes_lab.open_run("nothing", root=root)
    with pytest.raises(OptionError, match="name=4; give the id"):
        nes_lab.open_run(4, root=root)


def test_run_that_is_finished_cannot_be_resumed(run) -> None:
    with pytest.raises(RunError, match="is finished"):
        run.resume()
    assert run.state == "finished"
