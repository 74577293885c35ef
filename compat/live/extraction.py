"""A batch of items through a model: what it cannot read becomes a dead letter, what it cannot reach is tried again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from compat.engine.exact import Distance
from compat.errors import InputError
from compat.live.items import Column, Item, Work
from compat.live.models import Embed, WrongModel, embedded
from compat.live.throttle import wait

TRIES = 6
LONGEST_WAIT = 60.0  # seconds, whatever a service asks for
MANY = 16  # items of a batch that do not all fail by themselves
DRIFT = 1e-3  # relative difference beyond which an item embedded again is another
FIRST_WAIT = 0.2  # seconds, doubled with each try
PASSING = (ConnectionError, TimeoutError)  # errors that pass: of a service or a network, not of an item
T = TypeVar("T")


class Unreachable(InputError):
    """What was tried again and again did not come back; wherever nobody waits for it, that is one line as well."""


class Unread(Unreachable):
    """All items of a batch failed: each is at fault, or the model is.

    Attributes:
        found: the batch as dead letters.
    """

    def __init__(self, message: str, found: Extracted) -> None:
        super().__init__(message)
        self.found = found


class Extracted(NamedTuple):
    """Vectors and dead letters of a batch, as a `Report` has them."""

    done: Sequence[tuple[str, int, np.ndarray]] = ()
    dead: Sequence[tuple[str, int, str]] = ()


def extract(model: Embed, work: Sequence[Work], name: str = "new") -> Extracted:
    """Embed a batch; if the model fails on it, item by item, so that one that cannot be read stops no other.

    Args:
        model: the model.
        work: the batch.
        name: of the model.

    Raises:
        Unreachable: a connection failed or timed out, six times.
        Unread: all items of a batch of some size failed.
        WrongModel: the model returns something else than one row for each.
    """
    try:
        rows = patiently(lambda: embedded(model, [w.content for w in work], name), PASSING)
    except Unreachable as error:
        raise Unreachable(f"models.{name}: {error}, expected a model that answers") from error
    except WrongModel:
        raise
    except Exception as error:  # whatever a model raises
        if len(work) == 1:
            return Extracted(dead=[(work[0].id, work[0].version, reason(error))])
        single = [extract(model, [w], name) for w in work]
        found = Extracted([d for one in single for d in one.done], [d for one in single for d in one.dead])
        if len(found.dead) == len(work) >= MANY:
            failed = f"it failed on all {len(work)} items of a batch ({reason(error)})"
            raise Unread(f"models.{name}: {failed}, expected a model that reads them", found) from error
        return found
    finite = np.isfinite(rows).all(1)
    return Extracted(
        [(w.id, w.version, row) for w, row, kept in zip(work, rows, finite, strict=True) if kept],
        [(w.id, w.version, "NaN or infinite values") for w, kept in zip(work, finite, strict=True) if not kept],
    )


def patiently(step: Callable[[], T], passing: tuple[type[Exception], ...]) -> T:
    """Do something, again after a while if it fails in a way that passes.

    An exception's `retry_after`, seconds, is honoured.

    Raises:
        Unreachable: it failed six times.
    """
    for tried in range(TRIES):
        try:
            return step()
        except passing as error:
            found = error
            wait(min(getattr(error, "retry_after", None) or FIRST_WAIT * 2**tried, LONGEST_WAIT))
    raise Unreachable(reason(found)) from found


def reason(error: Exception) -> str:
    """In one line."""
    return " ".join((str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}").split())


def drifted(model: Embed, items: Sequence[Item], column: Column, distance: Distance) -> list[str]:
    """The ids of those items that a model embeds otherwise than they are stored in a column, or cannot read any more.

    Under cosine retrieval lengths do not count.
    """
    work = [Work(item.id, item.version, item.content) for item in items]
    found = {id: vector for id, _, vector in extract(model, work, column).done} if work else {}

    def same(item: Item) -> bool:
        stored, now = getattr(item, column), found.get(item.id)
        if now is None or now.shape != stored.shape:
            return False
        lengths = [max(float(np.linalg.norm(v)), 1e-12) for v in (stored, now)]
        scale = lengths[0] / lengths[1] if distance == "cosine" else 1.0
        return float(np.linalg.norm(stored - scale * now)) <= DRIFT * lengths[0]

    return [item.id for item in items if not same(item)]
