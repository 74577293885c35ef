"""Live backfill of a store: the replay's guarantees, kept while the store serves queries.

Names in `__all__` are imported on first use, so an operator's command does not wait for torch.
"""

from typing import TYPE_CHECKING

from compat.lazy import on_first_use

if TYPE_CHECKING:
    from compat.live.items import Item, Journal
    from compat.live.migration import Migration
    from compat.live.models import Embed, Images, Models, Rows
    from compat.live.open import open_store
    from compat.live.searcher import Hit, Searcher
    from compat.live.store import Store
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
PLACES = {
    **dict.fromkeys(("Item", "Journal"), "items"),
    **dict.fromkeys(("Embed", "Images", "Models", "Rows"), "models"),
    **dict.fromkeys(("Hit", "Searcher"), "searcher"),
    "Store": "store",
    "open_store": "open",
    "Migration": "migration",
    "Writer": "writer",
}

__getattr__, __dir__ = on_first_use(__name__, PLACES)
