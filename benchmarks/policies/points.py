"""Results of an experiment on policies as points of a plot. Needs no torch."""

from __future__ import annotations

from benchmarks.policies.recipes import NAMES
from benchmarks.policies.summary import EXPERT, RANDOM, Name, StudyResults, interval
from benchmarks.policies.tables import KINDS
from compat.plots.policies import PolicyPoint


def panels(found: StudyResults) -> dict[str, list[PolicyPoint]]:
    """Return a panel for each environment: policies above the best heuristic of their training environments."""
    drawn: dict[str, list[PolicyPoint]] = {}
    for data, setting in found.environments:
        points = []
        for fold in (fold for fold in found.folds if fold.data == data):
            where = KINDS[fold.kind].lower()
            rows: list[tuple[str, str, Name]] = [(RANDOM, "", lambda _: RANDOM), (EXPERT, "", lambda _: EXPERT)]
            for family in found.settings.families:
                rows += [(NAMES[method], family, found.recipe(fold, family, method)) for method in NAMES]
            for row, family, name in rows:
                above = interval([found.above_heuristic(fold, name, [setting])])
                if above is not None:
                    points.append(PolicyPoint(row, where, family, above))
        if points:
            drawn[f"{data}, {setting}"] = points
    return drawn
