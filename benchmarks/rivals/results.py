"""Files of results of `python -m benchmarks.rivals`. Imports no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rivals.tools import OURS
from compat.curve import area, relative_gain
from compat.errors import InputError
from compat.results.harm import ROUNDING

METRIC = "ndcg_10"


@dataclass(frozen=True)
class Measured:
    """A row of a file of results.

    Attributes:
        row: of the file.
        about: of the pair of models.
    """

    row: dict[str, Any]
    about: dict[str, Any]

    @property
    def name(self) -> str:
        """Its tool and way; of this project, the method alone."""
        ours = self.row["tool"] == OURS
        return self.row["way"] if ours else f"*{self.row['tool']}* {self.row['way']}".strip()

    @property
    def rules(self) -> list[str]:
        """The merge rules that it was measured with."""
        return list(self.row["curves"])

    @property
    def tool(self) -> str:
        """The tool's name."""
        return str(self.row["tool"])

    @property
    def failure(self) -> str:
        """What went wrong, in one line; empty if nothing did."""
        return str(self.row["failure"])

    def curve(self, rule: str, metric: str = METRIC) -> np.ndarray:
        """Return a curve; NaN where it was not measured."""
        values = self.row["curves"][rule].get(metric)
        return np.full(len(self.about["progress"]), math.nan) if values is None else np.array(values)

    def system(self, which: str, metric: str = METRIC) -> float:
        """Return a figure of the "old" or the "new" system."""
        return float(self.about["systems"][which][metric])

    def gain(self, rule: str, metric: str = METRIC) -> float:
        """Return the relative gain; NaN where the new system is no better, or the curve is missing."""
        old, new = self.system("old", metric), self.system("new", metric)
        if new <= old:
            return math.nan
        return relative_gain(area(self.about["progress"], self.curve(rule, metric)), old, new)

    def worst(self, rule: str) -> float:
        """Return the lowest point minus the old system's; 0 where it is never below."""
        fall = float((self.curve(rule) - self.system("old")).min())
        return fall if fall < -ROUNDING else 0.0

    def flips(self, rule: str) -> float:
        """Return the mean share of negative flips."""
        return area(self.about["progress"], self.curve(rule, "negative_flip_rate"))

    @property
    def best(self) -> float:
        """The largest gain over its rules; below all numbers where there is none."""
        gains = [gain for rule in self.rules if not math.isnan(gain := self.gain(rule))]
        return max(gains, default=-math.inf)

    @property
    def best_rule(self) -> str:
        """The rule of the largest gain."""
        return max(self.rules, key=lambda rule: -math.inf if math.isnan(gain := self.gain(rule)) else gain)


def load(folder: Path) -> list[list[Measured]]:
    """Read the results of each pair of models, by name.

    Raises:
        InputError: no results, or another kind of file.
    """
    pairs = []
    for file in sorted(folder.glob("*.json")):
        try:
            about = json.loads(file.read_text())
            rows = [Measured(row, about) for row in about.pop("rows")]
            about["pair"], about["systems"]["new"][METRIC]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{file}: {error}, expected results of benchmarks.rivals") from error
        pairs.append(rows)
    if not pairs:
        raise InputError(f"{folder}: no results, expected those of python -m benchmarks.rivals")
    return pairs


def ranked(rows: Sequence[Measured]) -> list[Measured]:
    """Return the rows with results, those with the largest gain first."""
    return sorted((row for row in rows if row.rules), key=lambda row: -row.best)
