"""The metrics of a curve, in one table. Your own metric is a class like the ones below.

Ties: at equal distance an irrelevant item counts as ranked before the relevant ones, so the rank of the j-th relevant
item is j plus the number of other items at its distance or closer. Average precision alone groups the items of one
distance, as scikit-learn does. So no figure depends on the order of the gallery's rows, and every backend gives the
same figures, however queries and gallery are divided. Every relevant item counts alike: grades are 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from compat.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from compat.engine.exact import Figures


class CurveMetric:
    """One figure of a query, between 0 and 1; a curve is its mean over the queries with a relevant item.

    Attributes:
        label: its name in tables and plots.
        higher_is_better: the direction.
        needs_ranks: whether `of` reads `Figures.ranks`, which take memory and time.
        of_a_system: whether one system alone has it; the flips compare two.
    """

    label = ""
    higher_is_better = True
    needs_ranks = False
    of_a_system = True

    def of(self, found: Figures) -> Tensor:
        """Compute the metric from the engine's ranks.

        Args:
            found: of Q queries, at T completion ratios in S orders.

        Returns:
            (S, T, Q); values of queries without a relevant item are ignored.
        """
        raise NotImplementedError


class MeanAveragePrecision(CurveMetric):
    """mAP: non-interpolated average precision, with all relevant items in the denominator."""

    label = "mAP"

    def of(self, found: Figures) -> Tensor:
        return found.average_precision


class CMC(CurveMetric):
    """CMC@k: whether the first relevant item has a rank of at most k; also called R@k where classes are retrieved.

    Args:
        k: cut-off.
        name: of the label.
    """

    def __init__(self, k: int = 1, name: str = "CMC") -> None:
        self.k, self.label = cut_off(k), f"{name}@{k}"

    def of(self, found: Figures) -> Tensor:
        return found.first_rank <= self.k


class NegativeFlips(CurveMetric):
    """The negative flip rate: whether the old system is right at rank 1 and this one is not."""

    label = "negative flip rate"
    higher_is_better = False
    of_a_system = False

    def of(self, found: Figures) -> Tensor:
        assert found.correct_before is not None
        return found.correct_before & (found.first_rank != 1)


class MRR(CurveMetric):
    """MRR: 1 / the rank of the first relevant item."""

    label = "MRR"

    def of(self, found: Figures) -> Tensor:
        return 1 / found.first_rank.double()


class RPrecision(CurveMetric):
    """R-precision: the share of relevant items among the first R, of R relevant items in the gallery."""

    label = "R-precision"
    needs_ranks = True

    def of(self, found: Figures) -> Tensor:
        return within(found, found.relevant[:, None]).sum(-1).double() / found.relevant


class MeanAveragePrecisionAtR(CurveMetric):
    """mAP@R: the sum of the precisions at the relevant items among the first R, divided by R."""

    label = "mAP@R"
    needs_ranks = True

    def of(self, found: Figures) -> Tensor:
        precision = numbers(found) / found.ranks.double()  # type: ignore[union-attr]
        return precision.where(within(found, found.relevant[:, None]), 0.0).sum(-1) / found.relevant


class NDCG(CurveMetric):
    """nDCG@k: the sum of 1 / log2(rank + 1) over the relevant items among the first k, over its largest possible value.

    Args:
        k: cut-off.
    """

    needs_ranks = True

    def __init__(self, k: int = 10) -> None:
        self.k, self.label = cut_off(k), f"nDCG@{k}"

    def of(self, found: Figures) -> Tensor:
        first = found._replace(ranks=found.ranks[..., : self.k])  # type: ignore[index]
        gain = (1 / (first.ranks.double() + 1).log2()).where(within(first, self.k), 0.0)  # type: ignore[union-attr]
        best = [0.0]
        for rank in range(1, self.k + 1):
            best.append(best[-1] + 1 / math.log2(rank + 1))
        return gain.sum(-1) / gain.new_tensor(best)[found.relevant.clamp_max(self.k)]


class Recall(CurveMetric):
    """Recall@k: the share of the gallery's relevant items among the first k.

    Args:
        k: cut-off.
    """

    needs_ranks = True

    def __init__(self, k: int = 10) -> None:
        self.k, self.label = cut_off(k), f"Recall@{k}"

    def of(self, found: Figures) -> Tensor:
        first = found._replace(ranks=found.ranks[..., : self.k])  # type: ignore[index]
        return within(first, self.k).sum(-1).double() / found.relevant


def within(found: Figures, k: Tensor | int) -> Tensor:
    """Return which relevant items are among the first k, (S, T, Q, P) bool."""
    assert found.ranks is not None
    return found.ranks <= k


def numbers(found: Figures) -> Tensor:
    """Return 1, 2, ... for the relevant items in their ranking, (P,)."""
    assert found.ranks is not None
    return found.ranks.new_ones(found.ranks.shape[-1]).cumsum(0)


def cut_off(k: int) -> int:
    """Return a cut-off.

    Raises:
        InputError: it is below 1.
    """
    if k < 1:
        raise InputError(f"k: {k}, expected at least 1")
    return k


CURVE_METRICS: dict[str, CurveMetric] = {
    "mean_ap": MeanAveragePrecision(),
    "cmc_1": CMC(1),
    "cmc_5": CMC(5),
    "negative_flip_rate": NegativeFlips(),
    "mrr": MRR(),
    "r_1": CMC(1, "R"),
    "r_precision": RPrecision(),
    "map_at_r": MeanAveragePrecisionAtR(),
    "ndcg_10": NDCG(10),
    "recall_10": Recall(10),
}
ALWAYS = ("mean_ap", "cmc_1", "cmc_5", "negative_flip_rate")  # measured whether or not they are asked for


def select_metrics(
    metrics: Iterable[str] | Mapping[str, CurveMetric], top_k: Iterable[int] = ()
) -> dict[str, CurveMetric]:
    """Select mAP, CMC at the cut-offs and negative flips, followed by the requested metrics.

    Raises:
        InputError: a name missing from the table.
    """
    found = {"mean_ap": CURVE_METRICS["mean_ap"], **{f"cmc_{k}": CMC(k) for k in top_k}}
    found["negative_flip_rate"] = CURVE_METRICS["negative_flip_rate"]
    if isinstance(metrics, Mapping):
        return {**found, **metrics}
    for name in [metrics] if isinstance(metrics, str) else metrics:
        if name not in CURVE_METRICS:
            raise InputError(f"metrics: {name!r}, expected some of {', '.join(CURVE_METRICS)}")
        found.setdefault(name, CURVE_METRICS[name])
    return found
