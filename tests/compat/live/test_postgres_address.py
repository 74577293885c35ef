"""Addresses of stores: read as libpq reads them, and of no password is anything shown."""

import pytest

from compat.errors import InputError
from compat.live import open_store

psycopg = pytest.importorskip("psycopg")
from compat.live.postgres.address import parse  # noqa: E402

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:pa#ss@/db?host=/tmp",
        "postgresql://app:pa?ss@host:5433/db",
        "postgres://app:p%40s%2Fs+x@host/db?options=-c%20statement_timeout%3D60000%20-c%20jit%3Doff",
        "postgresql://one:1,[::1]:2/db?application_name=a+b&user=me@server",
        "postgresql:///?service=x",
        "postgresql://",
    ],
)
def test_parameters_arrive_as_libpq_reads_them(url):
    expected = psycopg.conninfo.conninfo_to_dict(url)
    begun = "?" in url.replace("pa?ss", "")
    for schema, given in [("compat", url), ("s", url + ("&" if begun else "?") + "schema=s")]:
        found = parse(given)
        assert found.schema == schema
        assert {name: found.parameters.get(name) for name in expected} == expected


def test_the_last_schema_of_several_is_taken():
    found = parse("postgresql://h/db?schema=a&sche%6da=order&user=u")
    assert (found.schema, found.parameters["user"]) == ("order", "u")


def test_what_an_address_says_of_time_and_encoding():
    found = parse("postgresql://h/db?connect_timeout=3&client_encoding=latin1").parameters
    assert (found["connect_timeout"], found["client_encoding"], found["keepalives_idle"]) == ("3", "UTF8", "60")


@pytest.mark.parametrize(
    "url",
    [
        f"postgresqls://bob:{SECRET}@host/db",
        f"mysql://bob:{SECRET}@host/db",
        f"bob:{SECRET}@host/db",
        f"{SECRET}@x://host",
        f"postgresql://bob:{SECRET}%zz@host/db",
        f"postgresql://bob:{SECRET}@[::1/db",
        f"postgresql://bob:{SECRET}@[::1",
        f"postgresql://bob:a@{SECRET}@host/db",
        f"postgresql://bob:a/{SECRET}@host/db",
        f"postgresql://bob:{SECRET}/db",
        f"postgresql://bob:a/b?{SECRET}@host/db",
        f"postgresql://bob:a@host/db?{SECRET}=x",
        f"postgresql://bob:{SECRET}%00@host/db",
        f"postgresql://bob:{SECRET}@/db?host=/nowhere",
        f"postgresql://bob:{SECRET}@127.0.0.1:1/db",
        f"postgresql://bob@127.0.0.1:1/db?password={SECRET}&sslmode=none",
        f"postgresql:/bob:{SECRET}@127.0.0.1:1/db",
    ],
)
def test_no_part_of_a_password_is_shown(url):
    with pytest.raises(InputError, match=r"^store: [^\n]+, expected|^store: [^\n]+; expected") as error:
        open_store(url).journal()
    assert SECRET not in str(error.value)
    assert error.value.__cause__ is None or SECRET not in str(error.value.__cause__)


@pytest.mark.parametrize(
    "url", [f"qdrant://:{SECRET}@127.0.0.1:1/name", f"qdrant://:{SECRET}@host", f"qdrantx://a:{SECRET}@h:1/name"]
)
def test_nor_of_a_qdrant(url):
    pytest.importorskip("qdrant_client")
    with pytest.raises(InputError, match=r"^store: [^\n]+, expected") as error:
        open_store(url).journal()
    assert SECRET not in str(error.value)
