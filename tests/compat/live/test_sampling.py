"""Rows are drawn each as likely as the others, whatever gaps there are between them."""

from bisect import bisect_left

import numpy as np
import pytest
from scipy.stats import chisquare

from compat.live.sql import draw_rows


def of(rows):
    def after(row, limit):
        start = bisect_left(rows, row)
        return rows[start : start + limit]

    return after


@pytest.mark.parametrize(
    "rows",
    [list(range(50)), [*range(10), *range(1000, 1010)], list(range(0, 600, 12)), [5]],
    ids=["dense", "a gap", "sparse", "one"],
)
def test_each_row_is_as_likely(rows):
    counts = np.zeros(len(rows), int)
    for _ in range(3000):
        found = draw_rows(rows[0], rows[-1], 3, of(rows))
        assert len(set(found)) == len(found) <= 3
        for row in found:
            counts[rows.index(row)] += 1
    assert len(rows) < 3 or counts.sum() > 0.9 * 3 * 3000
    assert len(rows) == 1 or chisquare(counts).pvalue > 1e-4


def test_all_rows_are_drawn_where_there_are_no_more():
    assert sorted(draw_rows(3, 90, 10, of([3, 40, 90]))) == [3, 40, 90]
    assert draw_rows(0, 10**9, 5, of([0, 10**9])) in ([0], [10**9])
