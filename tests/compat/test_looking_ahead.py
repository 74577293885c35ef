"""Learners that try to know what is not migrated yet: from memory, from queries, from an earlier order."""

import torch

from compat import Embeddings
from compat.experience import Learner, SeenItems, learning_curve
from compat.experience.seen import baseline, serve_baseline
from compat.progress import backfill_order
from tests.helpers.own_pairs import DIM, ITEMS, curve, gallery, learner, upgrade
from tests.helpers.pairs import normal

HANDED: list[SeenItems] = []


class Watching(Learner):
    """Notes what it is handed, and searches by what it was handed last."""

    def refit(self, seen, known):
        HANDED.append(seen)
        return serve_baseline(seen, known)._replace(gallery=seen.old * (1 + len(seen.migrated)))


class Greedy(Learner):
    """Looks for new embeddings of other items in the memory of what it is handed."""

    def refit(self, seen, known):
        for rows in (seen.new, seen.before, seen.old):
            behind = torch.empty(0, dtype=rows.dtype).set_(rows.untyped_storage())
            assert len(behind) <= rows.numel()
        assert len(seen.new) == len(seen.migrated) < len(seen.old)
        assert not set(vars(seen)) - {"old", "migrated", "new", "before"}
        return serve_baseline(seen, known)


class Collecting(Learner):
    """Keeps what it is handed, and queries too, which are the gallery here, to serve them at the next refit."""

    def __init__(self, old, new):
        super().__init__(old, new)
        self.known = torch.zeros(ITEMS, DIM)

    def refit(self, seen, known):
        self.known[seen.migrated] = seen.new
        items = torch.where(self.known.any(1)[:, None], self.known, seen.old)

        def query(old, new):
            self.known.copy_(new)
            items.copy_(new)
            return new

        return serve_baseline(seen, known)._replace(query=query, gallery=items)


class Forgetting(Collecting):
    """The same, and it is not there at the next moment."""

    def refit(self, seen, known):
        self.known = torch.zeros(ITEMS, DIM)
        served = super().refit(seen, known)
        return served._replace(query=lambda old, new: new, gallery=served.gallery.clone())


def test_nothing_that_is_not_migrated_changes_what_is_served():
    e = gallery(shared=True)
    order = backfill_order(ITEMS, 0)
    later = torch.from_numpy(order[int(0.4 * ITEMS) :].copy())
    other = e.gallery_new.index_copy(0, later, normal(len(later), DIM, seed=30))
    served = []
    for new in (e.gallery_new, other):
        rows = torch.from_numpy(order[: int(0.4 * ITEMS)].copy())
        serving = learner().refit(SeenItems(e.gallery_old, rows, new[rows]), baseline(upgrade()))
        served.append((serving.gallery, serving.passes))
    assert torch.equal(served[0][0], served[1][0])
    assert served[0][1] == served[1][1] == 1
    changed = Embeddings(e.query_old, e.query_new, e.gallery_old, other, *(e.query_labels, e.gallery_labels))
    HANDED.clear()
    for matrices in (e, changed):
        learning_curve(matrices, upgrade(), learner(Watching), [order], (0.4,), (0.4, 0.5))
    first, second = HANDED
    assert torch.equal(first.new, second.new)
    assert torch.equal(first.old, second.old)


def test_a_learner_that_looks_ahead_finds_nothing():
    e = gallery(shared=True)
    curve(e, Greedy)
    keeping, forgetting = (curve(e, kind, orders=2, refit=(0.05, 0.4, 0.6))[0] for kind in (Collecting, Forgetting))
    assert keeping.figures["mean_ap"].tolist() == forgetting.figures["mean_ap"].tolist()
