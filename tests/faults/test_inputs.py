"""Hostile names, labels, cells and configurations: one message with the field's path, never a traceback."""

import contextlib
import math
import os
import subprocess
import sys

import pytest
import yaml

from nes_lab.cli import main
from nes_lab.config import knobs, load_config
from nes_lab.errors import NesLabError, OptionError, RunError
from nes_lab.runs.query import run_table
from nes_lab.runs.store import RunStore
from tests.faults.conftest import config

pytestmark = pytest.mark.slow
IDS = [
    "../../etc", "..", ".", "", "%2e%2e", "%2e%2e%2fetc", "a/b", "/etc/passwd", "a\0b", "A", "-a", "a" * 65, "a\n",
    " a", ".queue", "~", "$(id)", "`id`", "a;b", "é", "a\u202eb", "con:", "\\\\host\\share", "*", 3, None, b"a", ["a"],
]  # fmt: skip
ACTS = ("path", "get", "find", "find_id", "delete", "metrics", "events", "log_tail", "latest_checkpoint", "size")
LABELS = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</title><b>", "=1+1", "@SUM(A1)", "+1", "-1",
    "\t=1", "\x1b[2J\x1b]0;x\x07", "[red]x[/red]", "{{7*7}}", "'; DROP TABLE runs;--", "\u202egnp.exe", "x" * 400,
]  # fmt: skip


@pytest.fixture
def home(store, monkeypatch):
    monkeypatch.setenv("NES_LAB_HOME", str(store.root.parent))
    return store


def test_hostile_ids(store, tally, tmp_path):
    store.create({})
    before = sorted(os.listdir(tmp_path)), sorted(os.listdir(store.root))
    for name in IDS:
        for act in ACTS:
            with pytest.raises(RunError, match="is not a run id"):
                getattr(store, act)(name)
    assert (sorted(os.listdir(tmp_path)), sorted(os.listdir(store.root))) == before
    tally(
        "run ids like ../../etc, %2e%2e, NUL",
        "refused because they are not ids; nothing outside the root folder is changed",
        len(IDS),
    )


def test_links_lead_nowhere(store, tally, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "run.json").write_text("{}")
    store.root.mkdir()
    (store.root / "linked").symlink_to(outside)
    (store.root / "file").write_text("")
    for name in ("linked", "file"):
        for act in ACTS:
            with pytest.raises(RunError, match="a link or a file"):
                getattr(store, act)(name)
    run_id = store.create({})
    for inner in ("config.json", "status.json", "run.json", "metrics.jsonl", "log.txt", "checkpoints"):
        path = store.path(run_id) / inner
        if path.is_dir():
            continue
        path.unlink(missing_ok=True)
        path.symlink_to("/etc/passwd")
    assert [info.state for info in store.list()] == ["lost"]
    assert store.log_tail(run_id) == ""
    store.delete(run_id)
    assert (outside / "run.json").exists() and os.path.exists("/etc/passwd")
    tally("links in place of runs and of their files", "refused, never followed", injected=8)


def test_labels_and_cells(home, tally, capsys, zygote):
    run_id = home.create(config(), label=LABELS[0])
    assert zygote.train(home, run_id) == 0
    assert main(["report", run_id]) == 0
    page = (home.path(run_id) / "report.html").read_text()
    assert "<script>alert(1)" not in page and "&lt;script&gt;alert(1)" in page
    for label in LABELS[1:]:
        home.create({}, label=label)
    capsys.readouterr()
    for words in (["runs"], ["watch", "--once"]):
        assert main(words) == 0
        assert not {"\x1b", "\x07", "\u202e"} & set(capsys.readouterr().out)
    rows = run_table(home.list()).to_csv().splitlines()
    cells = [row.split(",")[1].strip('"') for row in rows[1:]]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t"))]
    tally("labels with HTML, terminal codes and formulas", "shown as text, in pages, terminals and CSV", len(LABELS))


WILD = ["-1", "0", "1e99", "nan", "-inf", "1e-99", "x", "", "null", "[]", "{}", "true", "9" * 400, "\0", "../../etc",
        "[[[[", "!!python/object/apply:os.system [id]", "2026-11-22", "0x10", "é" * 300]  # fmt: skip


def test_any_value_for_any_field_is_taken_or_named(tally):
    """Every field with every wild value: a config with finite numbers, or an error with the field's path."""
    refused, nameless = 0, []
    for path, value in ((knob.path, value) for knob in knobs() for value in WILD):
        try:
            found = load_config({"compression": {"madds": "75%"}}, {path: value}).to_dict()
        except OptionError as error:
            refused += 1
            if not all(part in str(error) for part in path.split(".")):  # a rule of two fields names both
                nameless.append((path, value, str(error)))
        else:
            assert not _infinite(found), (path, value)
    assert nameless == []
    assert refused > 500
    tally(
        "negative, huge, NaN and wrongly typed values for every field of a config",
        "accepted, or refused with the path of the field",
        refused,
    )


def _infinite(tree):
    if isinstance(tree, dict):
        return any(map(_infinite, tree.values()))
    return isinstance(tree, float) and not math.isfinite(tree)


def test_any_tree_is_a_config_or_an_option_error(tally):
    from hypothesis import given, settings
    from hypothesis import strategies as st

    leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    tree = st.recursive(leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner))
    sections = ["data", "backbone", "compression", "training", "seed", "label", "schema_version"]
    names = sorted({knob.path.rpartition(".")[2] for knob in knobs()})
    section = st.dictionaries(st.sampled_from(names) | st.text(max_size=5), tree, max_size=4)

    @settings(max_examples=80, deadline=None, derandomize=True, database=None)
    @given(st.dictionaries(st.sampled_from(sections) | st.text(max_size=5), section | tree, max_size=4))
    def check(config):
        with contextlib.suppress(OptionError):  # any other error is a defect
            load_config(config)

    check()
    tally("random configs", "accepted, or refused with a message", injected=80)


MISTAKES = [
    (["--training.lr", "-1"], "training.lr"),
    (["--training.lr", "nan"], "training.lr"),
    (["--training.epochs", "1e99"], "training.epochs"),
    (["--data.batch_size", "0"], "data.batch_size"),
    (["--training.epoch", "3"], "Did you mean 'epochs'"),
    (["--backbone.name", "small_mobilenet"], "small_mobilenetv2"),
    (["--compression.madds", "1%"], "least"),
    (["--compression.params", "3"], "least"),
    (["--compression.routing", "tilde"], "tiled"),
    (["--data.name", "digit"], "digits"),
    (["--training.device", "cuda:99"], "cuda:99"),
    (["--seed", "1.5"], "seed"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES)
def test_mistakes_of_a_config_exit_2_and_leave_no_run(home, tally, tmp_path, capsys, words, message):
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump({"data": {"limit": 64}, "compression": {"madds": "75%"}}))
    for more in ([], ["--detach"]):
        assert main(["train", str(path), *words, *more]) == 2
        err = capsys.readouterr().err
        assert message in err and "Traceback" not in err
    assert home.list() == []
    tally(
        "impossible budgets, unknown keys and wrong values on the command line",
        "exit status 2 and the path of the field; no run is created",
    )


@pytest.mark.parametrize(
    "content", [b"\0", b"a: [", b"- 1", b"a: &a [*a]", b"\xff\xfe", b"training: {epochs: !!python/name:os.system }"]
)
def test_files_that_are_no_config(home, tally, tmp_path, content):
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    words = [sys.executable, "-m", "nes_lab.cli", "train", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") <= 3 and "Traceback" not in done.stderr
    assert RunStore(home.root).list() == []
    tally(
        "files that are not YAML, or YAML that would execute something",
        "exit status 2 with one message; nothing is executed",
    )


def test_every_error_of_a_user_is_one_family():
    assert issubclass(OptionError, NesLabError) and issubclass(RunError, NesLabError)
