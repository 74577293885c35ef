"""Declared inputs: a method, an order or a merge rule names what it needs and is given exactly that."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

from compat.errors import InputError

Need = Literal[
    "training embeddings",
    "training labels",
    "labels if known",
    "head training",
    "new model training",
    "plain new model",
    "old classes",
    "old classifier",
    "new classifier",
    "side-information",
    "old gallery",
    "served old gallery",
    "gallery labels",
    "uncertainty",
    "all matrices and labels",
    "a file",
    "training distances",
]


class Given:
    """The declared inputs by name; any other name raises.

    Args:
        needs: the declared names.
        values: the inputs, or functions without arguments that compute them when asked for. A model is handed over
            itself, though it is callable.
        owner: the class that declared them, for messages.

    Example:
        >>> given = Given(["training labels"], {"training labels": lambda: [0, 1], "old gallery": lambda: [2]}, "Mine")
        >>> given["training labels"]
        [0, 1]
        >>> given["old gallery"]
        Traceback (most recent call last):
        compat.errors.InputError: needs: 'old gallery' was not declared by Mine, expected it among its needs
    """

    def __init__(self, needs: Sequence[str], values: Mapping[str, Any | Callable[[], Any]], owner: str) -> None:
        for need in needs:
            if need not in get_args(Need):
                raise InputError(f"needs: {need!r} of {owner}, expected some of {', '.join(get_args(Need))}")
        self.needs, self.owner = tuple(needs), owner
        self.values = {need: values[need] for need in needs if need in values}

    def __getitem__(self, need: str) -> Any:
        if need not in self.needs:
            raise InputError(f"needs: {need!r} was not declared by {self.owner}, expected it among its needs")
        if need not in self.values:
            raise InputError(f"needs: {need!r} of {self.owner} is not to be had here, expected another method")
        value = self.values[need]
        return value() if inspect.isroutine(value) else value

    def __contains__(self, need: object) -> bool:
        return need in self.needs
