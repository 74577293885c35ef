"""Items that no store holds, whatever it is made of."""

import pytest

from compat.errors import InputError
from compat.live import Item, Journal, Writer
from compat.live.checks import check_item
from tests.helpers.live_galleries import made, models


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (Item("", "a", {}), "id: '' is empty, expected a name"),
        (Item("a\ud800", "a", {}), r"id: 'a\\ud800' is not UTF-8, expected text"),
        (Item("a\0b", "a", {}), r"id: 'a\\x00b' has a NUL"),
        (Item("a", "a\0", {}), r"content: 'a\\x00' of item 'a' has a NUL"),
        (Item("a", "a", {"lang": ["a\0"]}), "meta: of item 'a' has a NUL"),
        (Item("a", "a", {"la\0": 1}), "meta: of item 'a' has a NUL"),
        (Item("a", "\udcff", {}), r"content: '\\udcff' of item 'a' is not UTF-8, expected text"),
    ],
)
def test_ids_contents_and_meta_are_text_that_all_stores_hold(item, message):
    check_item(Item("naïve", "", {"lang": "\\u0000", "\\\\u0000": "\n"}), Journal(2, "cosine"))
    with pytest.raises(InputError, match=message):
        check_item(item, Journal(2, "cosine"))


def test_a_writer_writes_no_item_without_a_name(tmp_path):
    store = made(tmp_path / "gallery.db")
    before = store.counts()
    with pytest.raises(InputError, match="id: ''"):
        Writer(store, models()).put("", "item 1")
    assert store.counts() == before
    store.close()
