"""The share of a gallery without a pair near, on planted domains and against a loop."""

import numpy as np
import pytest
import torch

from compat.decision import domain
from compat.decision.domain import NEAR, share_uncovered


def slow_share(asked, others, pairs) -> float:
    """Each item by itself."""

    def nearest(row, some) -> float:
        return min(1 - float(row @ o) / float(row.norm() * o.norm()) for o in some)

    limit = np.quantile([nearest(row, others) for row in asked], NEAR)
    return float(np.mean([nearest(row, pairs) > limit for row in asked]))


@pytest.mark.parametrize("count", [12, 30])
def test_it_is_that_of_a_loop(monkeypatch, count):
    monkeypatch.setattr(domain, "_drawn", lambda rows: rows)
    random = torch.Generator().manual_seed(0)
    gallery, pairs = torch.randn(40, 6, generator=random), torch.randn(count, 6, generator=random) + 1
    as_many = min(count, 20)
    expected = slow_share(gallery[:20], gallery[20 : 20 + as_many], pairs[:as_many])
    assert 0 < expected < 1
    assert share_uncovered(pairs, gallery) == np.float32(expected)


def test_one_domain_is_covered_another_is_not_and_half_of_the_classes_are_between():
    random = torch.Generator().manual_seed(1)
    drawn, far = torch.randn(1600, 8, generator=random), 6 * torch.eye(8)
    here, again = drawn[:400] + far[0], drawn[400:800] + far[0]
    assert share_uncovered(here[::2], here) < 0.1
    assert share_uncovered(again, here) < 0.15
    assert share_uncovered(drawn[800:1200] + far[1], here) > 0.95
    both = torch.cat([here, drawn[1200:] + far[2]])
    assert 0.4 < share_uncovered(again, both) < 0.65


def test_a_gallery_of_one_item_tells_nothing():
    assert share_uncovered(-torch.eye(3), torch.ones(1, 3)) == 0.0
