"""Judged relevance: which items answer a query, and how well, where no label of the item says it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compat.errors import InputError, at_least_one, whole

MOST = 2**31 - 1  # the highest grade


class Relevance:
    """Sparse judgements: grades of some pairs of a query and an item of the gallery.

    A grade is a whole number, 0 for a pair judged and found irrelevant. A pair without a judgement counts as
    irrelevant. A pair may be given twice with one grade, and counts once. Metrics of relevant items alone count grades
    of `min_grade` and more; nDCG counts all of them.

    Args:
        queries: (J,) row numbers of the queries.
        items: (J,) row numbers of the gallery's items.
        grades: (J,) whole numbers of 0 and more; default: all 1.
        shape: numbers of queries and of items.
        min_grade: the lowest grade of a relevant item.

    Attributes:
        indptr: (Q + 1,) int64; the judgements of query q stand at indptr[q] : indptr[q + 1], by grade, then by item.
        items: (J,) int64.
        grades: (J,) int64.
        shape: (Q, G).
        min_grade: as given.

    Raises:
        InputError: unequal lengths, no judgement, a row out of range, a negative or fractional grade, a pair with two
            grades, a threshold above all grades.

    Example:
        >>> found = Relevance([0, 0, 1], [2, 0, 1], [1, 3, 2], shape=(2, 3))
        >>> found.indptr.tolist(), found.items.tolist(), found.grades.tolist()
        ([0, 2, 3], [2, 0, 1], [1, 3, 2])
    """

    def __init__(
        self, queries: Any, items: Any, grades: Any = None, *, shape: tuple[int, int], min_grade: int = 1
    ) -> None:
        query, item = _rows("queries", queries, shape[0]), _rows("items", items, shape[1])
        grade = np.ones(len(query), np.int64) if grades is None else whole_grades(grades)
        if not len(query) == len(item) == len(grade):
            sizes = f"{len(query)} queries, {len(item)} items and {len(grade)} grades"
            raise InputError(f"relevance: {sizes}, expected as many of each")
        try:
            kept = check_pairs(query, item, grade, shape[1])
        except OtherGrade as error:
            one, two = error.first, error.second
            found = f"{grade[two]} in row {two} for query {query[two]} and item {item[two]}, {grade[one]} in row {one}"
            raise InputError(f"grades: {found}, expected one grade for a pair") from None
        query, item, grade = query[kept], item[kept], grade[kept]
        check_min_grade(min_grade, grade)
        order = np.lexsort((item, grade, query))
        indptr = np.concatenate([[0], np.bincount(query, minlength=shape[0]).cumsum()])
        self.indptr, self.items, self.grades = (torch.from_numpy(v) for v in (indptr, item[order], grade[order]))
        self.shape, self.min_grade = (int(shape[0]), int(shape[1])), int(min_grade)

    @classmethod
    def of_labels(cls, query_labels: Any, gallery_labels: Any) -> Relevance:
        """Judge every pair of one label relevant, with grade 1, and no other.

        Args:
            query_labels: (Q,) integers.
            gallery_labels: (G,) integers.

        Raises:
            InputError: no label of a query is in the gallery.
        """
        query, gallery = np.asarray(query_labels), np.asarray(gallery_labels)
        by_label = np.argsort(gallery, kind="stable")
        start, stop = (np.searchsorted(gallery[by_label], query, side=side) for side in ("left", "right"))
        count = stop - start
        at = np.arange(count.sum()) + np.repeat(start - np.concatenate([[0], count.cumsum()[:-1]]), count)
        return cls(np.repeat(np.arange(len(query)), count), by_label[at], shape=(len(query), len(gallery)))

    @property
    def queries(self) -> Tensor:
        """(J,) the query of each judgement."""
        return torch.arange(self.shape[0], device=self.items.device).repeat_interleave(self.indptr.diff())

    @property
    def widest(self) -> int:
        """The largest number of judgements of a query."""
        return int(self.indptr.diff().max())

    def to(self, device: torch.device | str) -> Relevance:
        """Move the judgements to a device."""
        found = copy.copy(self)
        found.indptr, found.items, found.grades = (v.to(device) for v in (self.indptr, self.items, self.grades))
        return found

    def at_least(self, grade: int) -> Relevance:
        """Keep the judgements of this grade and more."""
        kept = self.grades >= grade
        if bool(kept.all()):
            return self
        return self._made(self.queries[kept], self.items[kept], self.grades[kept], self.shape)

    def subset(self, queries: Tensor | None = None, items: Tensor | None = None) -> Relevance:
        """Select queries and items by row numbers (N,), in their order.

        Raises:
            InputError: an item's row given twice.
        """
        found = self if queries is None else self._of_queries(queries.to(self.items.device))
        if items is None:
            return found
        rows = items.to(self.items.device)
        if len(rows.unique()) < len(rows):
            raise InputError("gallery: a row given twice, expected each item once under judgements")
        place = torch.full((self.shape[1],), -1, device=rows.device)
        place[rows] = torch.arange(len(rows), device=rows.device)
        numbers = (found.queries, place[found.items], found.grades)
        query, item, grade = (values[place[found.items] >= 0] for values in numbers)
        order = torch.from_numpy(np.lexsort([values.cpu().numpy() for values in (item, grade, query)])).to(rows.device)
        return self._made(query[order], item[order], grade[order], (found.shape[0], len(rows)))

    def _of_queries(self, queries: Tensor) -> Relevance:
        of, at = self._judgements(queries)
        return self._made(of, self.items[at], self.grades[at], (len(queries), self.shape[1]))

    def _judgements(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Return the judgements of these queries (N,): the place of each one's query among them, and its own place."""
        start, count = self.indptr[queries], self.indptr.diff()[queries]
        of = torch.arange(len(queries), device=queries.device).repeat_interleave(count)
        return of, torch.arange(len(of), device=of.device) - (count.cumsum(0) - count - start)[of]

    def dense(self, queries: Tensor) -> Tensor:
        """Return the grade of each pair for these queries (N,): (N, G) int64, -1 for a pair without a judgement."""
        of, at = self._judgements(queries)
        rows = torch.full((len(queries), self.shape[1]), -1, device=self.items.device)
        rows[of, self.items[at]] = self.grades[at]
        return rows

    def _made(self, query: Tensor, item: Tensor, grade: Tensor, shape: tuple[int, int]) -> Relevance:
        """Return checked and sorted judgements, of other numbers of queries and items."""
        found, count = copy.copy(self), query.bincount(minlength=shape[0])
        found.indptr = torch.cat([count.new_zeros(1), count.cumsum(0)])
        found.items, found.grades, found.shape = item, grade, shape
        return found


def check_min_grade(min_grade: int, grades: np.ndarray) -> None:
    """Raises InputError for no grade, or a threshold no grade reaches."""
    whole(min_grade=min_grade)
    at_least_one(min_grade=min_grade)
    if len(grades) == 0:
        raise InputError("relevance: no judgement, expected at least one")
    if min_grade > (highest := int(grades.max())):
        expected = f"at most {highest}, the highest grade" if highest else "a judgement with a grade of 1 or more"
        raise InputError(f"min_grade: {min_grade}, expected {expected}")


def whole_grades(grades: Any) -> np.ndarray:
    """Return grades (J,) as int64.

    Raises:
        InputError: a negative or fractional one, with its row.
    """
    found = np.asarray(grades)
    if found.ndim != 1 or found.dtype.kind not in "iuf":
        raise InputError(f"grades: {found.dtype} of shape {found.shape}, expected whole numbers, one a judgement")
    wrong = np.flatnonzero(~((found >= 0) & (found <= MOST) & (np.floor(found) == found)))
    if len(wrong):
        raise InputError(f"grades: {found[wrong[0]]:g} in row {wrong[0]}, expected a whole number of 0 or more")
    return found.astype(np.int64)


def _rows(name: str, rows: Any, count: int) -> np.ndarray:
    """Return row numbers (J,) as int64."""
    found = np.asarray(rows)
    if found.ndim != 1 or (found.dtype.kind not in "iu" and len(found)):
        raise InputError(f"{name}: {found.dtype} of shape {found.shape}, expected row numbers, one a judgement")
    wrong = np.flatnonzero((found < 0) | (found >= count))
    if len(wrong):
        raise InputError(f"{name}: {found[wrong[0]]} in row {wrong[0]}, expected 0 to {count - 1}")
    return found.astype(np.int64)


def check_pairs(query: np.ndarray, item: np.ndarray, grade: np.ndarray, items: int) -> np.ndarray:
    """Return the rows of each pair's first judgement, ascending.

    Args:
        query: (J,) row numbers.
        item: (J,) likewise.
        grade: (J,).
        items: number of items.

    Raises:
        OtherGrade: a pair with two grades.
    """
    pair = query * items + item
    order = np.argsort(pair, kind="stable")
    again = np.flatnonzero(pair[order[1:]] == pair[order[:-1]])
    first, second = order[again], order[again + 1]
    other = np.flatnonzero(grade[first] != grade[second])
    if len(other):
        at = other[np.argmin(second[other])]
        raise OtherGrade(int(first[at]), int(second[at]))
    kept = np.ones(len(pair), bool)
    kept[second] = False
    return np.flatnonzero(kept)


class OtherGrade(ValueError):
    """A pair judged in two rows with different grades."""

    def __init__(self, first: int, second: int) -> None:
        self.first, self.second = first, second
