"""A batch of items through a model: what it cannot read becomes a dead letter, what it cannot reach is tried again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple, TypeVar

import numpy as np

from compat.errors import InputError
from compat.live.items import Work
from compat.live.models import Embed, WrongModel, embed, passing
from compat.live.throttle import wait
from compat.live.transient import is_server_failure, is_transient, retry_after

TRIES = 6
LONGEST_WAIT = 60.0  # seconds, whatever a service asks for
FIRST_WAIT = 0.2  # seconds, doubled with each try
T = TypeVar("T")


class Unreachable(InputError):
    """What was tried again and again did not come back; wherever nobody waits for it, that is one line as well."""


class Extracted(NamedTuple):
    """Vectors and dead letters of a batch, as a `Report` has them.

    Attributes:
        done: id, version and embedding.
        dead: id, version and the reason.
        wrong: why, if what the model returned for some item was no embedding at all.
    """

    done: Sequence[tuple[str, int, np.ndarray]] = ()
    failed: Sequence[tuple[str, int, str]] = ()
    wrong: WrongModel | None = None


def extract(
    model: Embed, work: Sequence[Work], name: str = "new", dim: int | None = None, tries: int = TRIES
) -> Extracted:
    """Embed a batch; if the model fails on it, item by item, so that one that cannot be read stops no other.

    A failure that passes, see `compat.live.transient`, is tried again. If it is a service that goes on failing by itself
    (status 500), its items are tried one by one, as one of them may be what it fails at.

    Args:
        model: the model.
        work: the batch.
        name: of the model.
        dim: D, where it is known; what is longer or shorter is a dead letter.
        tries: of what fails in a way that passes.

    Raises:
        Unreachable: it failed so often in a way that passes.
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
            raise Unreachable(f"models.{name}: {error}, expected a model that answers") from error
        failed, tries = error.__cause__ or error, 1
    except Exception as error:  # whatever a model raises
        failed = error
    else:
        return split_finite(work, rows)
    if len(work) == 1:
        wrong = failed if isinstance(failed, WrongModel) else None
        return Extracted(failed=[(work[0].id, work[0].version, describe_error(failed))], wrong=wrong)
    return join([extract(model, [w], name, dim, tries) for w in work])


def split_finite(work: Sequence[Work], rows: np.ndarray) -> Extracted:
    """A batch with its embeddings (N, D); what is not finite is a dead letter."""
    kept = np.isfinite(rows).all(1)
    return Extracted(
        [(w.id, w.version, row) for w, row, good in zip(work, rows, kept, strict=True) if good],
        [(w.id, w.version, "NaN or infinite values") for w, good in zip(work, kept, strict=True) if not good],
    )


def join(parts: Sequence[Extracted]) -> Extracted:
    """Several batches as one."""
    done, dead, wrong = zip(*parts, strict=True) if parts else ((), (), ())
    return Extracted(list(chain(*done)), list(chain(*dead)), next(filter(None, wrong), None))


def retry(step: Callable[[], T], passes: Callable[[Exception], bool], tries: int = TRIES) -> T:
    """Do something, again after a while if it fails in a way that passes.

    What an exception says of when to come back is honoured, up to a minute.

    Args:
        step: what is done.
        passes: whether an exception is of such a kind.
        tries: how often.

    Raises:
        Unreachable: it failed each time; its cause is the last failure.
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
    """In one line."""
    return " ".join((str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}").split())
