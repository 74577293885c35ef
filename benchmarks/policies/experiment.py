"""An experiment on policies, step by step; finished steps are reused."""

from __future__ import annotations

import hashlib
import json
import logging
import time
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from benchmarks.artifacts.record import provenance
from benchmarks.policies.lessons import School
from benchmarks.policies.measuring import Maker, measure, time_decisions
from benchmarks.policies.recipes import EVALUATED, Fold, GallerySetting, PolicyRecipe, folds, imitator, recipes
from benchmarks.policies.settings import Settings
from benchmarks.policies.sites import Site, half, limited
from benchmarks.policies.store import RolloutStore
from benchmarks.policies.summary import StudyResults
from benchmarks.policies.together import serve
from benchmarks.policies.training import network_of
from compat.errors import InputError, closest
from compat.policies.heuristics import heuristics
from compat.policies.learned import LearnedPolicy
from compat.policies.networks import FAMILIES
from compat.policies.rollouts import Policy
from compat.results import record_name


class PolicyStudy:
    """Run the gate, then each fold: train policies, then test them.

    Args:
        sites: whole galleries.
        settings: see `Settings`.
        output: JSON file of the results.
        runs: folder of episodes and networks.

    Raises:
        InputError: an unknown family, a file of other results.
    """

    def __init__(self, sites: dict[GallerySetting, Site], settings: Settings, output: Path, runs: Path) -> None:
        for family in settings.families:
            if family not in FAMILIES:
                raise InputError(f"families: {family!r}, {closest(family, list(FAMILIES))}")
        self.settings = settings
        self.sites = {place: limited(site, settings.queries, settings.gallery) for place, site in sites.items()}
        known = {
            place.name: {
                "digest": site.digest,
                "items": len(site.embeddings.gallery_old),
                "queries": len(site.embeddings.query_old),
                "classes": len(site.embeddings.gallery_labels.unique()),
            }
            for place, site in self.sites.items()
        }
        self.store = RolloutStore(output, settings.content, known)
        made = provenance()
        self.store.add({"made": {record_name(made): made}})
        digest = hashlib.sha256(json.dumps([settings.content, known], sort_keys=True).encode()).hexdigest()[:12]
        self.school = School(self.sites, settings, runs / digest)
        self.folds = folds([place.data for place in sites])
        torch.set_num_threads(1)
        logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
        warnings.filterwarnings("ignore", module="pytorch_lightning")

    def gate(self) -> None:
        """Measure heuristics and the expert in all environments, in episodes without trained policies."""
        seeds = range(EVALUATED, EVALUATED + self.settings.gate)
        for site in self.sites.values():
            measure(site, self.settings, self.store, {seed: {} for seed in seeds}, expert=self.settings.gate)
            print(f"gate: {site.place.name}", flush=True)

    def run(self, fold: Fold) -> None:
        """Train and test all policies of a fold."""
        started = time.process_time()
        self.choose(fold)
        made = recipes(fold, self.settings)
        for number, recipe in enumerate(made):
            network_of(recipe, self.school)
            if number % 20 == 19 or number == len(made) - 1:
                print(f"{fold.name}: {number + 1} of {len(made)} policies", flush=True)
        self.evaluate(fold, made)
        self.time(fold)
        if fold.kind == "without":
            self.together(fold)
        spent = self.store.content.get("seconds", {}).get(fold.name, 0.0) + time.process_time() - started
        self.store.add({"seconds": {fold.name: spent}})

    def choose(self, fold: Fold) -> None:
        """Measure heuristics on the whole training environments, to choose the baseline."""
        seeds: dict[int, dict[str, Maker]] = {seed: {} for seed in range(self.settings.training.episodes)}
        for place in self.school.places(fold):
            site = half(self.sites[place._replace(part="all")], place.part)
            measure(site, self.settings, self.store, seeds)

    def evaluate(self, fold: Fold, made: Sequence[PolicyRecipe]) -> None:
        """Measure each seed of policies in an episode of its own, in all test environments of the fold."""
        episodes: dict[int, dict[str, Maker]] = {EVALUATED + seed: {} for seed in range(self.settings.seeds)}
        for recipe in made:
            episodes[EVALUATED + recipe.seed][recipe.name] = partial(self.policy, recipe)
        for place, site in self.sites.items():
            if place.data == fold.data:
                tried = half(site, fold.parts[1])
                measure(tried, self.settings, self.store, episodes, expert=self.settings.gate)

    def policy(self, recipe: PolicyRecipe) -> Policy:
        """Return a policy as trained."""
        return LearnedPolicy(network_of(recipe, self.school))

    def together(self, fold: Fold) -> None:
        """Measure own pairs in the orders of the baseline heuristic, of imitation, and of the expert."""
        usual = StudyResults(self.store.content).to_beat(fold)
        assert usual is not None
        imitates = imitator(fold, self.settings.first_family, "il", self.settings, 0)
        makers: dict[str, Maker] = {
            "random": lambda: heuristics(EVALUATED)["random"],
            "heuristic": lambda: heuristics(EVALUATED)[usual],
            "il": partial(self.policy, imitates),
        }
        for place, site in self.sites.items():
            if place.data == fold.data:
                serve(site, self.settings, self.store, makers, EVALUATED)

    def time(self, fold: Fold) -> None:
        """Time one decision of each family."""
        first = next(place for place in self.sites if place.data == fold.data)
        site = half(self.sites[first], fold.parts[1])
        makers = {
            family: partial(self.policy, imitator(fold, family, "il", self.settings, 0))
            for family in self.settings.families
        }
        time_decisions(site, self.settings, self.store, makers, EVALUATED)

    def chosen(self, names: Sequence[str]) -> list[Fold]:
        """Return the folds by name, all by default.

        Raises:
            InputError: no such fold.
        """
        known = {fold.name: fold for fold in self.folds}
        for name in names:
            if name not in known:
                raise InputError(f"only: {name!r}, {closest(name, list(known))}")
        return [known[name] for name in names] if names else self.folds
