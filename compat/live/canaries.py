"""Canaries: items embedded again to check that a model still reproduces the stored embeddings."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from compat.engine.exact import Distance
from compat.errors import InputError
from compat.live.extraction import extract, join
from compat.live.items import Column, Item, Work
from compat.live.models import Embed
from compat.live.store import Store

CANARIES = 8  # items embedded again before a run
DRIFT = 1e-3  # relative difference above which an embedding has drifted
DRAWS = 4  # retries, as an item may be drawn twice
BATCH = 256  # default batch


class Reembedded(NamedTuple):
    """Result of embedding items again.

    Attributes:
        unchanged: ids of items equal to the stored ones up to rounding.
        drifted: ids of items which differ.
        unread: reasons why the others could not be read, by id.
    """

    unchanged: list[str]
    drifted: list[str]
    unread: Mapping[str, str]

    @property
    def mostly_drifted(self) -> bool:
        """Whether most of the items read have drifted."""
        return len(self.drifted) > len(self.unchanged)


def reembed(model: Embed, items: Sequence[Item], column: Column, distance: Distance, batch: int = BATCH) -> Reembedded:
    """Embed items again and compare them with a stored column; under cosine, lengths are ignored.

    Raises:
        Unreachable: the model does not answer.
    """
    work = [Work(item.id, item.version, item.content) for item in items]
    found = join([extract(model, work[n : n + batch], column) for n in range(0, len(work), batch)])
    now = {id: vector for id, _, vector in found.done}
    alike = {i.id: is_close(getattr(i, column), now[i.id], distance) for i in items if i.id in now}
    same, others = ([id for id, found in alike.items() if found is kind] for kind in (True, False))
    return Reembedded(same, others, {id: why for id, _, why in found.failed})


def draw_migrated(store: Store, count: int) -> list[Item]:
    """Draw `count` distinct migrated items at random, or nearly all of them if there are fewer."""
    found: dict[str, Item] = {}
    for draw in range(DRAWS):
        if len(found) < count:
            found |= {item.id: item for item in store.sample(count * 2**draw)}
    return list(found.values())[:count]


def is_close(stored: np.ndarray, now: np.ndarray, distance: Distance) -> bool:
    """Return whether two embeddings (D,) are equal up to rounding."""
    if now.shape != stored.shape:
        return False
    lengths = [max(float(np.linalg.norm(v)), 1e-12) for v in (stored, now)]
    scale = lengths[0] / lengths[1] if distance == "cosine" else 1.0
    return float(np.linalg.norm(stored - scale * now)) <= DRIFT * lengths[0]


def check_model(
    model: Embed, items: Sequence[Item], column: Column, distance: Distance, name: str, expected: str
) -> None:
    """Refuse a model for which most items have drifted; warn of a few drifted items by name.

    Args:
        model: the model.
        items: the items drawn.
        column: column in which they are stored.
        distance: distance of the retrieval.
        name: name of the model in messages.
        expected: end of the error message.

    Raises:
        InputError: most items have drifted.
        Unreachable: the model does not answer.
    """
    found = reembed(model, items, column, distance)
    if found.mostly_drifted:
        like = f"like {len(found.drifted)} of {len(found.drifted) + len(found.unchanged)} drawn"
        raise InputError(f"models.{name}: item {found.drifted[0]!r} is not reproduced, {like}, expected {expected}")
    if found.drifted:
        ids = ", ".join(map(repr, found.drifted))
        warnings.warn(f"models.{name}: of {len(items)} items, {ids} are not reproduced", stacklevel=2)
    if found.unread:
        why = "; ".join(f"{id!r} ({why})" for id, why in found.unread.items())
        warnings.warn(f"models.{name}: of {len(items)} items, it cannot read {why}", stacklevel=2)
