"""A batch of items through a model: what it cannot read becomes a dead letter, what it cannot reach is tried again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from compat.errors import InputError
from compat.live.items import Work
from compat.live.models import Embed, embedded
from compat.live.store import Store
from compat.live.throttle import wait

TRIES = 6
DRIFT = 1e-3  # relative difference beyond which an item embedded again is another
FIRST_WAIT = 0.2  # seconds, doubled with each try
PASSING = (ConnectionError, TimeoutError)  # errors that pass: of a service or a network, not of an item
T = TypeVar("T")


class Unreachable(Exception):
    """What was tried again and again did not come back."""


class Extracted(NamedTuple):
    """Vectors and dead letters of a batch, as a `Report` has them."""

    done: Sequence[tuple[str, int, np.ndarray]] = ()
    dead: Sequence[tuple[str, int, str]] = ()


def extract(
    model: Embed, work: Sequence[Work], serve: Callable[[np.ndarray], np.ndarray], name: str = "new"
) -> Extracted:
    """Embed a batch; if the model fails on it, item by item, so that one that cannot be read stops no other.

    Args:
        model: the model.
        work: the batch.
        serve: (N, D) of the model -> as they are stored.
        name: of the model.

    Raises:
        Unreachable: a connection failed or timed out, six times.
        InputError: the model returns something else than finite rows.
    """
    try:
        rows = serve(patiently(lambda: embedded(model, [w.content for w in work], name), PASSING))
        return Extracted([(w.id, w.version, row) for w, row in zip(work, rows, strict=True)])
    except (Unreachable, KeyboardInterrupt):
        raise
    except Exception as error:
        if len(work) == 1:
            return Extracted(dead=[(work[0].id, work[0].version, reason(error))])
    single = [extract(model, [w], serve, name) for w in work]
    return Extracted([d for one in single for d in one.done], [d for one in single for d in one.dead])


def patiently(step: Callable[[], T], passing: tuple[type[Exception], ...]) -> T:
    """Do something, again after a while if it fails in a way that passes.

    An exception's `retry_after`, seconds, is honoured.

    Raises:
        Unreachable: it failed six times.
    """
    for seconds in waits():
        try:
            return step()
        except passing as error:
            found = error
            wait(getattr(error, "retry_after", None) or seconds)
    raise Unreachable(reason(found)) from found


def waits() -> Iterator[float]:
    """Seconds to wait after each try."""
    yield from (FIRST_WAIT * 2**n for n in range(TRIES))


def reason(error: Exception) -> str:
    """In one line."""
    return " ".join((str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}").split())


def drifted(store: Store, model: Embed, serve: Callable[[np.ndarray], np.ndarray], count: int) -> tuple[list[str], int]:
    """Of some migrated items, the ids of those that the model embeds otherwise by now, and how many were looked at."""
    items = store.sample(count)
    work = [Work(item.id, item.version, item.content) for item in items]
    found = {id: vector for id, _, vector in extract(model, work, serve).done} if work else {}
    return [i.id for i in items if i.id not in found or apart(i.new, found[i.id]) > DRIFT], len(items)


def apart(one: np.ndarray | None, other: np.ndarray) -> float:
    """Length of the difference of two vectors, over that of the first."""
    assert one is not None
    return float(np.linalg.norm(one - other)) / max(float(np.linalg.norm(one)), 1e-12)
