"""Training data of policies: demonstrations in the training environments, made once."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from benchmarks.policies.recipes import Fold, GallerySetting
from benchmarks.policies.settings import Settings
from benchmarks.policies.sites import Site, environment, half, limited
from compat.policies import BackfillEnv
from compat.policies.collect import demonstrate
from compat.policies.samples import Demonstrations, joined, load, save


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
            found.append(load(path))
        return joined(found)
