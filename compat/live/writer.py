"""Writes of an application during a migration: items are embedded as the phase requires, in one step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from compat.errors import InputError
from compat.live.checks import check_text
from compat.live.extraction import extract
from compat.live.items import Item, Journal, Work, new_version
from compat.live.models import Embed, Models
from compat.live.serving import new_model, old_model, transform_old
from compat.live.store import Conflict, Store


class Writer:
    """Writes items with the embeddings which the store's phase requires.

    Before a migration runs and after a rollback: the old embedding. While it runs: the new one (and with `dual` the old
    one), so these items count as migrated. During a rollback: both.

    Args:
        store: the store.
        models: models of the migration.
    """

    def __init__(self, store: Store, models: Models) -> None:
        self.store, self.models = store, models

    def put(self, id: str, content: str, meta: Mapping[str, Any] | None = None) -> Item:
        """Write an item, new or replacing one of this id; on return it is durable.

        Raises:
            InputError: an unreadable content, a model which does not answer or is not the migration's; an id or content
                which is not text.
        """
        check_text("id", id)
        check_text("content", content)
        while True:
            journal = self.store.journal()
            self.models.check(journal)
            item = self._embed(Item(id, content, meta or {}, new_version()), journal)
            try:
                self.store.put(item, journal)
            except Conflict:
                continue
            return item

    def describe(self, id: str, meta: Mapping[str, Any]) -> bool:
        """Replace the meta of an item; False if there is no such item."""
        return self.store.describe(id, meta)

    def delete(self, id: str) -> bool:
        """Delete an item; False if there is no such item."""
        return self.store.delete(id)

    def _embed(self, item: Item, journal: Journal) -> Item:
        upgrade = self.models.upgrade_for(journal.dim, journal.new_dim or 1)
        before = journal.phase in ("none", "planned", "rolled_back")
        dual = journal.dual and journal.phase != "finalized"  # no rollback is possible any more
        if before or journal.phase == "rolling_back" or dual:
            model = old_model(self.models, journal) if before else self.models.old
            item = item._replace(old=self._embed_one(model, item, "old", journal.dim))
        if journal.phase == "planned" and upgrade.transforms_gallery:
            item = item._replace(bridge=transform_old(upgrade, item.old[None])[0].numpy())  # type: ignore[index]
        if not before:
            item = item._replace(new=self._embed_one(new_model(self.models, journal), item, "new", journal.new_dim))
        return item

    def _embed_one(self, model: Embed | None, item: Item, name: str, dim: int) -> np.ndarray:
        if model is None:
            raise InputError(f"models.{name}: none, expected one, as the old embedding is written too")
        found = extract(model, [Work(item.id, item.version, item.content)], name, dim)
        if found.wrong:
            raise found.wrong
        if found.failed:
            raise InputError(
                f"content: {item.content!r} ({found.failed[0][2]}), expected one which the {name} model reads"
            )
        return found.done[0][2]
