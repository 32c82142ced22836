"""Words that a machine can check: docstrings, comments and messages avoid phrases that people stumble over.

The rest is for readers: benchmarks/docstring_sample.py draws docstrings, and the verdicts of a reader are committed.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.tree import ROOT, files

PHRASES = {  # pattern -> what to write instead
    r"\banew\b": "again",
    r"\blikewise\b": "the words themselves, once more",
    r"\bbut for\b": "except",
    r"\bhold true\b": "is true",
    r"\bbe it\b": "whether it is",
    r"\bwhole numbers?\b": "integer",
    r"\bat most so many\b": "at most this many",
    r"(?<!there )\b(?:is|are|was|were) no (?!longer\b|more\b|larger\b|smaller\b|less\b|worse\b"
    r"|faster\b|slower\b|different\b|way\b|need\b)[a-z]+": "is not a",
    r"\bhave come to\b|\bcame to be\b": "now have, became",
    r"\bof which\b": "a new sentence",
    r"\bsuch as (?:is|are|was|were|it)\b": "that is",
    r"\bas far as\b": "where",
    r"\btwin\b": "duplicate, or copy",
    r"\bthe news\b": "the event",
    r"\bat hand\b": "loaded, or available",
    r"\bfrom the outset\b|\bhitherto\b|\bthereof\b|\bwherein\b|\bthereby\b|\bhence\b|\bthus\b": "a plain word",
    r"\bput(?:s|ting)? right\b": "correct",
    r"\bcome to rest\b": "stop",
    r"\bbegun\b": "started",
    r"\bin vain\b": "without result",
    r"\bflops?\b": "multiply-adds",
}
SPELLING = {
    r"\b[a-z]*(?:colour|favour|behaviour|neighbour|honour)[a-z]*\b": "American -or",
    r"\b(?:normalis|organis|recognis|initialis|optimis|minimis|maximis|summaris|serialis|synchronis|quantis)[a-z]+": "American -ize",
    r"\b(?:centre|metre|licence|grey|cancelled by whom)\b": "American: center, license, gray",
}
ALLOWED = re.compile(r"FlopCounter\w*|flop_counter\w*|flop_registry\w*|get_total_flops|get_flop_counts|Gray|greyscale")
SHOWN = [
    path
    for path in files()
    if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in ("nes_lab", "app", "benchmarks")
]


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """Line, name and text of every docstring; attribute docstrings too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            text := ast.get_docstring(node)
        ):
            yield getattr(node, "lineno", 1), getattr(node, "name", ""), text


def strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every string with a blank in it: messages, help texts, docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
            yield node.lineno, node.value


def comments(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def without_examples(text: str) -> str:
    return re.sub(r"^\s*(>>>|\.\.\.).*$", "", text, flags=re.MULTILINE)


def stumbles(text: str, patterns: dict[str, str]) -> list[str]:
    """Phrases of a text that should go, each with what to write instead."""
    plain = ALLOWED.sub("", without_examples(text))
    found = ((re.search(pattern, plain, re.IGNORECASE), better) for pattern, better in patterns.items())
    return [f"{match[0]!r} (write: {better})" for match, better in found if match]


def prose_of(path: Path) -> Iterator[tuple[int, str]]:
    source = path.read_text(encoding="utf-8")
    yield from strings(ast.parse(source))
    yield from comments(source)


each_room = pytest.mark.parametrize(
    "room", sorted({path.parent for path in SHOWN}), ids=lambda path: path.relative_to(ROOT).as_posix()
)


def docstrings_in(room: Path) -> Iterator[tuple[str, str, str]]:
    """Place, name and text of every docstring in the files of a folder."""
    for path in SHOWN:
        if path.parent == room:
            for line, name, text in docstrings(ast.parse(path.read_text(encoding="utf-8"))):
                yield f"{path.relative_to(ROOT)}:{line} {name}", name, text


@each_room
def test_prose_has_no_phrase_that_people_stumble_over(room):
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {stumble}"
        for path in SHOWN
        if path.parent == room
        for line, text in prose_of(path)
        for stumble in stumbles(text, PHRASES | SPELLING)
    ]
    assert not wrong, "\n".join(wrong)


def opening(text: str) -> str:
    return text.strip().split("\n\n")[0].replace("\n", " ")


def wrong_opening(name: str, text: str) -> str:
    """Why a docstring opens badly; empty when it does not."""
    first = opening(text)
    if re.match(r"(What|How|Which|Who|Whether|Of)\b", first):
        return "begins with a relative word: say what it does (Return, Check, ...)"
    if not first.rstrip("`\"')").endswith((".", ":", "?", "!")) and ":" not in first:
        return "the first sentence has no end"
    return ""


@each_room
def test_docstrings_open_with_a_statement(room):
    wrong = [f"{place}: {why}" for place, name, text in docstrings_in(room) if (why := wrong_opening(name, text))]
    assert not wrong, "\n".join(wrong)


@each_room
def test_argument_lines_have_a_subject(room):
    no_subject = re.compile(r"^\s+[\w, *]+: (?:Of|Likewise|As)\b.*$", re.MULTILINE)
    wrong = [
        f"{place}: {match[0].strip()!r}"
        for place, _, text in docstrings_in(room)
        for match in no_subject.finditer(text)
    ]
    assert not wrong, "an Args line says what the value is:\n" + "\n".join(wrong)


def test_words_that_people_stumble_over_are_noticed():
    assert stumbles("Measure it anew.", PHRASES) and stumbles("the colour of it", SPELLING)
    assert not stumbles("a plain sentence; FlopCounterMode counts", PHRASES | SPELLING)
    assert wrong_opening("f", "What a layer's time depends on.") and not wrong_opening("f", "Return the time.")
