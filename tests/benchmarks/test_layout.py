"""Limits of the code: files and functions are short everywhere; the runner's files are in rooms."""

import ast
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from benchmarks.artifacts.source import origin_of, statements
from tests import ROOT

FILES = sorted((ROOT / "benchmarks").rglob("*.py"))
ALL = sorted(path for folder in ("benchmarks", "compat", "tests") for path in (ROOT / folder).rglob("*.py"))


def test_a_file_has_at_most_500_lines():
    sizes = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in ALL}
    assert {name: size for name, size in sizes.items() if size > 500} == {}
    assert len(sizes) > 200


def test_functions_have_at_most_60_lines_besides_their_docstring():
    long = {}
    for path in [*FILES, *(ROOT / "compat" / "live").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                docstring = (ast.get_docstring(node, clean=False) or "").splitlines()
                lines = (node.end_lineno or 0) - node.lineno + 1 - len(docstring)
                if lines > 60:
                    long[f"{path.relative_to(ROOT)}:{node.name}"] = lines
    assert long == {}


def test_functions_of_the_runner_have_at_most_6_parameters():
    sizes = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                given = node.args
                names = [a.arg for a in [*given.posonlyargs, *given.args, *given.kwonlyargs] if a.arg != "self"]
                names += [a.arg for a in (given.vararg, given.kwarg) if a]
                sizes[f"{path.relative_to(ROOT)}:{node.name}"] = len(names)
    assert {name: size for name, size in sizes.items() if size > 6} == {}
    assert len(sizes) > 200


def test_a_file_outside_the_rooms_is_a_command():
    doors = [path for path in FILES if path.parent.name == "benchmarks" and not path.name.startswith("__")]
    assert [path.name for path in doors if f"`python -m benchmarks.{path.stem}`" not in path.read_text()] == []


def test_no_two_public_classes_have_one_name():
    places: dict[str, list[str]] = {}
    for path in [*FILES, *(ROOT / "compat").rglob("*.py")]:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
    assert len(places) > 200


def imported(module: str, path: Path, modules: Mapping[str, Path]) -> set[str]:
    """Which of the modules a module imports at its top, those for types too."""
    found = set()
    for node in statements(ast.parse(path.read_text()).body, typing=True):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = origin_of(node, module)
            names = {f"{package}.{alias.name}" for alias in node.names}
            found |= names & modules.keys() or {package}
    return found & modules.keys() - {module}


def test_no_circle_of_imports():
    modules = {}
    for path in [*FILES, *(ROOT / "compat").rglob("*.py")]:
        parts = path.relative_to(ROOT).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph = {module: imported(module, path, modules) for module, path in modules.items()}
    assert sum(map(len, graph.values())) > 500
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))
