"""Check a config for mappings, lists and plain values as declared by its dataclasses, before anything reads them."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from benchmarks.config.spec import DOTTED, UNDER, Spec
from compat.errors import InputError, closest

WORDS = {NoneType: "null", str: "text", int: "an integer", float: "a number", bool: "true or false"}


def check_shapes(key: str, value: Any, kind: Any) -> None:
    """Refuse a mapping, a list, null or a plain value in the place of another, also within mappings and lists.

    Args:
        key: of the value; empty for the whole config.
        value: from YAML.
        kind: its type.

    Raises:
        InputError: the first of them, by its key.
    """
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    kind = next((one for one in kinds if shape_of(one) is _shape(value)), None)
    if kind is None or (value == "" and not {str, Literal} & {get_origin(one) or one for one in kinds}):
        raise InputError(f"{key}: {format_value(value)}, expected {' or '.join(dict.fromkeys(map(name_type, kinds)))}")
    if kind is Spec:
        check_spec(key, value)
    elif is_dataclass(kind):
        hints = get_type_hints(kind)
        if unknown := [name for name in value if name not in hints]:
            raise InputError(f"{key}.{unknown[0]}: unknown, {closest(unknown[0], list(hints))}")
        for field in fields(kind):
            inner = ".".join(filter(None, [key, field.name]))
            if field.name in value:
                check_shapes("" if inner == "generations" else inner, value[field.name], hints[field.name])
            elif field.default is MISSING and field.default_factory is MISSING:
                raise InputError(f"{inner}: none, expected {name_type(hints[field.name])}")
    elif shape_of(kind) is dict:
        for name, inner in value.items():
            check_shapes(".".join(filter(None, [key, name])), inner, get_args(kind)[1])
    elif shape_of(kind) is list:
        for number, inner in enumerate(value):
            check_shapes(f"{key}[{number}]", inner, get_args(kind)[0])


def check_spec(key: str, value: Any, method: bool = True) -> None:
    """Refuse a class and its arguments in another notation, also among the arguments.

    Args:
        key: of the value.
        value: a mapping with class_path, or an argument.
        method: whether it has to be a class.

    Raises:
        InputError: no class_path, or arguments without a mapping.
    """
    if isinstance(value, list):
        for number, inner in enumerate(value):
            check_spec(f"{key}[{number}]", inner, method=False)
    if not isinstance(value, dict):
        return
    if method or "class_path" in value:
        path = value.get("class_path")
        if not isinstance(path, str) or not DOTTED.fullmatch(path):
            found = format_value(path) if "class_path" in value else "none"
            raise InputError(f"{key}.class_path: {found}, expected module.Class")
        for part in ("init_args", "dict_kwargs"):
            if part in value and not isinstance(value[part], dict):
                raise InputError(f"{key}.{part}: {format_value(value[part])}, expected a mapping of arguments")
        for under in UNDER:
            if (other := value.get(under, path)) is None or not isinstance(other, (str, dict)):
                found = format_value(other)
                raise InputError(f"{key}.{under}: {found}, expected a method, or class_path and init_args")
    for name, inner in value.items():
        check_spec(f"{key}.{name}", inner, method=name in UNDER and "class_path" in value)


def shape_of(kind: Any) -> type:
    """Return the shape of a type: mapping, list, null or plain (`str`)."""
    origin = get_origin(kind) or kind
    if origin is Spec or is_dataclass(origin):
        return dict
    kinds: dict[Any, type] = {dict: dict, list: list, tuple: list, NoneType: NoneType}
    return kinds.get(origin, str)


def _shape(value: Any) -> type:
    kind = type(value)
    return kind if kind in (dict, list, NoneType) else str


def name_type(kind: Any) -> str:
    """Name a type in words."""
    origin = get_origin(kind) or kind
    if origin in (Union, UnionType):
        return " or ".join(map(name_type, get_args(kind)))
    if origin is Literal:
        return " or ".join(get_args(kind))
    if origin is Spec:
        return "class_path and init_args"
    return WORDS.get(origin) or ("a mapping" if shape_of(kind) is dict else "a list")


def format_value(value: Any) -> str:
    """Format a value as YAML on one line, shortened if it is long."""
    return re.sub(r"(.{60}).+", r"\1...", json.dumps(value, default=str))
