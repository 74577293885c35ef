"""What can be known of a class from its source, without importing it: its code, its arguments, what it declares.

So a plan is made in a moment: importing torch alone takes longer than reading every file that a benchmark depends on.
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
    """Where a class or function is defined."""

    module: str
    node: ast.ClassDef | ast.FunctionDef


@cache
def file_of(module: str) -> Path | None:
    """The source file of a module, found without importing it; None if it has none."""
    top, *parts = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    path = Path(spec.origin)
    for part in parts:
        if path.name != "__init__.py":
            return None
        package, file = path.parent / part / "__init__.py", path.parent / f"{part}.py"
        path = package if package.is_file() else file
        if not path.is_file():
            return None
    return path


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
    """A file's syntax tree.

    Raises:
        InputError: the file is no Python.
    """
    try:
        return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise InputError(f"class_path: {file} ({error}), expected Python") from error


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, those under `if` and `try` too, without what is for type checkers."""
    for node in body:
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            yield from statements([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from statements([*node.body, *(s for handler in node.handlers for s in handler.body), *node.orelse])


def origin_of(node: ast.ImportFrom, module: str) -> str:
    """The absolute name of the module that `from ... import` names."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    file = file_of(module)
    package = parts if file is not None and file.name == "__init__.py" else parts[:-1]
    return ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])


@cache
def find(path: str) -> Definition | None:
    """Where the class or function of a class_path is defined, through re-exports; None if its source does not say."""
    module, _, name = path.rpartition(".")
    file = file_of(module) if module else None
    if file is None:
        return None
    everything = []
    for node in statements(tree_of(file).body):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name:
            return Definition(module, node)
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return find(f"{origin_of(node, module)}.{alias.name}")
                if alias.name == "*":
                    everything.append(origin_of(node, module))
    return next((found for other in everything if (found := find(f"{other}.{name}"))), None)


def lineage(path: str) -> list[Definition]:
    """A class and its bases, depth first, as far as their source says."""
    found = find(path)
    if found is None:
        return []
    chain = [found]
    for base in found.node.bases if isinstance(found.node, ast.ClassDef) else ():
        name = ast.unparse(base).split("[")[0]
        chain += lineage(f"{found.module}.{name}") if "." not in name else lineage(_dotted(found.module, name))
    return chain


def _dotted(module: str, name: str) -> str:
    """`pl.LightningModule` as its module's imports have it."""
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
    """The literal that a class, or the first of its bases that does, gives an attribute."""
    for definition in lineage(path):
        for node in definition.node.body:
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            value = getattr(node, "value", None)
            if isinstance(target, ast.Name) and target.id == name and isinstance(value, ast.expr):
                return ast.literal_eval(value)
    return default


def arguments(path: str) -> list[str] | None:
    """The names of the arguments that a constructor or function takes; None if its source does not say all.

    `**options` that the constructor hands on are those of the base classes.
    """
    names: list[str] = []
    for definition in lineage(path):
        node: ast.AST | None = definition.node
        if isinstance(node, ast.ClassDef):
            node = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
            if node is None:
                continue
            skipped = 1
        else:
            skipped = 0
        assert isinstance(node, ast.FunctionDef)
        names += [a.arg for a in (*node.args.posonlyargs, *node.args.args)][skipped:]
        names += [a.arg for a in node.args.kwonlyargs]
        if node.args.kwarg is None:
            return names
    return None


@cache
def imports(module: str) -> frozenset[str]:
    """The own modules whose code a module's code uses: a name is followed to where it is defined."""
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
    """Digest of a module's code: its syntax tree without docstrings; comments and layout are not in it."""
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
    """Digests of a module and of all own modules that its code uses, but for those that are `inert`."""
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
    """`name==version` of the installed package that a top-level module belongs to; None for Python's own."""
    if package in sys.stdlib_module_names:
        return None
    for name in (package.replace("_", "-"), f"{package}-cpu"):
        try:
            return f"{name}=={importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    for name in importlib.metadata.packages_distributions().get(package, []):  # slow: reads all that is installed
        return f"{name}=={importlib.metadata.version(name)}"
    return None
