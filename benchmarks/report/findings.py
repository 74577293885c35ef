"""The findings of a report, before they are put into words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from compat.decision import Decision
from compat.decision.agreement import Agreement
from compat.decision.calendar import Alternative, MigrationSize
from compat.decision.calibration import Calibration
from compat.decision.losers import Fall, ProgressLosses
from compat.statistics import Interval


class CurveLine(NamedTuple):
    """A curve over progress, (T,) each, with a band of its mean if there is one."""

    name: str
    progress: np.ndarray
    mean: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


class Tried(NamedTuple):
    """A measured way.

    Attributes:
        name: of the way.
        words: description.
        area: mean mAP over the backfill, on the reporting queries.
        chosen_by: likewise on the choosing queries; NaN without any.
        passes: encoder passes per query.
        rewritten: mean number of additional writes per item.
    """

    name: str
    words: str
    area: Interval
    chosen_by: float
    passes: int
    rewritten: float


class NamedFigures(NamedTuple):
    """A system or a way, and its figures by the names of their metrics."""

    name: str
    figures: Mapping[str, float]


class Loss(NamedTuple):
    """A query or a class with a lower precision, with its name, and images if given."""

    fall: Fall
    name: str
    images: list[Path]


@dataclass(frozen=True)
class Findings:
    """The findings of a report; missing ones are empty.

    Attributes:
        name: of the upgrade.
        facts: terms and values: sizes, settings.
        labelled: whether figures use labels; without them they are shares of the new system's results.
        least: smallest gain worth an upgrade.
        decision: about the new model; None without labels, or without an interval.
        unit: sampling unit of the interval.
        old: mAP of the old system.
        new: mAP of the new one.
        chosen: place of the recommended way in `ways`.
        ways: all measured ways, the best first.
        glossary: meaning of the ways' names, in sentences.
        split: how choice and report were kept apart, in a sentence.
        lines: curves to draw, the recommended way first.
        alternatives: to the backfill.
        gallery: the real one.
        others: both systems and all ways by other metrics than mAP, as means over all queries.
        measured: data behind the curves, if other than behind the verdict, in a sentence.
        lower: classes ending lower than they began, in a sentence, where it matters.
        reached: progress and the share of the gain reached there.
        lowest: the moment of the lowest mAP on the way.
        lost: the moment with most queries worse off.
        classes: those falling most then.
        queries: likewise.
        calibration: of the two spaces.
        own: gains from the gallery's own pairs, in sentences.
        proxies: shares of the new system's results already shown, in sentences.
        agreement: of this report with itself, from halves of the queries.
        warnings: in sentences.
        notes: on the method of this report, in sentences.
    """

    name: str
    facts: list[tuple[str, str]]
    labelled: bool
    least: float
    decision: Decision | None
    unit: str
    old: float
    new: float
    chosen: int
    ways: list[Tried]
    glossary: list[str]
    split: str
    lines: list[CurveLine]
    alternatives: list[Alternative]
    gallery: MigrationSize
    others: list[NamedFigures] = field(default_factory=list)
    measured: str = ""
    lower: str = ""
    reached: list[tuple[float, float]] = field(default_factory=list)
    lowest: ProgressLosses | None = None
    lost: ProgressLosses | None = None
    classes: list[Loss] = field(default_factory=list)
    queries: list[Loss] = field(default_factory=list)
    calibration: Calibration | None = None
    own: list[str] = field(default_factory=list)
    proxies: list[str] = field(default_factory=list)
    agreement: Agreement | None = None
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def start(self) -> float:
        """Figure of the old system in the comparison of ways."""
        return self.alternatives[-1].end

    @property
    def recommended(self) -> Tried:
        """The recommended way."""
        return self.ways[self.chosen]
