"""The relevant items of each query: one index behind labels and judgements.

The index is a CSR: of labels with a row for each class of the gallery, which all queries of the class share, of
judgements with a row for each query. So labels take no more memory than the gallery has items.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from compat.engine.exact import EngineGallery
from compat.engine.kernels import compiled


class RelevantIndex(NamedTuple):
    """A CSR of the gallery's items.

    Attributes:
        keys: (N,) ascending, what each row is known by: a label, or the row number of a query.
        indptr: (N + 1,) int64.
        items: (J,) int64.
        grades: (J,) int64, ascending in each row; empty for labels.
    """

    keys: np.ndarray
    indptr: np.ndarray
    items: np.ndarray
    grades: np.ndarray

    def spans(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where the items of these rows (Q,) start and stop; an unknown key has none."""
        at = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        return self.indptr[at], self.indptr[at + (self.keys[at] == keys)]


def relevant_index(gallery: EngineGallery) -> RelevantIndex:
    """Build the index of a gallery on the CPU, or of a shard."""
    if gallery.relevance is not None:
        judged = gallery.relevance
        arrays = (values.numpy() for values in (judged.indptr, judged.items, judged.grades))
        return RelevantIndex(np.arange(judged.shape[0]), *arrays)
    assert gallery.labels is not None
    labels = gallery.labels.numpy()
    items = np.argsort(labels, kind="stable")
    keys, starts = np.unique(labels[items], return_index=True)
    return RelevantIndex(keys, np.append(starts, len(items)), items, np.empty(0, np.int64))


@compiled
def list_items(of_items, of_grades, start, stop, groups, query_groups, items, grades, count):
    """List each query's items in its row of the index without those of its group, and their grades, if any."""
    for q in range(len(start)):
        n = 0
        for k in range(start[q], stop[q]):
            item = of_items[k]
            if groups[item] != query_groups[q]:
                items[q, n] = item
                if grades.shape[1] > 0:
                    grades[q, n] = of_grades[k]
                n += 1
        count[q] = n
