"""Packages that import the names they offer on first use (PEP 562)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def on_first_use(package: str, places: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Build a package's `__getattr__` and `__dir__`.

    Args:
        package: its `__name__`.
        places: name -> the submodule that defines it, relative to the package; a submodule itself has its own name.

    Example:
        >>> find, _ = on_first_use("compat", {"Embeddings": "embeddings"})
        >>> find("Embeddings").__module__
        'compat.embeddings'
    """

    def find(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(f".{places[name]}", package)
        return module if places[name] == name else getattr(module, name)

    def names() -> list[str]:
        return sorted({*vars(import_module(package)), *places})

    return find, names
