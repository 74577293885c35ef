"""What a report says, before it is put into words."""

from __future__ import annotations

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
    """A curve over progress, (T,) each; the band is that of its mean where there is one."""

    name: str
    progress: np.ndarray
    mean: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


class Tried(NamedTuple):
    """A way that was tried.

    Attributes:
        name: of the way.
        words: what it is.
        area: mAP on average over the backfill, where nothing was chosen by it.
        chosen_by: the same on the queries that the choice was made on; NaN where there are none.
        passes: of an encoder for each query.
        rewritten: how often each item is written besides.
    """

    name: str
    words: str
    area: Interval
    chosen_by: float
    passes: int
    rewritten: float


class Loss(NamedTuple):
    """A query or a class that falls, with its name, and images where they are given."""

    fall: Fall
    name: str
    images: list[Path]


@dataclass(frozen=True)
class Findings:
    """What a report says; what there is nothing to say about is empty.

    Attributes:
        name: of what is reported on.
        facts: terms and what they are: sizes, settings.
        labelled: whether figures are by labels; without them they are shares of what the new system would show.
        least: the gain that would be worth an upgrade.
        decision: about the new model; None without labels, or where nothing gives an interval.
        unit: what its interval is over.
        old: mAP of the old system.
        new: mAP of the new one.
        chosen: place of the recommended way in `ways`.
        ways: all that were tried, the best first.
        glossary: what the names of ways mean, in sentences.
        split: how the choice and its report were kept apart, in a sentence.
        lines: curves to draw, the recommended way first.
        alternatives: what else one could do.
        gallery: the real one.
        measured: what curves were measured on, where that is not what the verdict is of, in a sentence.
        lower: how many classes end lower than they began, in a sentence, where that matters.
        reached: progress and the share of the gain that is reached there.
        lowest: the moment of the lowest mAP on the way.
        lost: the moment at which most queries are worse off.
        classes: that fall most then.
        queries: likewise.
        calibration: of the two spaces.
        own: what the gallery's own pairs would teach, in sentences.
        proxies: shares of what the new system shows that the old one shows already, in sentences.
        agreement: of this report with itself, from halves of the queries.
        warnings: in sentences.
        notes: on how this was made, in sentences.
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
        """The figure of the old system where ways were compared."""
        return self.alternatives[-1].end

    @property
    def recommended(self) -> Tried:
        """The way that is recommended."""
        return self.ways[self.chosen]
