"""Training data of policies: demonstrations and own episodes of the training environments, made once."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from benchmarks.policies.recipes import OWN, Fold, GallerySetting
from benchmarks.policies.settings import Settings
from benchmarks.policies.sites import Site, environment, half, limited
from compat.policies import BackfillEnv
from compat.policies.collect import demonstrate, transitions
from compat.policies.heuristics import RandomPolicy
from compat.policies.rollouts import read, record
from compat.policies.samples import Demonstrations, Transitions, joined, load, save


class School:
    """The training environments of an experiment.

    Args:
        sites: whole galleries.
        settings: of the experiment.
        folder: of the made files.
    """

    def __init__(self, sites: dict[GallerySetting, Site], settings: Settings, folder: Path) -> None:
        self.sites, self.settings, self.folder = sites, settings, folder
        self.environment = cache(self._environment)  # small, and taken again by every reinforcement
        self.demonstrations = cache(self._demonstrations)
        self.steps = cache(self._steps)

    def places(self, fold: Fold) -> list[GallerySetting]:
        """Return the training galleries of a fold."""
        return [place._replace(part=fold.parts[0]) for place in self.sites if fold.trains_on(place.data)]

    def _environment(self, place: GallerySetting) -> BackfillEnv:
        training = self.settings.training
        site = half(self.sites[place._replace(part="all")], place.part)
        return environment(limited(site, training.queries, training.items), self.settings, labels=True)

    def _demonstrations(self, fold: Fold) -> Demonstrations:
        """Return the demonstrations of all places of a fold."""
        found = []
        for place in self.places(fold):
            path = self.folder / "episodes" / place.name / "demonstrations.safetensors"
            if not path.exists():
                episodes = range(self.settings.training.episodes)
                save(demonstrate(self.environment(place), episodes, self.settings.most), path)
            found.append(load(Demonstrations, path))
        return joined(found)

    def _steps(self, fold: Fold, alternatives: int) -> Transitions:
        """Return this many own episodes per demonstrated one; independent of the share of demonstrations."""
        found = []
        for place in self.places(fold):
            path = self.folder / "episodes" / place.name / "own.npz"
            episodes = self.settings.training.episodes
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                seeds = range(OWN, OWN + self.settings.most * episodes)
                record(self.environment(place), RandomPolicy(place.backbones), seeds, path)
            found.append(transitions(read(path)[: alternatives * episodes]))
        return joined(found)
