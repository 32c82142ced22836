"""What import-linter does not see: names and circles inside the library, the map of each room, where a file's tests are."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.tree import ROOT

LIBRARY = ROOT / "nes_lab"
MODULES = sorted(path for path in LIBRARY.rglob("*.py") if path.name != "__main__.py")
FILES = [path for path in MODULES if path.name != "__init__.py"]
ROOMS = sorted({path.parent for path in FILES} - {LIBRARY})

SAME_NAME = {  # functions that do the same thing, each for its own kind
    "run_command": "parses the words of its verb, makes one library call, prints",
    "main": "is the entry of a process",
    "combine_rows": "the same operation in torch and in Triton",
    "row_dots": "the same operation in torch and in Triton",
}


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


NAMES = {dotted(path) for path in MODULES}


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imports_of(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Every ``(module, name)`` that a file imports when it runs, inside functions too; name is empty for ``import module``."""
    for child in ast.iter_child_nodes(node):
        if is_type_checking(child):
            continue
        if isinstance(child, ast.ImportFrom) and child.module:
            yield from ((child.module, alias.name) for alias in child.names)
        elif isinstance(child, ast.Import):
            yield from ((alias.name, "") for alias in child.names)
        yield from imports_of(child)


def targets(path: Path) -> set[str]:
    """Modules of the library that a file imports."""
    found = set()
    for module, name in imports_of(tree_of(path)):
        full = f"{module}.{name}"
        found |= {full if full in NAMES else module} & NAMES
    return found - {dotted(path)}


def private_imports(path: Path) -> list[str]:
    own = dotted(path) if path.is_relative_to(LIBRARY) else ""
    return [
        f"{path.relative_to(ROOT)}: {module}.{name}"
        for module, name in imports_of(tree_of(path))
        if module.startswith("nes_lab") and re.match(r"_[a-z]", name) and module != own
    ]


def test_no_file_imports_a_private_name_of_another():
    users = [
        *MODULES,
        *(ROOT / "app").rglob("*.py"),
        *(ROOT / "benchmarks").rglob("*.py"),
        *(ROOT / "tests").rglob("*.py"),
    ]
    found = [line for path in users for line in private_imports(path)]
    assert not found, "give these a public name, or test them through their users:\n" + "\n".join(found)


def circles(graph: dict[str, set[str]]) -> list[str]:
    """One circle through each module that lies on one, shortest first."""
    found = []
    for start in graph:
        paths, seen = [[start]], set()
        while paths:
            path = paths.pop(0)
            for following in graph.get(path[-1], ()):
                if following == start:
                    found.append(" -> ".join([*path, start]))
                    paths = []
                    break
                if following not in seen:
                    seen.add(following)
                    paths.append([*path, following])
    return sorted(found, key=len)


def test_no_files_import_each_other_in_a_circle():
    found = circles({dotted(path): targets(path) for path in FILES})
    assert not found, "\n".join(found)


def test_a_circle_would_be_noticed():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})[0].count("->") == 3


def defined(tree: ast.Module) -> set[str]:
    """Names that a file defines at its top level."""
    names = set()
    for node in tree.body:
        for child in [node, *(node.body if isinstance(node, ast.If | ast.Try) else [])]:
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(child.name)
            elif isinstance(child, ast.Assign):
                names |= {
                    name.id for target in child.targets for name in ast.walk(target) if isinstance(name, ast.Name)
                }
            elif isinstance(child, ast.AnnAssign):
                names |= {name.id for name in ast.walk(child.target) if isinstance(name, ast.Name)}
    return names


def listed(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["__all__"]:
            return [element.value for element in getattr(node.value, "elts", []) if isinstance(element, ast.Constant)]
    return None


def public_functions(tree: ast.Module) -> set[str]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")}


@pytest.mark.parametrize("room", [LIBRARY, *ROOMS], ids=lambda room: room.name)
def test_all_lists_what_the_file_defines_and_nothing_else(room):
    wrong = []
    for path in room.glob("*.py"):
        tree = tree_of(path)
        names = listed(tree)
        if path.name in ("__init__.py", "__main__.py"):
            continue
        if names is None:
            wrong.append(f"{path.name} has no __all__")
            continue
        foreign, hidden = set(names) - defined(tree), public_functions(tree) - set(names)
        wrong += [f"{path.name} lists {sorted(foreign)}, which it does not define"] if foreign else []
        wrong += [f"{path.name} does not list {sorted(hidden)}"] if hidden else []
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: dotted(room / "__init__.py").removeprefix("nes_lab."))
def test_the_map_of_a_room_names_each_file(room):
    text = ast.get_docstring(tree_of(room / "__init__.py")) or ""
    missing = sorted(path.stem for path in room.glob("*.py") if path in FILES and f"``{path.stem}``" not in text)
    gone = sorted(
        name for name in re.findall(r"^[-* ]*``(\w+)``", text, re.MULTILINE) if not list(room.glob(f"{name}*"))
    )
    assert not missing and not gone, f"{room.name}/__init__.py: not named {missing}; named but not there {gone}"


def test_two_functions_share_a_name_only_if_they_do_the_same_thing():
    homes = defaultdict(set)  # a function with overloads has one home
    for path in FILES:
        for node in tree_of(path).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                homes[node.name].add(dotted(path))
    shared = {name: where for name, where in homes.items() if len(where) > 1 and name not in SAME_NAME}
    assert not shared, "\n".join(f"{name}: {', '.join(where)}" for name, where in sorted(shared.items()))


def test_each_file_has_tests_of_its_name_or_says_where_they_are():
    lost = []
    for path in FILES:
        relative = path.relative_to(LIBRARY)
        own = ROOT / "tests" / relative.parent / f"test_{relative.name}"
        line = re.search(r"^Tests: (.+)$", ast.get_docstring(tree_of(path)) or "", re.MULTILINE)
        named = re.findall(r"tests/[\w/]+(?:\.py)?", line[1]) if line else []
        there = bool(named) and all((ROOT / name).exists() for name in named)
        if not own.exists() and not there:
            lost.append(str(relative))
    assert not lost, f"no tests/ROOM/test_FILE.py, and no line `Tests: tests/...` in: {lost}"
