"""Command-line arguments given by name: models, an order, a filter."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from compat.command import one_line
from compat.errors import InputError
from compat.importing import ANYTHING, reason, resolved
from compat.live.verbs.columns import parse_value

if TYPE_CHECKING:
    from compat.live.models import Models
    from compat.orders import Order


def parse_pairs(field: str, given: Sequence[str]) -> dict[str, Any]:
    """Parse repeated `name=value` arguments; values as in `columns.parse_value`.

    Raises:
        InputError: a missing name or value, a repeated name.
    """
    found: dict[str, Any] = {}
    for one in given:
        name, equals, content = one.partition("=")
        if not name or not equals or name in found:
            raise InputError(f"{field}: {one!r}{' twice' if name in found else ''}, expected NAME=VALUE")
        found[name] = parse_value(content)
    return found


def import_object(field: str, given: str, expected: str) -> Any:
    """Import an object by its path, including modules of the current folder.

    Raises:
        InputError: no such object, or its module cannot be imported.
    """
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    return resolved(field, given, expected)


def load_models(given: str) -> Models:
    """Call a function by its import path, and return its models.

    Raises:
        InputError: no such function, or it returns something else.
    """
    from compat.live.models import Models

    function: Callable[[], object] = import_object("models", given, "module.function")
    if not callable(function) or isinstance(function, type):
        raise InputError(f"models: {given} is no function, expected one which returns compat.live.Models")
    try:
        found = function()
    except OSError as error:
        raise InputError(f"models: {given} ({one_line(str(error))}), expected readable files") from error
    except InputError:
        raise
    except ANYTHING as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        why = f"{reason(error)}, {where.filename}, line {where.lineno}"
        raise InputError(f"models: {given} ({why}), expected compat.live.Models") from error
    if not isinstance(found, Models):
        raise InputError(f"models: {given} returns a {type(found).__name__}, expected compat.live.Models")
    return found


def load_order(given: Sequence[str]) -> Order:
    """Make an order from its class and arguments, such as `Clusters clusters=20` or `mine.Newest`.

    Raises:
        InputError: no such class, or other arguments.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    from compat import orders
    from compat.scalars import check_yaml

    name, *arguments = given
    known = [n for n, kind in vars(orders).items() if isinstance(kind, type) and kind.__module__ == orders.__name__]
    path = name if "." in name else f"compat.orders.{name}"
    shown = ", ".join(n for n in known if issubclass(getattr(orders, n), orders.Order) and n != "Order")
    kind = import_object("order", path, f"{shown}, or module.Class")
    if not isinstance(kind, type) or not issubclass(kind, orders.Order) or kind is orders.Order:
        raise InputError(f"order: {name}, expected {shown}, or module.Class of an order")
    parse_pairs("order", arguments)
    for argument, _, content in (one.partition("=") for one in arguments):
        check_yaml(f"order: {argument}", content)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind)
    try:
        return kind(**vars(parser.parse_args([f"--{argument}" for argument in arguments])))
    except (ArgumentError, TypeError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"order: {name} {' '.join(arguments)} ({why}), expected fitting arguments") from error
