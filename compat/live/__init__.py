"""Backfilling a real store while it serves: the replay's promises kept live."""

from compat.live.items import Item, Journal
from compat.live.migration import Migration
from compat.live.models import Embed, Images, Models, Rows
from compat.live.searcher import Hit, Searcher
from compat.live.store import Store, open_store
from compat.live.writer import Writer

__all__ = [
    "Embed",
    "Hit",
    "Images",
    "Item",
    "Journal",
    "Migration",
    "Models",
    "Rows",
    "Searcher",
    "Store",
    "Writer",
    "open_store",
]
