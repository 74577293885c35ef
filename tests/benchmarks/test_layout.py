"""Limits of the code: files and functions are short everywhere; the runner's files are in rooms."""

import ast
from pathlib import Path

import pytest

from tests import ROOT

FILES = sorted((ROOT / "benchmarks").rglob("*.py"))
ALL = sorted(path for folder in ("benchmarks", "compat", "tests") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_has_at_most_500_lines(path: Path):
    assert len(path.read_text().splitlines()) <= 500


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


@pytest.mark.parametrize("path", [p for p in FILES if p.parent.name == "benchmarks"], ids=lambda path: path.stem)
def test_a_file_outside_the_rooms_is_a_command(path: Path):
    assert path.name in ("__init__.py", "__main__.py") or f"`python -m benchmarks.{path.stem}`" in path.read_text()
