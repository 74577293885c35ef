"""Who a PostgreSQL server does not let in, and what it does not take: one line each."""

from contextlib import closing

import numpy as np
import pytest

from compat.errors import InputError
from compat.live import open_store
from tests.helpers.live_stores import create, item, running

psycopg = pytest.importorskip("psycopg")


@pytest.fixture
def adapter():
    return "postgres"


def refused(url):
    """What a store at an address that is none says."""
    with pytest.raises(InputError, match=r"^[^\n]+$") as error, closing(open_store(url)) as store:
        create(store)
    return str(error.value)


def test_who_is_not_let_in_is_told_so_in_a_line(server):
    assert "Connection refused" in refused("postgresql://localhost:1/nothing")
    assert "No such file" in refused("postgresql:///nothing?host=/nowhere")
    assert "does not exist" in refused(server.url.replace("/postgres?", "/nothing?"))
    assert "query parameter" in refused(f"{server.url}&colour=red")
    for schema in ("a-b", "A", "", "x; DROP TABLE items", '"x"', "a" * 64):
        with pytest.raises(InputError, match="schema"):
            open_store(f"postgresql:///postgres?schema={schema}")


def test_a_wrong_password_is_not_shown(server):
    rules = server.data / "pg_hba.conf"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
        before = rules.read_text()
        try:
            rules.write_text(f"local all guarded scram-sha-256\n{before}")
            connection.execute("SELECT pg_reload_conf()")
            url = server.url.replace("user=postgres", "user=guarded&password=secret")
            message = next(m for _ in range(100) if "authentication" in (m := refused(f"{url}&schema=guarded")))
            assert "secret" not in message
        finally:
            rules.write_text(before)


def test_without_pgvector_or_the_right_to_make_it(server):
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE without")
        connection.execute("ALTER DATABASE without SET extension_control_path = '/nowhere'")
        connection.execute("CREATE DATABASE foreign_one")
        connection.execute("CREATE ROLE guest LOGIN")
    assert "pgvector" in refused(server.url.replace("/postgres?", "/without?"))
    url = server.url.replace("/postgres?", "/foreign_one?").replace("user=postgres", "user=guest")
    assert "denied" in refused(url)


def test_what_no_text_may_hold_is_refused_in_a_line(opened):
    store = running(create(opened()), 1)
    for wrong in (item(1, id="a\0b"), item(1, content="\0"), item(1, meta={"lang": "\0"})):
        for write in (lambda i=wrong: store.add([i]), lambda i=wrong: store.put(i, store.journal())):
            with pytest.raises(InputError, match=r"^[^\n]+$"):
                write()
    assert store.counts().total == 1


def test_half_a_vector_is_no_vector(opened):
    """What binary travel keeps: every bit, the dimension, the sign of zero."""
    store = create(opened())
    rows = np.array([[0.0, -0.0, 1e-45, 3e38], [1 / 3, -2, 7, 1e-20]], np.float32)
    store.add(item(n, old=row) for n, row in enumerate(rows))
    assert store.gallery().old.tobytes() == rows.tobytes()
