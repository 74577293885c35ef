"""The metrics of a curve, in one table. Your own metric is a class like the ones below.

Ties: at equal distance an irrelevant item counts as ranked before the relevant ones, so the rank of the j-th relevant
item is j plus the number of other items at its distance or closer. Of judged items (`compat.relevance`) at one
distance the lower grade is ranked first, after those without a judgement. Average precision alone groups the items of
one distance, as scikit-learn does. So no figure depends on the order of the gallery's rows, and every backend gives
the same figures, however queries and gallery are divided.

Grades: an item is relevant from the grade `Relevance.min_grade` on, and every relevant item counts alike but in nDCG,
whose gain is the grade. An item without a judgement is irrelevant. By labels every relevant item has the grade 1.
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
        needs_reach: whether `of` reads `Figures.reach`, likewise.
        lowest_grade: of the judged items whose `Figures.reach` and `grades` it reads under judgements; None: it reads
            neither.
        of_a_system: whether one system alone has it; the flips compare two.
    """

    label = ""
    higher_is_better = True
    needs_ranks = False
    needs_reach = False
    lowest_grade: int | None = None
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


class Lost(CurveMetric):
    """Lost in the top k: the share of the relevant items among the old first k that are not among the first k now.

    The old first k are those of the old system alone, as of the negative flips, where `before` names it, and else those
    at the first completion ratio. An item is among the first k if at most k items are at its
    distance or closer. A query without a relevant item among the old first k loses none.

    Args:
        k: cut-off.
    """

    higher_is_better = False
    needs_reach = True
    of_a_system = False

    def __init__(self, k: int = 10) -> None:
        self.k, self.label = cut_off(k), f"lost in the top {k}"

    def of(self, found: Figures) -> Tensor:
        assert found.reach is not None
        assert found.reach_before is not None
        shown = found.reach_before <= self.k
        lost = (shown & (found.reach > self.k)).sum(-1)
        return lost.double() / shown.sum(-1).clamp_min(1)


class MRR(CurveMetric):
    """MRR: 1 / the rank of the first relevant item; MRR@k: 0 if that rank is beyond k (MS MARCO's, with k = 10).

    Args:
        k: cut-off; default: none.
    """

    def __init__(self, k: int | None = None) -> None:
        self.k, self.label = None if k is None else cut_off(k), "MRR" if k is None else f"MRR@{k}"

    def of(self, found: Figures) -> Tensor:
        inverse = 1 / found.first_rank.double()
        return inverse if self.k is None else inverse.where(found.first_rank <= self.k, 0.0)


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
        return added(precision.where(within(found, found.relevant[:, None]), 0.0)) / found.relevant


class MeanAveragePrecisionAt(CurveMetric):
    """mAP@k: the sum of the precisions at the relevant items among the first k, over the number of relevant items.

    As trec_eval's map_cut_k; `compat.topk` divides by k where more items are relevant.

    Args:
        k: cut-off.
    """

    needs_ranks = True

    def __init__(self, k: int = 10) -> None:
        self.k, self.label = cut_off(k), f"mAP@{k}"

    def of(self, found: Figures) -> Tensor:
        first = found._replace(ranks=found.ranks[..., : self.k])  # type: ignore[index]
        precision = numbers(first) / first.ranks.double()  # type: ignore[union-attr]
        return added(precision.where(within(first, self.k), 0.0)) / found.relevant


class Precision(CurveMetric):
    """P@k: the share of relevant items among the first k, of k (trec_eval's P_k).

    Args:
        k: cut-off.
    """

    needs_ranks = True

    def __init__(self, k: int = 10) -> None:
        self.k, self.label = cut_off(k), f"P@{k}"

    def of(self, found: Figures) -> Tensor:
        first = found._replace(ranks=found.ranks[..., : self.k])  # type: ignore[index]
        return within(first, self.k).sum(-1).double() / self.k


class Judged(CurveMetric):
    """Judged@k: the share of items with a judgement, be it 0, among the first k; by labels 1, as all are known.

    Where it is low, the other figures say little of the items found: each one without a judgement counts as irrelevant.

    Args:
        k: cut-off.
    """

    lowest_grade = 0

    def __init__(self, k: int = 10) -> None:
        self.k, self.label = cut_off(k), f"judged@{k}"

    def of(self, found: Figures) -> Tensor:
        if found.grades is None:
            return found.first_rank.new_ones(found.first_rank.shape).double()
        one = found.average_precision.new_ones(found.grades.shape)
        return sum_of_judged(found, one, self.lowest_grade, [1.0] * self.k) / self.k


class NDCG(CurveMetric):
    """nDCG@k: the sum of gain / log2(rank + 1) over the relevant items among the first k, over its largest value.

    The gain is the grade, by labels 1 (trec_eval's ndcg_cut; Jarvelin and Kekalainen, ACM TOIS 2002). All grades of 1
    and more count, whatever the lowest grade of a relevant item is.

    Args:
        k: cut-off.
    """

    needs_ranks = True
    lowest_grade = 1

    def __init__(self, k: int = 10) -> None:
        self.k, self.label = cut_off(k), f"nDCG@{k}"

    def of(self, found: Figures) -> Tensor:
        discount = [1 / math.log2(rank + 1) for rank in range(1, self.k + 1)]
        if found.grades is None:
            assert found.ranks is not None
            first = found.ranks[..., : self.k].clamp_max(self.k + 1).long()
            worth = found.average_precision.new_tensor([0.0, *discount, 0.0])
            best = found.relevant[:, None] > found.relevant.new_tensor(range(self.k))
            return added(worth[first]) / added(best * worth[1:-1])
        gain = found.grades.clamp_min(0).double()
        best = gain.sort(1, descending=True).values[:, : self.k]
        gained = sum_of_judged(found, gain, self.lowest_grade, discount)
        return gained / added(best * gain.new_tensor(discount[: best.shape[1]]))


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


def sum_of_judged(found: Figures, gains: Tensor, least: int, discount: list[float]) -> Tensor:
    """Add up gain times discount of rank 1, 2, ... over the items judged with this grade and more, (S, T, Q)."""
    from compat.engine.graded import sum_of_first  # imports torch and numba

    assert found.reach is not None
    assert found.grades is not None
    return sum_of_first(found.reach, found.grades, gains, least, gains.new_tensor([0.0, *discount]))


def added(values: Tensor) -> Tensor:
    """Add up the last axis from left to right, so that zeros at its end change no digit."""
    return values.cumsum(-1)[..., -1] if values.shape[-1] else values.sum(-1)


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
    "mrr_10": MRR(10),
    "map_10": MeanAveragePrecisionAt(10),
    "precision_10": Precision(10),
    "lost_10": Lost(10),
    "judged_10": Judged(10),
}
ALWAYS = ("mean_ap", "cmc_1", "cmc_5", "negative_flip_rate")  # measured whether or not they are asked for
USUAL = ("mrr", "r_1", "r_precision", "map_at_r", "ndcg_10", "recall_10")  # unless a config or command names others
UNDER_JUDGEMENTS = (*USUAL, "mrr_10", "map_10", "lost_10", "judged_10")  # likewise, where judgements replace labels


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
