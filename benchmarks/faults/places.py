"""Places of stores for fault injections: files in a temporary folder, or schemas of a server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmarks.faults.processes import application
from benchmarks.faults.roles import Setting

LIFE = 0.1  # seconds until a process is killed, including its connection
LOOKS = 0.001  # seconds between two looks whether a connection is gone


class Place(NamedTuple):
    """A place for stores.

    Attributes:
        setting: context manager from a setting's options to one without a store, removed afterwards.
        settled: returns once all work of dead processes has ended.
    """

    setting: Callable[..., AbstractContextManager[Setting]]
    settled: Callable[[int], None]


@contextmanager
def files() -> Iterator[Place]:
    """Use a file for each store; its work ends with its process."""
    import compat.live.sqlite.indexes  # noqa: F401  # here, and not in each child

    @contextmanager
    def setting(**options: Any) -> Iterator[Setting]:
        with TemporaryDirectory() as folder:
            yield Setting(f"sqlite:///{folder}/gallery.db", Path(folder), **options)

    yield Place(setting, lambda process: None)


@contextmanager
def schemas() -> Iterator[Place]:
    """Use a server's schema for each store; a dead process's work ends with its connection."""
    import psycopg

    import compat.live.postgres.store  # noqa: F401  # here, and not in each child
    from benchmarks.live.server import postgres

    with postgres() as server, psycopg.connect(server.url, autocommit=True) as link:
        link.execute("CREATE EXTENSION vector")
        numbers = iter(range(10**9))

        @contextmanager
        def setting(**options: Any) -> Iterator[Setting]:
            schema = f"s{next(numbers)}"
            with TemporaryDirectory() as folder:
                yield Setting(f"{server.url}&schema={schema}", Path(folder), **{"life": LIFE, **options})
            link.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")

        def settled(process: int) -> None:
            count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
            while link.execute(count, (application(process),)).fetchone() != (0,):
                time.sleep(LOOKS)

        yield Place(setting, settled)


PLACES = {"sqlite": files, "postgres": schemas}
