"""What is around a PostgreSQL store: forks, poolers, cut connections, standbys, other encodings, other schemas."""

import logging
import multiprocessing
import os
import pwd
import shutil
import socket
import subprocess
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import pytest

from compat.errors import InputError
from compat.live import open_store
from compat.live.items import Item
from compat.live.store import Approximate, Ask
from tests.helpers.live_stores import claim, create, item, new, report, running, vector

psycopg = pytest.importorskip("psycopg")
from compat.live.postgres import connection as postgres_link  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
POOLER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
)


@pytest.fixture
def adapter():
    return "postgres"


@pytest.fixture
def admin(server):
    with psycopg.connect(server.url, autocommit=True) as connection:
        yield connection


@contextmanager
def pooler(server, mode="transaction"):
    """One connection to the server for all clients, each of which has it for a transaction."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = server.folder / f"pooler{port}"
    settings.write_text(
        f"[databases]\n* = user=postgres host={server.folder} port=5432\n[pgbouncer]\nlisten_addr=127.0.0.1\n"
        f"listen_port={port}\nauth_type=any\nunix_socket_dir=\npool_mode={mode}\ndefault_pool_size=1\n"
        "ignore_startup_parameters=extra_float_digits\n"
    )
    user: dict[str, Any] = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid} if os.geteuid() == 0 else {}
    nowhere = subprocess.DEVNULL
    process = subprocess.Popen([str(POOLER), str(settings)], stdout=nowhere, stderr=nowhere, **user)
    try:
        while process.poll() is None:
            with socket.socket() as reached:
                if reached.connect_ex(("127.0.0.1", port)) == 0:
                    break
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        process.terminate()
        process.wait()


def added(url, numbers):
    """Write items, as one of several processes."""
    with closing(open_store(url)) as store:
        for n in numbers:
            store.put(item(n), store.journal())


@pytest.mark.skipif(POOLER is None, reason="pgbouncer is not installed")
def test_a_pooler_mixes_up_no_stores(server, admin):
    admin.execute("CREATE TABLE public.beats (theirs int)")
    try:
        with pooler(server) as url:
            urls = [f"{url}?schema=pooled{n}" for n in range(2)]
            stores = [create(open_store(url)) for url in urls]
            work = [(urls[0], range(20)), (urls[1], range(20, 40)), (urls[0], range(40, 60))]
            both = multiprocessing.get_context("fork")
            writers = [both.Process(target=added, args=arguments) for arguments in work]
            for writer in writers:
                writer.start()
            with psycopg.connect(url, autocommit=True) as other:
                while any(writer.is_alive() for writer in writers):
                    assert other.execute("SELECT * FROM beats").description[0].name == "theirs"
                    assert other.execute("SHOW search_path").fetchone() == ('"$user", public',)
            found = [store.gallery().ids for store in stores]
            expected = [*range(20), *range(40, 60)], [*range(20, 40)]
            assert [sorted(ids) for ids in found] == [sorted(f"i{n}" for n in numbers) for numbers in expected]
            for store in stores:
                store.close()
    finally:
        admin.execute("DROP TABLE public.beats")


@pytest.mark.skipif(POOLER is None, reason="pgbouncer is not installed")
def test_through_a_pooler_a_claim_ends_with_its_lease(server):
    """The connection of the server outlives the process, and belongs to others too."""
    with pooler(server) as url:
        one, other = open_store(f"{url}?schema=leases"), open_store(f"{url}?schema=leases")
        running(create(one), 6)
        assert claim(one, 2) == ["i0", "i1"]
        one.close()
        assert claim(other, 2, worker="host:2:2") == ["i2", "i3"]
        assert claim(other, 2, worker="host:2:2", lease=-1.0) == ["i2", "i3"]
        assert other.claims()["host:1:1"][0] == 2
        other.close()


def test_a_forked_process_has_a_connection_of_its_own(opened):
    store = create(opened())
    store.add(item(n) for n in range(40))
    context = multiprocessing.get_context("fork")
    told, release = context.Queue(), context.Event()

    def serve(first):
        release.wait(60)
        found = [store.get(f"i{n}").content == f"c{n}" for n in range(40)]
        store.put(item(100 + first), store.journal())
        told.put((all(found), os.getpid(), store.link.connection.info.backend_pid))

    with store.link.lock:  # as another thread may hold it at the moment
        children = [context.Process(target=serve, args=(n,), daemon=True) for n in range(3)]
        for child in children:
            child.start()
    release.set()
    mine = [(all(store.get(f"i{n}") for n in range(40)), os.getpid(), store.link.connection.info.backend_pid)]
    found = mine + [told.get(timeout=60) for _ in children]
    for child in children:
        child.join()
    assert all(good for good, *_ in found)
    assert len({process for _, process, _ in found}) == len({backend for *_, backend in found}) == 4
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert store.counts().total == 43
    assert store.link.connection.info.backend_pid == mine[0][2]


def test_a_step_that_meets_a_dead_connection_is_done_on_another(opened, admin):
    store = running(create(opened()), 4)
    steps = [
        lambda: store.counts().total == 4,
        lambda: store.search([Ask("old", vector(1)[None])], 1)[0].ids == ["i1"],
        lambda: store.exchange(report(0), 0, 60.0).written == 1,
        lambda: store.put(item(9), store.journal()) is None,
        lambda: store.delete("i2"),
        lambda: len(store.gallery().ids) == 4,
    ]
    for step in steps:
        admin.execute(CUT)
        assert step()


def test_a_step_that_is_cut_in_the_middle_is_not_done_twice(opened, admin):
    store = create(opened())

    def items():
        yield item(0)
        admin.execute(CUT)
        yield item(1)

    with pytest.raises(OSError, match=r"^[^\n]+$"):
        store.add(items())
    assert store.counts().total == 0
    assert store.add([item(0), item(1)]) == 2


def test_a_step_within_a_step_is_refused(opened):
    store = create(opened())
    with pytest.raises(InputError, match="one at a time"):
        store.add(item(n) for n in range(3) if store.get("i0") is None)
    assert (store.counts().total, store.add([item(0)])) == (0, 1)


def test_nothing_is_printed_when_a_connection_is_lost(opened, admin, capfd):
    store = running(create(opened()), 2)

    def cut(cursor):
        admin.execute(CUT)
        cursor.execute("SELECT 1")

    with pytest.raises(OSError, match=r"^[^\n]+$"):
        store.write(cut)
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("psycopg").handlers


def test_another_store_at_the_same_address_is_noticed(opened, admin):
    store, schema = create(opened()), opened().link.schema
    store.add([item(0)])
    other, journal = create(open_store(f"{store.url}b")), store.journal()
    admin.execute(f'ALTER SCHEMA "{schema}" RENAME TO "{schema}a"')
    admin.execute(f'ALTER SCHEMA "{schema}b" RENAME TO "{schema}"')
    steps = [
        store.counts,
        store.journal,
        lambda: store.put(item(0), journal),
        lambda: store.delete("i0"),
        lambda: store.describe("i0", {}),
    ]
    for step in steps:
        with pytest.raises(InputError, match="is at this address now"):
            step()
    other.close()


def test_a_store_in_no_schema_is_not_that_of_another(opened, admin):
    """Where the schema of the extension has a store, as of somebody who named it."""
    public = open_store(opened().url.partition("schema=")[0] + "schema=public")
    running(create(public), 1)
    public.close()
    try:
        with pytest.raises(InputError, match="expected a store made by `init`"):
            opened().counts()
    finally:
        for (name,) in admin.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall():
            admin.execute(f'DROP TABLE public."{name}" CASCADE')


def test_the_database_may_be_of_another_encoding(server, admin):
    admin.execute("CREATE DATABASE plain ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    with closing(create(open_store(server.url.replace("/postgres?", "/plain?")))) as store:
        store.add([Item("żółw", "🐢", {"lang": "ż"}, 1, old=vector(0))])
        assert store.get("żółw")[:3] == ("żółw", "🐢", {"lang": "ż"})
        assert store.search([Ask("old", vector(0)[None])], 1, {"lang": "ż"})[0].ids == ["żółw"]


def test_text_that_no_encoding_has_is_refused(opened):
    store, wrong = running(create(opened()), 2), "\ud800"
    steps = [
        lambda: store.get(wrong),
        lambda: store.delete(wrong),
        lambda: store.describe("i0", {"lang": wrong}),
        lambda: store.put(item(0, meta={"lang": wrong}), store.journal()),
        lambda: store.search([Ask("old", vector(0)[None])], 1, {"lang": wrong}),
    ]
    for step in steps:
        with pytest.raises(InputError, match=r"^[^\n]+, expected text[^\n]*$"):
            step()
    assert store.exchange(report(0, failed=[("i1", 2, f"no\0 {wrong}")]), 0, 60.0).written == 1
    assert store.failures(1)[0].failure == "no \\ud800"


@pytest.mark.parametrize("schema", ["order", "user", "table", "all", "default", "select", "analyse"])
def test_schemas_may_be_named_by_words_of_sql(server, schema):
    with closing(running(create(open_store(f"{server.url}&schema={schema}")), 2)) as store:
        store.keeper.keep(["old"])
        assert store.search([Ask("old", vector(1)[None])], 1)[0].ids == ["i1"]
        assert store.size() > 0


def test_a_schema_that_somebody_else_made(server, admin):
    for step in (
        "CREATE DATABASE theirs",
        "REVOKE ALL ON DATABASE theirs FROM public",
        "CREATE ROLE app LOGIN",
        "GRANT CONNECT ON DATABASE theirs TO app",
    ):
        admin.execute(step)
    url = server.url.replace("/postgres?", "/theirs?")
    with psycopg.connect(url, autocommit=True) as theirs:
        for step in ("CREATE SCHEMA ext", "CREATE EXTENSION vector SCHEMA ext", "CREATE SCHEMA dba AUTHORIZATION app"):
            theirs.execute(step)
        address = f"{url.replace('user=postgres', 'user=app')}&schema=dba"
        with pytest.raises(InputError, match=r'expected GRANT USAGE ON SCHEMA "ext" TO "app"$'):
            create(open_store(address))
        theirs.execute('GRANT USAGE ON SCHEMA "ext" TO "app"')
        with closing(running(create(open_store(address)), 6)) as store:
            store.exchange(report(1), 0, 60.0)
            assert store.search([Ask("old", vector(2)[None])], 1)[0].ids == ["i2"]
            np.testing.assert_array_equal(store.gallery().old[0], vector(0))


@pytest.mark.parametrize("lock", ["LOCK TABLE {}.journal", "SELECT 1 FROM {}.journal FOR UPDATE"])
def test_who_blocks_a_step_is_told(opened, server, monkeypatch, lock):
    store = running(create(opened()), 2)
    during = store.journal()
    monkeypatch.setattr(postgres_link, "PAUSES", (0, 0))
    monkeypatch.setattr(postgres_link, "LOCAL", postgres_link.LOCAL.replace("'5s'", "'5ms'"))
    with psycopg.connect(f"{server.url}&application_name=analyst") as other:
        other.execute(lock.format(f'"{store.link.schema}"'))
        held = rf"lock timeout.*; held by process {other.info.backend_pid} \(analyst of postgres, idle in transaction, "
        with pytest.raises(OSError, match=held):
            store.put(item(1), during)
    store.put(item(1), store.journal())


@contextmanager
def standby(server):
    """A server that follows another, and is read only."""
    folder = server.folder / "standby"
    server._program("pg_basebackup", "-D", str(folder), "-h", str(server.folder), "-U", "postgres", "-R", "-c", "fast")
    settings = {"port": "5433", "listen_addresses": "", "unix_socket_directories": str(server.folder)}
    flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    command = [str(server.programs / "postgres"), "-D", str(folder), *flags]
    nowhere = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=nowhere, stderr=nowhere, **server._unprivileged())
    try:
        ready = ("pg_isready", "-q", "-h", str(server.folder), "-p", "5433")
        while server._program(*ready, check=False) and process.poll() is None:
            pass
        yield f"{server.url}&port=5433"
    finally:
        process.terminate()
        process.wait()


@pytest.mark.slow
def test_a_standby_answers_queries(server):
    with closing(running(create(open_store(f"{server.url}&schema=followed")), 40)) as store:
        store.exchange(report(1), 0, 60.0)
        follower: Any
        with standby(server) as url, closing(open_store(f"{url}&schema=followed")) as follower:
            follower.keeper.approximate = Approximate(10)
            found = follower.search([Ask("old", vector(2)[None]), Ask("new", new(1)[None])], 1)
            assert [part.ids for part in found] == [["i2"], ["i1"]]
            follower.keeper.keep(["old"])
            assert follower.journal() == store.journal()
            assert (follower.beats(60.0), follower.claims(), follower.counts().new) == ({}, {}, 1)
            assert follower.get("i3").content == "c3"
            with pytest.raises(InputError, match="read-only"):
                follower.beat("searcher", {"p99": 1.0})
