"""A class and its arguments, not yet built: its config as JSON."""

from __future__ import annotations

import json
import re
from argparse import ArgumentError
from pathlib import Path
from typing import Any

from benchmarks.artifacts import source
from compat.errors import InputError, closest
from compat.importing import ANYTHING, reason

UNDER = ("based_on", "onto")  # keys of a method that name another one
KEYS = ("class_path", "init_args", "dict_kwargs", *UNDER)
DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


class Spec:
    """The config of an object: class_path, init_args and dict_kwargs. Specs with the same content are equal.

    Args:
        content: the mapping; keys beside the three are taken for init_args.
    """

    def __init__(self, content: dict[str, Any]) -> None:
        if not isinstance(content, dict) or not content:
            raise ValueError(f"{json.dumps(content)}, expected class_path and init_args")
        self.text = json.dumps(canonical(content), sort_keys=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spec) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Spec({self.text})"

    @property
    def content(self) -> dict[str, Any]:
        """The mapping."""
        return json.loads(self.text)

    @property
    def class_path(self) -> str:
        """Import path of the class or function."""
        return self.content["class_path"]

    @property
    def init_args(self) -> dict[str, Any]:
        """Its arguments."""
        return self.content.get("init_args", {})

    @property
    def based_on(self) -> Spec | None:
        """The base method, whose model this one is trained on, if it is not the plain new model."""
        return Spec(self.content["based_on"]) if self.content.get("based_on") else None

    @property
    def onto(self) -> Spec | None:
        """The method between whose served spaces this one maps, if they are not the plain models' spaces."""
        return Spec(self.content["onto"]) if self.content.get("onto") else None

    @property
    def alone(self) -> Spec:
        """The method without those it names."""
        return Spec({key: value for key, value in self.content.items() if key not in UNDER})

    @property
    def chain(self) -> dict[str, Spec]:
        """Return this method and all that it names, at any depth, by their place in its config: "", ".onto", ..."""
        found = {"": self}
        for key in UNDER:
            if under := self.content.get(key):
                found |= {f".{key}{place}": spec for place, spec in Spec(under).chain.items()}
        return found

    def without(self, names: tuple[str, ...]) -> Spec:
        """Return a copy without some of the arguments, also of the classes among its arguments."""
        return Spec(_without(self.content, names))

    def having(self, **arguments: Any) -> Spec:
        """Return a copy with some more arguments."""
        return self.replace(init_args={**self.init_args, **arguments})

    def replace(self, **parts: Any) -> Spec:
        """Return a copy with other parts."""
        return Spec({**self.content, **parts})

    def declared(self, name: str, default: Any = None) -> Any:
        """Read a literal class attribute from the source."""
        return source.declared(self.class_path, name, default)

    def needs(self) -> tuple[str, ...]:
        """Return the class's declared inputs, with these arguments."""
        needs = tuple(self.declared("needs", ()))
        for name, need in self.declared("needs_with", {}).items():
            if self.init_args.get(name, source.default_of(self.class_path, name)):
                needs += (need,)
        return needs

    def class_paths(self) -> list[str]:
        """Return its own class path and all in its arguments, with class_path or plainly."""
        return sorted(set(_class_paths(self.content)))

    def files(self) -> list[str]:
        """Return the files named in its arguments."""
        return sorted({text for text in _strings(self.content) if _is_file(text)})

    def check(self, field: str) -> None:
        """Check that the class exists and takes these arguments, without importing anything.

        Raises:
            InputError: no such module or class, or an unknown argument.
        """
        _check(field, self.content)

    def build(self, kind: Any) -> Any:
        """Instantiate it by jsonargparse, which checks every type.

        Args:
            kind: the declared type.

        Raises:
            InputError: the constructor refuses its arguments.
        """
        from jsonargparse import ArgumentParser

        one = ArgumentParser(exit_on_error=False)
        one.add_argument("--value", type=kind)
        try:
            return one.instantiate(one.parse_object({"value": self.alone.content})).value
        except InputError:
            raise
        except ANYTHING as error:  # a constructor may raise anything for bad arguments
            why = " ".join(str(error).split()) if isinstance(error, ArgumentError) else reason(error)
            raise InputError(f"{self.class_path}: cannot be built ({why}), expected fitting init_args") from error


def canonical(value: Any) -> Any:
    """Normalise: whole floats to integers, tuples to lists, keys beside a class_path into its init_args."""
    if isinstance(value, dict):
        if "class_path" in value and (beside := {k: v for k, v in value.items() if k not in KEYS}):
            kept = {k: v for k, v in value.items() if k in KEYS}
            value = {**kept, "init_args": {**(kept.get("init_args") or {}), **beside}}
        return {k: canonical(v) for k, v in value.items() if not (k in KEYS[1:] and not v)}
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a name, or no name at all
        return False


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in inner for text in _strings(item)]


def _class_paths(value: Any) -> list[str]:
    own = [value["class_path"]] if isinstance(value, dict) and isinstance(value.get("class_path"), str) else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    plain = [value] if isinstance(value, str) and DOTTED.fullmatch(value) and source.find(value) else []
    return own + plain + [path for item in inner for path in _class_paths(item)]


def _without(value: Any, names: tuple[str, ...]) -> Any:
    if isinstance(value, list):
        return [_without(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: {k: _without(v, names) for k, v in inner.items() if k not in names}
        if key == "init_args" and isinstance(inner, dict)
        else _without(inner, names)
        for key, inner in value.items()
    }


def _check(field: str, value: Any) -> None:
    if isinstance(value, list):
        for number, item in enumerate(value):
            _check(f"{field}[{number}]", item)
    if not isinstance(value, dict):
        return
    for name, item in value.items():
        _check(field if name in ("init_args", "dict_kwargs", "class_path") else f"{field}.{name}", item)
    path = value.get("class_path")
    if path is None:
        return
    if not isinstance(path, str) or "." not in path:
        raise InputError(f"{field}.class_path: {path!r}, expected module.Class")
    module = path.rpartition(".")[0]
    top = module.split(".")[0]
    if source.file_of(module) is None and (source.is_own(top) or source.version_of(top) is None):
        raise InputError(f"{field}.class_path: {path}, no module {module}, expected module.Class")
    if source.find(path) is None and source.is_own(module):
        raise InputError(f"{field}.class_path: {path}, {module} defines no {path.rpartition('.')[2]}, expected it to")
    known = source.arguments(path)
    for name in value.get("init_args", {}):
        if known is not None and name not in known:
            raise InputError(f"{field}.{name}: not an argument of {path}, {closest(name, known)}")
