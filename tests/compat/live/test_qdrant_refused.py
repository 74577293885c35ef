"""Addresses of Qdrants, what is refused there, and what is to be tried again."""

import os
import sys
from unittest import mock

import pytest

from compat.errors import InputError
from compat.live.open import open_store
from compat.live.store import Ask
from tests.helpers.live_stores import create, item, new, report, running, vector

pytest.importorskip("qdrant_client")

from compat.live.qdrant.connection import Busy, QdrantConnection, Refused, models
from tests.helpers.qdrant_moments import in_folder, on_both

needs_stand = pytest.mark.skipif("QDRANT_URL" in os.environ, reason="a server does not break when it is told to")
ASKS = [Ask("old", vector(0)[None]), Ask("new", new(0)[None])]


@pytest.fixture
def adapter(request) -> str:
    return request.param


@pytest.mark.parametrize(
    "url",
    ["qdrant://", "qdrant://host", "qdrant://host/name", "qdrant://host:1/", "qdrant://:1/name", "qdrant://h:x/name",
     "qdrant://host:1/a/b", "qdrant:///", "qdrantx://host:1/name", "qdrant://host:99999/name"],
)  # fmt: skip
def test_other_addresses_are_refused(url):
    with pytest.raises(InputError, match=r"^store: .*, expected qdrant://host:port/collection or qdrant:///folder/co"):
        open_store(url)


def test_addresses():
    assert QdrantConnection("qdrant:////folder/name").address == "/folder"
    assert QdrantConnection("qdrant:///folder/name").address == os.path.abspath("folder")
    assert QdrantConnection("qdrants://host:6333/name").address == "https://host:6333"
    assert (
        QdrantConnection("qdrant://host:6333/name").address,
        QdrantConnection("qdrant://host:6333/name").collection,
    ) == (
        "http://host:6333",
        "name",
    )


def told(url) -> str:
    with pytest.raises(InputError) as error:
        open_store(url).journal()
    assert "\n" not in str(error.value)
    return str(error.value)


@needs_stand
def test_what_does_not_answer_is_told_in_one_line(stand):
    assert "expected a Qdrant server" in told("qdrant://127.0.0.1:1/name")
    assert "expected one made by `init`" in told(f"{stand.url}/name")
    stand.version = "1.17.9"
    assert "Qdrant 1.17.9" in told(f"{stand.url}/name")
    stand.broken = 500
    assert "expected a Qdrant server" in told(f"{stand.url}/name")


@needs_stand
def test_a_server_that_is_away_is_to_be_tried_again(stand):
    store = running(create(open_store(f"{stand.url}/name")), 2)
    stand.broken = 503
    with pytest.raises(OSError, match="503"):
        store.exchange(report(0), 1, 60.0)
    stand.broken = 429
    with pytest.raises(Busy) as error:
        store.counts()
    assert error.value.retry_after == 3
    stand.broken = 0
    assert store.exchange(report(0), 1, 60.0).written == 1


@needs_stand
def test_writes_wait_and_reads_ask_the_majority(stand):
    store = running(create(open_store(f"{stand.url}/name"), "cosine"), 2)
    store.exchange(report(0), 2, 60.0)
    store.put(item(1, new=new(1)), store.journal())
    store.search(ASKS, 3)
    store.sample(1)
    store.delete("i0")
    writes = [a for a in stand.asked if "/points" in a and not a.startswith("POST /collections/name/points?")]
    asked = [a for a in stand.asked if "/points" in a and "/count" not in a]
    reads = [a for a in asked if "consistency=majority" in a]
    assert len(reads) > 10
    assert all("wait=true" in a and "ordering=strong" in a for a in asked if a not in reads)
    assert len(writes) > 10


def test_a_folder_of_none_or_of_another_process_is_told_in_one_line(tmp_path):
    assert "expected one made by `init`" in told(f"qdrant:///{tmp_path}/none/name")
    assert not (tmp_path / "none").exists()
    with mock.patch("compat.live.qdrant.connection.QdrantClient", side_effect=RuntimeError("already accessed")):
        assert "expected one process at a time" in told(f"qdrant:///{tmp_path}/name")


@on_both
def test_a_collection_of_something_else_is_left_alone(url, opened):
    link = QdrantConnection(url)
    link.open(make=True)
    params = models.VectorParams(size=3, distance=models.Distance.DOT)
    link("create_collection", link.collection, vectors_config=params)
    try:
        assert "one vector without a name" in told(url)
        with pytest.raises(InputError, match="is a collection, expected a new one"):
            create(opened())
        link("delete_collection", link.collection)
        link("create_collection", link.collection, vectors_config={"text": params})
        assert "without a journal" in told(url)
        assert list(link("get_collection", link.collection).config.params.vectors) == ["text"]
    finally:
        link("delete_collection", link.collection)
        link.close()


@on_both
def test_making_a_store_that_was_cut_short_is_done_again(opened):
    dying = opened()
    with (
        mock.patch.object(dying.journals, "_write_note", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        create(dying)
    with pytest.raises(InputError, match="init"):
        opened().journal()
    create(opened())
    assert opened().counts().total == 0


def test_a_missing_package_is_told_in_one_line():
    ours = [name for name in sys.modules if name.startswith("compat.live.qdrant")]
    with mock.patch.dict(sys.modules, {"qdrant_client": None}):
        for name in ours:
            del sys.modules[name]
        with pytest.raises(InputError, match=r"pip install compat-bench\[qdrant\]$"):
            open_store("qdrant://host:6333/name")


@in_folder
def test_a_request_that_fits_nothing_is_told(store):
    with pytest.raises(Refused, match="expected an accepted request"):
        store.link("retrieve", "nowhere", [1])
