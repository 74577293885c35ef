"""Qdrants for tests of what is their own, and what happens at a moment of a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

on_both = pytest.mark.parametrize("adapter", ["qdrant", "qdrant_http"], indirect=True)
in_folder = pytest.mark.parametrize("adapter", ["qdrant"], indirect=True)


class Between:
    """Does something each time that a store calls a method of Qdrant's client, before or after the call.

    Args:
        store: the store.
        step: name of the method.
        does: called with how many calls there were.
        after: when.
    """

    def __init__(self, store: Any, step: str, does: Callable[[int], Any], after: bool = False) -> None:
        self.store, self.step, self.does, self.after, self.calls = store, step, does, after, 0
        self.call = store.link

    def __call__(self, step: str, *args: Any, **options: Any) -> Any:
        if step != self.step:
            return self.call(step, *args, **options)
        self.calls += 1
        calls = self.calls
        if not self.after:
            self.does(calls)
        found = self.call(step, *args, **options)
        if self.after:
            self.does(calls)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.call, name)

    def __enter__(self) -> Between:
        self._set(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._set(self.call)

    def _set(self, link: Any) -> None:
        self.store.link = self.store.journals.link = self.store.points.link = link
