"""Summarise an experiment on policies from its JSON file alone. Needs no torch.

Paired differences are in points of area under the mAP curve (percent), with 95 % intervals over trainings of the
backbones, policies averaged within each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from benchmarks.policies.recipes import EVALUATED, Fold, GallerySetting, PolicyRecipe, folds
from benchmarks.policies.settings import Settings
from benchmarks.policies.store import Content
from compat.curve import relative_gain
from compat.errors import InputError
from compat.statistics import Interval, over_seeds

EXPERT, RANDOM = "expert", "random"
HEURISTICS = (RANDOM, "density", "farthest", "variance", "entropy")
Pairs = dict[tuple[int, int], float]
Name = Callable[[int], str]


class Headroom(NamedTuple):
    """Areas of one environment in percent, and the expert's advantage over the best heuristic in hindsight."""

    old: float
    new: float
    random: float
    best: str
    area: float
    expert: float
    above: Interval


class StudyResults:
    """The results.

    Args:
        content: of the JSON file.

    Raises:
        InputError: it is empty.
    """

    def __init__(self, content: Content) -> None:
        if not content.get("areas"):
            raise InputError("output: no results, expected a file of benchmarks.policies")
        self.content = content
        try:
            self.settings = Settings.of(content["asked"])
            self.places = [_place(name) for name in content["environments"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"output: {error!r}, expected a file of benchmarks.policies") from error
        self.folds = folds([place.data for place in self.places])
        self.environments = sorted({(place.data, place.setting) for place in self.places})

    def area(self, place: GallerySetting, seed: int, policy: str) -> float | None:
        """Return an area in percent."""
        found = self.content["areas"].get(place.name, {}).get(str(seed), {}).get(policy)
        return None if found is None else 100 * found

    def gain(self, place: GallerySetting, seed: int, policy: str) -> float | None:
        """Return the relative gain, a fraction."""
        found, ends = self.area(place, seed, policy), self.content["ends"].get(place.name)
        return None if found is None or ends is None else relative_gain(found / 100, ends["old"], ends["new"])

    def headroom(self, data: str, setting: str) -> Headroom | None:
        """Return the headroom of an environment with all its classes; None if not measured."""
        places = [place for place in self.places if (place.data, place.setting) == (data, setting)]
        seeds = range(EVALUATED, EVALUATED + self.settings.gate)
        areas = {}
        for name in (*HEURISTICS, EXPERT):
            found = [self.area(place, seed, name) for place in places for seed in seeds]
            if known := [one for one in found if one is not None]:
                areas[name] = known
        if EXPERT not in areas or any(len(one) < len(areas[EXPERT]) for one in areas.values()):
            return None
        best = max((name for name in areas if name != EXPERT), key=lambda name: float(np.mean(areas[name])))
        ends = [self.content["ends"][place.name] for place in places]
        old, new = (float(100 * np.mean([end[key] for end in ends])) for key in ("old", "new"))
        above = over_seeds((np.array(areas[EXPERT]) - np.array(areas[best])).tolist())
        means = [float(np.mean(areas[name])) for name in (RANDOM, best, EXPERT)]
        return Headroom(old, new, means[0], best, means[1], means[2], above)

    def to_beat(self, fold: Fold) -> str | None:
        """Return the heuristic of the largest relative gain in the training environments, in their episodes."""
        places = [p._replace(part=fold.parts[0]) for p in self.places if fold.trains_on(p.data)]
        gains: dict[str, float] = {}
        for name in HEURISTICS:
            found = [self.gain(p, seed, name) for p in places for seed in range(self.settings.training.episodes)]
            if all(one is not None for one in found):
                gains[name] = float(np.mean([one for one in found if one is not None]))
        return max(gains, key=lambda name: gains[name]) if gains else None

    def pairs(self, fold: Fold, one: Name, other: Name, settings: Iterable[str] | None = None) -> Pairs:
        """Compare a policy with another in the test environments of a fold, their settings averaged.

        Args:
            fold: of the training.
            one: seed of policies -> the policy's name.
            other: likewise.
            settings: of the backbones; default: all of the data set.

        Returns:
            (seed of the backbones, seed of the policy) -> difference in points, where all is measured.
        """
        tried = [place._replace(part=fold.parts[1]) for place in self.places if place.data == fold.data]
        wanted = set(settings) if settings is not None else {place.setting for place in tried}
        found: dict[tuple[int, int], dict[str, float]] = {}
        for place in tried:
            for seed in range(self.settings.seeds):
                a, b = (self.area(place, EVALUATED + seed, name(seed)) for name in (one, other))
                if a is not None and b is not None and place.setting in wanted:
                    found.setdefault((place.backbones, seed), {})[place.setting] = a - b
        return {pair: float(np.mean(list(by.values()))) for pair, by in found.items() if set(by) == wanted}

    def recipe(self, fold: Fold, family: str, method: str, count: int | None = None, share: float = 1.0) -> Name:
        """Return the names of a policy by its seed."""
        usual = 0 if method == "il" or method.startswith("rl_") else self.settings.alternatives
        return lambda seed: PolicyRecipe(fold, family, method, usual if count is None else count, share, seed).name

    def above_heuristic(self, fold: Fold, name: Name, settings: Iterable[str] | None = None) -> Pairs:
        """Return the points above the baseline heuristic."""
        usual = self.to_beat(fold)
        return self.pairs(fold, name, lambda _: usual, settings) if usual else {}


def by_backbones(pairs: Iterable[Pairs]) -> list[float]:
    """Average over the policies, for each fold and training of its backbones.

    Each policy is tested on all trainings, so pairs of one policy or of one training are no independent figures.
    """
    means = []
    for one in pairs:
        for backbones in dict.fromkeys(backbones for backbones, _ in one):
            means.append(float(np.mean([value for pair, value in one.items() if pair[0] == backbones])))
    return means


def interval(pairs: Iterable[Pairs]) -> Interval | None:
    """Return the interval over the trainings of the backbones of some folds; None without any, no width for one."""
    means = by_backbones(pairs)
    return over_seeds(means) if means else None


def _place(name: str) -> GallerySetting:
    data, setting, backbones, part = name.split("/")
    return GallerySetting(data, setting, int(backbones), part)
