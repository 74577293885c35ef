"""Extraction of a batch: unreadable items are recorded as failed, transient failures are retried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple, TypeVar

import numpy as np

from compat.errors import InputError
from compat.importing import reason
from compat.live.items import Work
from compat.live.models import Embed, WrongModel, embed, passing
from compat.live.throttle import wait
from compat.live.transient import is_server_failure, is_transient, retry_after

TRIES = 6
LONGEST_WAIT = 60.0  # maximum seconds between two tries
FIRST_WAIT = 0.2  # seconds, doubled with each try
T = TypeVar("T")


class Unreachable(InputError):
    """A failure which persisted through all tries; shown to users as one line."""


class Extraction(NamedTuple):
    """Result of a batch, in the form a `Report` takes.

    Attributes:
        done: id, version and embedding of each item.
        failed: id, version and reason of each failed item.
        wrong: the error, if the model returned something other than embeddings for an item.
    """

    done: Sequence[tuple[str, int, np.ndarray]] = ()
    failed: Sequence[tuple[str, int, str]] = ()
    wrong: WrongModel | None = None


def extract(
    model: Embed, work: Sequence[Work], name: str = "new", dim: int | None = None, tries: int = TRIES
) -> Extraction:
    """Embed a batch; if the model fails on it, embed item by item, so one unreadable item stops no other.

    Transient failures (see `compat.live.transient`) are retried. If a service keeps failing with status 500, its items
    are tried one by one, as one of them may be the cause.

    Args:
        model: the model.
        work: the batch.
        name: name of the model in messages.
        dim: D, if known; an item with another dimension counts as failed.
        tries: number of tries for transient failures.

    Raises:
        Unreachable: all tries ended in transient failures.
    """
    failed: BaseException
    try:
        rows = retry(
            lambda: embed(model, [w.content for w in work], name, dim),
            partial(is_transient, more=passing(model)),
            tries,
        )
    except Unreachable as error:
        if not is_server_failure(error.__cause__):
            raise Unreachable(f"models.{name}: {error}, expected a model which answers") from error
        failed, tries = error.__cause__ or error, 1
    except Exception as error:  # a model may raise anything
        failed = error
    else:
        return split_finite(work, rows)
    if len(work) == 1:
        wrong = failed if isinstance(failed, WrongModel) else None
        return Extraction(failed=[(work[0].id, work[0].version, describe_error(failed))], wrong=wrong)
    return join([extract(model, [w], name, dim, tries) for w in work])


def split_finite(work: Sequence[Work], rows: np.ndarray) -> Extraction:
    """Split a batch with embeddings (N, D) into done items and failed ones (NaN or infinite values)."""
    kept = np.isfinite(rows).all(1)
    return Extraction(
        [(w.id, w.version, row) for w, row, good in zip(work, rows, kept, strict=True) if good],
        [(w.id, w.version, "NaN or infinite values") for w, good in zip(work, kept, strict=True) if not good],
    )


def join(parts: Sequence[Extraction]) -> Extraction:
    """Join several results into one."""
    done, dead, wrong = zip(*parts, strict=True) if parts else ((), (), ())
    return Extraction(list(chain(*done)), list(chain(*dead)), next(filter(None, wrong), None))


def retry(step: Callable[[], T], passes: Callable[[Exception], bool], tries: int = TRIES) -> T:
    """Call a function, retrying after a wait while it fails transiently.

    A delay requested by an exception is honoured, up to one minute.

    Args:
        step: the function.
        passes: returns whether an exception is transient.
        tries: number of tries.

    Raises:
        Unreachable: every try failed; its cause is the last failure.
    """
    for tried in range(tries):
        try:
            return step()
        except Exception as error:
            if not passes(error):
                raise
            found = error
            wait(min(retry_after(error) or FIRST_WAIT * 2**tried, LONGEST_WAIT))
    raise Unreachable(describe_error(found)) from found


def describe_error(error: BaseException) -> str:
    """Describe an error in one line."""
    return " ".join(str(error).split()) if isinstance(error, InputError) else reason(error)
