"""The ways through a backfill from embeddings alone, and their descriptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from compat.decision import Effort

SWITCH = "wait and switch"
METHODS = {
    SWITCH: "The old system serves until the new model has encoded every item; then the new one takes over at once.",
    "independent": "Both models encode each query. Migrated items are searched with the new model, the others with "
    "the old one, and the two lists are merged.",
    "own_calibration": "Both models encode each query. A calibration learned from the items migrated so far puts "
    "their distances on one scale.",
    "own_back": "At first both models encode each query. After enough migrated items only the new one does, and a "
    "learned map translates the query to the old model's space for the other items.",
    "own_forward": "At first both models encode each query. After enough migrated items only the new one does, and "
    "the other items are searched by predictions of their new embeddings, which are rewritten from time to time.",
    "procrustes": "Only the new model encodes queries. For unmigrated items a rotation learned from the training "
    "pairs translates the query to the old model's space.",
    "affine": "Only the new model encodes queries. For unmigrated items a linear map learned from the training pairs "
    "translates the query to the old model's space.",
    "kernel_gallery": "Only the new model encodes queries. Before the backfill a smooth map learned from the "
    "training pairs translates every old embedding to the new model's space.",
}
ORDERS = {
    "random": "in random order",
    "density": "the items with the nearest neighbours in the old space first",
    "clusters": "one cluster of similar items after the other",
    "scores": "the items with your highest scores first",
    "yours": "in your own order",
}
RULES = {
    "raw": "by raw distances",
    "reciprocal_rank": "by the rank in each list",
    "z_score": "by z-scores of distances, fitted on the training pairs",
    "quantile": "by quantiles of distances, fitted on the training pairs",
    "query_z_score": "by each query's z-scores of distances, from a sample of migrated items kept in both spaces",
}


@dataclass(frozen=True)
class MethodCurves:
    """A method with its order and merge rule, and its figures for each query.

    Attributes:
        method: its name.
        order: of the items.
        rule: of the merge.
        effort: of the way.
        values: (Q, T) of each query at each completion ratio, between 0 and 1: average precision, or without labels
            the share of the new system's results.
        correct: (Q, T) share of the orders in which the query is answered correctly at rank 1.
        rewritten: mean number of additional writes per item.
        figures: name of a metric -> (T,) mean over all evaluated queries; empty without labels.
    """

    method: str
    order: str
    rule: str
    effort: Effort
    values: np.ndarray
    correct: np.ndarray
    rewritten: float = 0.0
    figures: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The method, with order and rule unless they are the default ones."""
        others = [self.order] if self.order not in ("random", "") else []
        return " + ".join([self.method, *others, *([self.rule] if self.rule not in ("raw", "learned", "") else [])])

    def areas(self, progress: np.ndarray) -> np.ndarray:
        """Return the area under each query's curve over progress, (Q,)."""
        v = self.values
        return ((v[:, 1:] + v[:, :-1]) / 2 * np.diff(progress)).sum(1) / (progress[-1] - progress[0])

    def words(self, more: Mapping[str, str]) -> str:
        """Describe it in sentences; `more` has descriptions of further methods."""
        text = more.get(self.method) or METHODS.get(self.method) or f"The method {self.method}."
        if self.method == SWITCH:
            return text
        rule = "" if self.rule == "learned" else f"; the lists are merged {RULES[self.rule]}"
        return f"{text} Items are migrated {ORDERS[self.order]}{rule}."


def glossary(ways: Sequence[MethodCurves], more: Mapping[str, str]) -> list[str]:
    """Explain the names in a table of ways, each once."""
    found = [f"{name}: {more.get(name) or METHODS.get(name, '')}" for name in dict.fromkeys(w.method for w in ways)]
    found += [f"{name} (order): {ORDERS[name]}." for name in dict.fromkeys(w.order for w in ways) if name]
    rules = dict.fromkeys(w.rule for w in ways if w.rule in RULES)
    return [*found, *(f"{name} (merge): {RULES[name]}." for name in rules)]
