"""The information budget: the inputs needed by a row of results beyond the standard ones."""

from __future__ import annotations

from collections.abc import Iterable

KINDS = ("training set", "labels", "old head", "other")
BACKFILLED = ("own pairs", "old gallery", "served old gallery")  # the upgrade itself brings these


def kinds_of(need: str) -> set[str]:
    """Return the `KINDS` of one need of `compat.needs`; none for inputs of every upgrade.

    Example:
        >>> sorted(kinds_of("training labels"))
        ['labels', 'training set']
    """
    if need in BACKFILLED:
        return set()
    found = {
        "training set": "training" in need or need == "plain new model",
        "labels": "labels" in need,
        "old head": need in ("old classifier", "old classes"),
    }
    return {kind for kind, needed in found.items() if needed} or {"other"}


def budget_of(needs: Iterable[str]) -> list[str]:
    """Return the kinds of several needs, in the sequence of `KINDS`."""
    found = {kind for need in needs for kind in kinds_of(need)}
    return [kind for kind in KINDS if kind in found]
