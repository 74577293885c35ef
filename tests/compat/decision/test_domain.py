"""The share of pairs outside a gallery, against a loop and on planted domains."""

import numpy as np
import torch

from compat.decision.domain import FAR, share_outside


def slow_share(pairs, gallery) -> float:
    """Each item and pair by itself."""

    def nearest(row, others) -> float:
        return min(1 - float(row @ o) / float(row.norm() * o.norm()) for o in others)

    among = [nearest(row, [o for j, o in enumerate(gallery) if j != i]) for i, row in enumerate(gallery)]
    limit = np.quantile(among, FAR)
    return float(np.mean([nearest(row, gallery) > limit for row in pairs]))


def test_it_is_that_of_a_loop():
    random = torch.Generator().manual_seed(0)
    gallery, pairs = torch.randn(40, 6, generator=random), torch.randn(30, 6, generator=random)
    assert 0 < slow_share(pairs, gallery) < 1
    assert share_outside(pairs, gallery) == np.float32(slow_share(pairs, gallery))


def test_own_items_are_inside_another_domain_is_not_and_the_same_domain_is_near_a_twentieth():
    random = torch.Generator().manual_seed(1)
    drawn = torch.randn(1200, 8, generator=random)
    here, again, elsewhere = drawn[:400] + 3, drawn[400:800] + 3, drawn[800:] - 3
    assert share_outside(here[::2], here) == 0.0
    assert 0.02 < share_outside(again, here) < 0.1
    assert share_outside(elsewhere, here) == 1.0


def test_nothing_is_outside_a_gallery_of_one_item():
    assert share_outside(-torch.eye(3), torch.ones(1, 3)) == 0.0
