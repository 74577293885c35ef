"""Compiled loops where nothing can be kept, as where the code is read-only and its user has no home."""

import pytest
from numba import njit

from compat.engine.kernels import compiler


def refusing(cache=False, **options):
    def decorate(function):
        if cache:
            raise RuntimeError(f"cannot cache function {function.__name__!r}: no locator available for file '?'")
        return njit(**options)(function)

    return decorate


def test_loops_are_compiled_where_nothing_can_be_kept(monkeypatch):
    monkeypatch.setattr("compat.engine.kernels.njit", refusing)
    with pytest.warns(UserWarning, match="NUMBA_CACHE_DIR"):
        double = compiler()(lambda x: 2 * x)
    assert double(2) == 4
