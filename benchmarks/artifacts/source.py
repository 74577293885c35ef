"""Read a class's code, arguments and attributes from its source, without importing it.

This makes a plan fast: importing torch alone takes longer than reading every file of a benchmark.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from compat.errors import InputError

PROJECT = ("compat", "benchmarks")
STANDARD = Path(sysconfig.get_paths()["stdlib"])


class Definition(NamedTuple):
    """The definition of a class or function."""

    module: str
    node: ast.ClassDef | ast.FunctionDef


@cache
def file_of(module: str) -> Path | None:
    """Find a module's source file without importing it; None if it has none."""
    top, *parts = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or (spec.origin is not None and not spec.origin.endswith(".py")):
        return None
    path = Path(spec.origin or Path(next(iter(spec.submodule_search_locations or ["."])), "__init__.py"))
    for part in parts:
        if path.name != "__init__.py":
            return None
        file, folder = path.parent / f"{part}.py", path.parent / part
        path = file if file.is_file() and not (folder / "__init__.py").is_file() else folder / "__init__.py"
    return path if path.is_file() else None


def is_own(module: str) -> bool:
    """Whether a module is this project's or the user's, not an installed package's or Python's."""
    if module.split(".")[0] in PROJECT:
        return True
    file = file_of(module)
    if file is None or {"site-packages", "dist-packages"} & set(file.parts):
        return False
    return STANDARD not in file.parents


@cache
def tree_of(file: Path) -> ast.Module:
    """Parse a file.

    Raises:
        InputError: the file is no Python.
    """
    try:
        return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise InputError(f"class_path: {file} ({error}), expected Python") from error


def statements(body: list[ast.stmt], typing: bool = False) -> Iterator[ast.stmt]:
    """Yield a module's statements, those under `if` and `try` too; those for type checkers only if asked for."""
    for node in body:
        yield node
        if isinstance(node, ast.If) and (typing or "TYPE_CHECKING" not in ast.unparse(node.test)):
            yield from statements([*node.body, *node.orelse], typing)
        elif isinstance(node, ast.Try):
            handled = (statement for handler in node.handlers for statement in handler.body)
            yield from statements([*node.body, *handled, *node.orelse, *node.finalbody], typing)


def origin_of(node: ast.ImportFrom, module: str) -> str:
    """Return the absolute name of the module in `from ... import`."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    file = file_of(module)
    package = parts if file is not None and file.name == "__init__.py" else parts[:-1]
    return ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])


@cache
def find(path: str) -> Definition | None:
    """Find the definition of a class_path's class or function, through re-exports; None if the source does not tell.

    A package's lazy imports are declared to type checkers.
    """
    module, _, name = path.rpartition(".")
    file = file_of(module) if module else None
    if file is None:
        return None
    everything = []
    for node in statements(tree_of(file).body, typing=True):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name:
            return Definition(module, node)
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return find(f"{origin_of(node, module)}.{alias.name}")
                if alias.name == "*":
                    everything.append(origin_of(node, module))
    return next((found for other in everything if (found := find(f"{other}.{name}"))), None)


def docstring(path: str) -> str:
    """Read the docstring of a class or function; empty if there is none."""
    found = find(path)
    return (found and ast.get_docstring(found.node)) or ""


def lineage(path: str) -> list[Definition]:
    """Return a class and its bases, depth first, as far as their source is known."""
    found = find(path)
    if found is None:
        return []
    chain = [found]
    for base in found.node.bases if isinstance(found.node, ast.ClassDef) else ():
        name = ast.unparse(base).split("[")[0]
        chain += lineage(f"{found.module}.{name}") if "." not in name else lineage(_dotted(found.module, name))
    return chain


def _dotted(module: str, name: str) -> str:
    """Resolve a dotted name such as `pl.LightningModule` by its module's imports."""
    first, _, rest = name.partition(".")
    file = file_of(module)
    for node in statements(tree_of(file).body) if file else ():
        if isinstance(node, ast.Import):
            for alias in node.names:
                if (alias.asname or alias.name) == first:
                    return f"{alias.name}.{rest}"
        if isinstance(node, ast.ImportFrom) and any((a.asname or a.name) == first for a in node.names):
            return f"{origin_of(node, module)}.{name}"
    return name


def declared(path: str, name: str, default: Any) -> Any:
    """Return a class attribute's literal, from the class or the first base with one.

    Raises:
        InputError: it is no literal.
    """
    for definition in lineage(path):
        for node in definition.node.body:
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            value = getattr(node, "value", None)
            if isinstance(target, ast.Name) and target.id == name and isinstance(value, ast.expr):
                try:
                    return ast.literal_eval(value)
                except ValueError as error:
                    found = f"{name}: {ast.unparse(value)} in {path}"
                    raise InputError(f"{found}, expected a literal, as a plan reads it from the source") from error
    return default


def arguments(path: str) -> list[str] | None:
    """List the argument names of a constructor or function; None if its source leaves them open.

    `**options` handed on by the constructor are those of the base classes.
    """
    names: list[str] = []
    for taken, skipped in signatures(path):
        names += [a.arg for a in (*taken.posonlyargs, *taken.args)][skipped:]
        names += [a.arg for a in taken.kwonlyargs]
        if taken.kwarg is None:
            return names
    return None


def signatures(path: str) -> Iterator[tuple[ast.arguments, int]]:
    """Yield a function's signature, or a class's constructor and its bases', with the number of implicit arguments."""
    for definition in lineage(path):
        if isinstance(definition.node, ast.FunctionDef):
            yield definition.node.args, 0
            continue
        for node in definition.node.body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                yield node.args, 1


def default_of(path: str, name: str) -> Any:
    """Return an argument's default literal; None if there is none."""
    for taken, _ in signatures(path):
        positional = [*taken.posonlyargs, *taken.args]
        last = positional[len(positional) - len(taken.defaults) :]
        pairs = [*zip(last, taken.defaults, strict=True), *zip(taken.kwonlyargs, taken.kw_defaults, strict=True)]
        for argument, value in pairs:
            if argument.arg == name:
                return value.value if isinstance(value, ast.Constant) else None
    return None


@cache
def imports(module: str) -> frozenset[str]:
    """Return the project modules used by a module's code; names are followed to their definitions."""
    file, found = file_of(module), set()
    if file is None:
        return frozenset()
    top = [node for node in statements(tree_of(file).body) if not isinstance(node, (ast.If, ast.Try))]
    for node in (inner for statement in top for inner in ast.walk(statement)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = origin_of(node, module)
            for alias in node.names if is_own(origin) else ():
                inside, defined = f"{origin}.{alias.name}", find(f"{origin}.{alias.name}")
                found.add(inside if file_of(inside) else defined.module if defined else origin)
    return frozenset(name for name in found if name != module and is_own(name) and file_of(name))


@cache
def digest(module: str) -> str:
    """Digest a module's code: its syntax tree without docstrings, comments and layout."""
    file = file_of(module)
    assert file is not None
    tree = ast.parse(file.read_bytes())
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in [node for node in ast.walk(tree) if isinstance(node, kinds)]:
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:16]


@cache
def code_of(module: str, inert: frozenset[str] = frozenset()) -> dict[str, str]:
    """Digest a module and all project modules used by its code, except those in `inert`."""
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found and name not in inert:
            found[name] = digest(name)
            waiting += imports(name)
    return dict(sorted(found.items()))


@cache
def version_of(package: str) -> str | None:
    """Return `name==version` of the installed package of a top-level module; None for Python's own."""
    if package in sys.stdlib_module_names:
        return None
    for name in (package.replace("_", "-"), f"{package}-cpu"):
        try:
            return f"{name}=={importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    for name in importlib.metadata.packages_distributions().get(package, []):  # slow: reads all installed packages
        return f"{name}=={importlib.metadata.version(name)}"
    return None
