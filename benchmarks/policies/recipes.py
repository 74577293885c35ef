"""List the policies with their training and test environments. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from benchmarks.policies.settings import Settings

IMITATORS = ("il", "iwm", "sr")
STARTS = ("none", "il", "iwm", "sr")
EVALUATED = 1000  # seed of the first test episode; demonstrations begin at 0
NAMES = {  # four variants are only in results of before 2026-11-30: on own episodes, by outcomes, by what is served
    "il": "IL",
    "iwm": "IWM",
    "iwm_episodes": "IWM on own episodes",
    "sr": "SR",
    "sr_outcomes": "SR by labelled outcomes",
    "sr_served": "SR by the share served",
    "rl_none": "RL",
    "rl_il": "RL from IL",
    "rl_iwm": "RL from IWM",
    "rl_iwm_episodes": "RL from IWM on own episodes",
    "rl_sr": "RL from SR",
    "rl_sr_outcomes": "RL from SR by labelled outcomes",
}
IMITATES = [method for method in NAMES if not method.startswith("rl_")]


class GallerySetting(NamedTuple):
    """A gallery: a data set, a setting of the backbones, their training seed, and a part of its classes.

    Attributes:
        part: "all", or the "first" or "second" half of the classes.
    """

    data: str
    setting: str
    backbones: int
    part: str = "all"

    @property
    def name(self) -> str:
        """As a key."""
        return "/".join(map(str, self))


class Fold(NamedTuple):
    """Training and test environments.

    Attributes:
        kind: "without", the data set is held out; or "within", trained on half of its classes and tested on the others.
        data: the tested data set.
    """

    kind: str
    data: str

    @property
    def name(self) -> str:
        """As a key."""
        return "/".join(self)

    @property
    def parts(self) -> tuple[str, str]:
        """Return the parts of the classes: for training, and for testing."""
        return ("first", "second") if self.kind == "within" else ("all", "all")

    def trains_on(self, data: str) -> bool:
        """Whether a data set's environments are for training."""
        return (data == self.data) == (self.kind == "within")


class PolicyRecipe(NamedTuple):
    """The training recipe of a policy.

    Attributes:
        fold: of the environments.
        family: of its network.
        method: one of `IMITATORS`, or `rl_` and one of `STARTS`.
        alternatives: own ones for each state; 0 for none.
        share: of the expert's episodes.
        seed: of everything random.
    """

    fold: Fold
    family: str
    method: str
    alternatives: int
    share: float
    seed: int

    @property
    def name(self) -> str:
        """As a key."""
        varied = f"{self.family}/{self.method}/k{self.alternatives}/s{self.share:g}"
        return f"{self.fold.name}/{varied}/{self.seed}"

    def start(self, settings: Settings) -> PolicyRecipe | None:
        """Return the recipe reinforcement starts from, None for an untrained network."""
        start = self.method.removeprefix("rl_")
        return None if start == "none" else imitator(self.fold, self.family, start, settings, self.seed)


def folds(data_sets: Sequence[str]) -> list[Fold]:
    """Return the folds: each data set held out, where there are others, and each by itself."""
    names = sorted(set(data_sets))
    held_out = [Fold("without", name) for name in names] if len(names) > 1 else []
    return [*held_out, *(Fold("within", name) for name in names)]


def imitator(fold: Fold, family: str, method: str, settings: Settings, seed: int, share: float = 1.0) -> PolicyRecipe:
    """Return a recipe with the default number of alternatives."""
    return PolicyRecipe(fold, family, method, 0 if method == "il" else settings.alternatives, share, seed)


def recipes(fold: Fold, settings: Settings) -> list[PolicyRecipe]:
    """Return all policies of a fold, each once, after its start."""
    return list(dict.fromkeys([*compared(fold, settings), *varied(fold, settings), *reinforced(fold, settings)]))


def compared(fold: Fold, settings: Settings) -> Iterator[PolicyRecipe]:
    """Return the imitators of each family and seed."""
    for family, seeds in settings.families.items():
        for seed in range(seeds):
            yield from (imitator(fold, family, method, settings, seed) for method in IMITATORS)


def varied(fold: Fold, settings: Settings) -> Iterator[PolicyRecipe]:
    """Return the recipes over the number of alternatives and over the share of the demonstrations."""
    family = settings.first_family
    for seed in range(settings.curves.seeds):
        for count in settings.curves.alternatives:
            yield from (PolicyRecipe(fold, family, method, count, 1.0, seed) for method in IMITATORS[1:])
        for share in settings.curves.shares:
            yield from (imitator(fold, family, method, settings, seed, share) for method in IMITATORS)


def reinforced(fold: Fold, settings: Settings) -> Iterator[PolicyRecipe]:
    """Return the recipes of reinforcement from each start."""
    for seed in range(settings.reinforcement.seeds):
        for start in STARTS:
            yield PolicyRecipe(fold, settings.first_family, f"rl_{start}", 0, 1.0, seed)
