"""Change what the user has written about a run: its label, its tags and its note.

Tests: tests/runs/test_annotate.py.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from nes_lab.errors import OptionError
from nes_lab.runs import layout, queue
from nes_lab.runs.files import write_json
from nes_lab.runs.info import read_run
from nes_lab.runs.store import RunStore

__all__ = ["LABEL_LENGTH", "MOST_TAGS", "NOTE_LENGTH", "TAG_LENGTH", "annotate"]

LABEL_LENGTH, TAG_LENGTH, NOTE_LENGTH = 200, 40, 2000
"""Largest number of characters of a label, a tag and a note."""
MOST_TAGS = 20


def annotate(
    store: RunStore,
    run_id: str,
    *,
    label: str | None = None,
    tags: Sequence[str] | None = None,
    note: str | None = None,
) -> None:
    """Change the label, the tags or the note of a run. Its id and its configuration stay the same. The run may be training.

    Args:
        store: The store of the run.
        run_id: Id of the run.
        label: The new label; any text of up to 200 characters. None: the label stays.
        tags: The new tags, up to 20 with up to 40 characters each. Spaces around a tag and repeated tags are removed. None: the
            tags stay.
        note: The new note, up to 2,000 characters. None: the note stays.

    Raises:
        OptionError: If a text is too long, or a tag is empty, or contains a comma, a line break or another control character.
        RunError: If there is no such run, or its files are damaged or cannot be written.

    Examples:
        >>> import tempfile
        >>> store = RunStore(tempfile.mkdtemp())
        >>> run_id = store.create({}, label="first")
        >>> annotate(store, run_id, tags=["paper", "night"], note="learning rate too high")
        >>> store.get(run_id).label, store.get(run_id).tags
        ('first', ('paper', 'night'))
    """
    changes: dict[str, object] = {}
    if label is not None:
        changes["label"] = _text("label", label, LABEL_LENGTH)
    if tags is not None:
        changes["tags"] = _tags(tags)
    if note is not None:
        changes["note"] = _text("note", note, NOTE_LENGTH)
    folder = store.path(run_id)
    if changes:
        # The training process never writes this file, so the lock of the run is not needed. The lock of the queue keeps two
        # changes at the same moment apart: each reads the file and replaces it in one step.
        with queue.hold_queue(store.root):
            write_json(folder / layout.RUN, read_run(folder) | changes)


def _text(name: str, value: object, most: int) -> str:
    if not isinstance(value, str):
        raise OptionError(f"{name}={value!r}; give a text")
    if len(value) > most:
        raise OptionError(f"{name} has {len(value):,} characters; give at most {most:,}")
    return value


def _tags(tags: object) -> list[str]:
    if isinstance(tags, str) or not isinstance(tags, Sequence):
        raise OptionError(f"tags={tags!r}; give a list of words, such as ['paper', 'night']")
    found = list(dict.fromkeys(_tag(tag) for tag in tags))
    if len(found) > MOST_TAGS:
        raise OptionError(f"tags has {len(found)} words; give at most {MOST_TAGS}")
    return found


def _tag(tag: object) -> str:
    word = _text("a tag", tag, TAG_LENGTH).strip()
    if not word:
        raise OptionError("a tag is empty; give words, such as 'paper'")
    wrong = next((letter for letter in word if letter == "," or unicodedata.category(letter) in ("Cc", "Cs")), None)
    if wrong is not None:
        raise OptionError(f"the tag {word!r} contains {wrong!r}; give a word without commas and control characters")
    return word
