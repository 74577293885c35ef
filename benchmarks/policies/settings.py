"""The settings of an experiment on policies, from a YAML file and options. Needs no torch."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jsonargparse import ArgumentParser

from benchmarks.config.named import locate
from benchmarks.config.parse import from_options, one_line, overlay, read_plain, wrong_type
from compat.errors import InputError, at_least_one, closest, share


@dataclass(frozen=True)
class PolicyTraining:
    """The training environments and the length of the training.

    Args:
        items: largest number of items of a training environment's gallery, drawn at random.
        queries: largest number of its queries, likewise.
        episodes: demonstrated by the expert in each.
        updates: of the network, for any kind of training.
        batch: states of an update.
        world: share of the updates on own steps before imitation.
    """

    items: int = 1000
    queries: int = 300
    episodes: int = 2
    updates: int = 200
    batch: int = 32
    world: float = 0.3


@dataclass(frozen=True)
class Curves:
    """Variations of the first family.

    Args:
        alternatives: numbers of own alternatives for each state.
        shares: of the expert's episodes.
        seeds: of policies.
    """

    alternatives: list[int] = field(default_factory=lambda: [1, 2, 4, 8])
    shares: list[float] = field(default_factory=lambda: [0.1, 0.25, 0.5, 1.0])
    seeds: int = 2


@dataclass(frozen=True)
class Reinforcement:
    """Reinforcement of the first family, from each start.

    Args:
        steps: in all training environments together.
        seeds: of policies.
    """

    steps: int = 2304
    seeds: int = 2


PARTS: dict[str, Any] = {"training": PolicyTraining, "curves": Curves, "reinforcement": Reinforcement}


@dataclass(frozen=True)
class Settings:
    """The settings of an experiment.

    Args:
        cells: of an environment, see `compat.policies.BackfillEnv`.
        levels: likewise.
        first: likewise.
        gallery: largest number of its items, drawn at random.
        queries: largest number of queries, likewise.
        progress: completion ratios of a curve, from 0 to 1.
        families: of networks, with the number of seeds of policies of each.
        alternatives: own ones for each state, where they are not varied.
        gate: seeds of episodes for each environment with the expert.
        training: see `PolicyTraining`.
        curves: see `Curves`.
        reinforcement: see `Reinforcement`.
    """

    cells: int = 16
    levels: int = 2
    first: float = 0.02
    gallery: int = 3000
    queries: int = 1000
    progress: int = 21
    families: dict[str, int] = field(default_factory=lambda: {"deep_sets": 5, "transformer": 2})
    alternatives: int = 4
    gate: int = 1
    training: PolicyTraining = PolicyTraining()
    curves: Curves = field(default_factory=Curves)
    reinforcement: Reinforcement = Reinforcement()

    @property
    def first_family(self) -> str:
        """The family for variations and reinforcement."""
        return next(iter(self.families))

    @property
    def seeds(self) -> int:
        """Largest number of seeds of a family."""
        return max(self.families.values())

    @property
    def most(self) -> int:
        """Largest number of alternatives."""
        return max([self.alternatives, *self.curves.alternatives])

    @property
    def content(self) -> dict[str, Any]:
        """As JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, content: dict[str, Any]) -> Settings:
        """From `content`."""
        return cls(**content | {name: kind(**content[name]) for name, kind in PARTS.items()})


def parse(path: str, overrides: Sequence[str] = ()) -> Settings:
    """Parse the settings of a YAML file, overlaid with options `--key=value`.

    Raises:
        InputError: no such file, an unknown key, a value of another type or out of its range.
    """
    merged = overlay(read_plain(locate(path)), from_options(list(overrides)))
    for name, kind in (("", Settings), *PARTS.items()):
        known = [f.name for f in dataclasses.fields(kind)]
        given = merged if not name else merged.get(name) or {}
        for key in given if isinstance(given, dict) else ():
            if key not in known:
                raise InputError(f"{name}{'.' if name else ''}{key}: unknown, {closest(str(key), known)}")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Settings)
    try:
        settings = Settings(**vars(parser.instantiate(parser.parse_object(merged))))
    except (argparse.ArgumentError, TypeError, KeyError) as error:
        raise InputError(wrong_type(one_line(error), {})) from error
    check(settings)
    return settings


def check(settings: Settings) -> None:
    """Raises InputError for a number out of its range."""
    training, curves = settings.training, settings.curves
    counts = ("cells", "levels", "gallery", "queries", "alternatives", "gate")
    at_least_one(**{name: getattr(settings, name) for name in counts})
    at_least_one(items=training.items, queries=training.queries, episodes=training.episodes, batch=training.batch)
    at_least_one(steps=settings.reinforcement.steps, **{f"families.{k}": v for k, v in settings.families.items()})
    share(first=settings.first, world=training.world)
    for one in curves.shares:
        share(shares=one)
    for count in curves.alternatives:
        at_least_one(alternatives=count)
    if settings.progress < 2:
        raise InputError(f"progress: {settings.progress}, expected at least 2")
    if not settings.families:
        raise InputError("families: none, expected deep_sets, transformer or both")
    if training.updates < 10 or training.updates % 10:
        raise InputError(f"training.updates: {training.updates}, expected a multiple of 10")
    for name, seeds in (("curves", curves.seeds), ("reinforcement", settings.reinforcement.seeds)):
        if not 0 <= seeds <= settings.families[settings.first_family]:
            most = settings.families[settings.first_family]
            raise InputError(f"{name}.seeds: {seeds}, expected 0 to {most}, as {settings.first_family} has")
