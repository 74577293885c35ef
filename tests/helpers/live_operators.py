"""Operators at once: each a thread that is let go from one transaction to the next, and may die before any of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compat.errors import InputError
from compat.live import Models, open_store
from compat.live.items import Journal
from compat.live.store import Store
from compat.methods.upgrade import Upgrade
from compat.models import Precomputed

PATIENCE = 60.0  # seconds after which a step that does not come is a fault of the test


class Killed(BaseException):
    """The operator is dead."""


class Operator:
    """Something done to a store by a thread of its own, in steps.

    Args:
        url: of the store.
        act: what is done.

    Attributes:
        result: what it returned.
        refused: why it was refused.
        broke: what it raised otherwise.
    """

    def __init__(self, url: str, act: Callable[[Store], Any]) -> None:
        self.url, self.act = url, act
        self.go, self.came = threading.Semaphore(0), threading.Semaphore(0)
        self.dead = self.ended = False
        self.result: Any = None
        self.refused = ""
        self.broke: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        self._wait()

    def _run(self) -> None:
        store: Any = open_store(self.url)
        self._gate(store)
        try:
            self.result = self.act(store)
        except Killed:
            pass
        except InputError as error:
            self.refused = str(error)
        except BaseException as error:
            self.broke = error
        finally:
            store.close()
            self.ended = True
            self.came.release()

    def _gate(self, store: Any) -> None:
        """Let each transaction wait until it is let go; but not those of the store's own threads."""
        honest = store.link.transaction

        @contextmanager
        def transaction(*arguments: Any, **options: Any) -> Iterator[Any]:
            if threading.current_thread() is self.thread:
                self.came.release()
                self.go.acquire()
            if self.dead:
                raise Killed
            with honest(*arguments, **options) as cursor:
                yield cursor

        store.transaction = store.link.transaction = transaction

    def step(self) -> None:
        """Do the transaction that it stands before, and go up to the next, or to the end."""
        self.go.release()
        self._wait()

    def kill(self) -> None:
        """Let nothing more of it happen; it may clean up as little as a process that is killed."""
        self.dead = True
        while not self.ended:
            self.step()

    def _wait(self) -> None:
        assert self.came.acquire(timeout=PATIENCE), "a step that does not end"


class Named:
    """Stands for the model of a number: an embedding that follows from the content alone.

    Args:
        number: of the model.
    """

    def __init__(self, number: int) -> None:
        self.number, self.version, self.dim = number, f"model {number}", 4 + number % 3

    def __call__(self, contents: Any) -> np.ndarray:
        return np.array([self.row(content) for content in contents]).reshape(-1, self.dim)

    def row(self, content: str) -> np.ndarray:
        """(D,) float32 of one content."""
        seed = [self.number, *content.encode()]
        return np.random.default_rng(seed).standard_normal(self.dim).astype(np.float32)


class Ahead(Upgrade):
    """A gallery that is written anew when the backfilling starts, by a matrix; queries are those of the new model.

    Args:
        old: number of the old model.
        new: number of the new model.
    """

    transforms_gallery = True
    encoder_passes = 1

    def __init__(self, old: int, new: int) -> None:
        dims = Named(old).dim, Named(new).dim
        super().__init__(*map(Precomputed, dims))
        matrix = np.random.default_rng(new).standard_normal(dims).astype(np.float32)
        self.register_buffer("matrix", torch.from_numpy(matrix))

    def query_for_old(self, old: Tensor, query_new: Tensor) -> Tensor:
        return query_new

    def gallery(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        return old @ self.get_buffer("matrix"), new


def between(journal: Journal) -> tuple[int, int]:
    """Numbers of the old and of the new model of the migration that is under way, or may be planned next."""
    known = journal.fingerprint.get("new")
    if known is None:
        return 0, 1
    new = int(known.split()[1])
    return (new, new + 1) if journal.phase == "none" else (new - 1, new)


def models_of(journal: Journal, following: bool = False) -> Models:
    """Of the migration of a journal, or once it has ended of the one after that."""
    old, new = between(journal)
    more = following and journal.phase == "finalized"
    old, new = old + more, new + more
    return Models(new=Named(new), old=Named(old), upgrade=Ahead(old, new) if new % 2 == 0 else None)


def apart(query: str, content: str, part: str, journal: Journal) -> float:
    """The cosine distance of a query to an item in the "old" or the "new" part."""
    old, new = between(journal)
    asked = Named(new if part == "new" or journal.bridged else old).row(query).astype(np.float64)
    found = Named(new if part == "new" else old).row(content).astype(np.float64)
    if part == "old" and journal.bridged:
        found = found @ Ahead(old, new).get_buffer("matrix").numpy().astype(np.float64)
    return float(1 - asked @ found / np.sqrt((asked @ asked) * (found @ found)))
