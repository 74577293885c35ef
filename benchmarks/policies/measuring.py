"""Measure areas under mAP curves of policies, always by `backfill_curve` on the policy's order."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

from benchmarks.policies.scaled import scaled
from benchmarks.policies.settings import Settings
from benchmarks.policies.sites import Site, environment
from benchmarks.policies.store import RolloutStore
from benchmarks.policies.summary import EXPERT
from compat.backfill import backfill_curve
from compat.curve import area
from compat.policies.expert import greedy
from compat.policies.heuristics import heuristics
from compat.policies.rollouts import Policy, rollout

Maker = Callable[[], Policy]


def names_of_heuristics(site: Site) -> list[str]:
    """Return the heuristics usable on a gallery: entropy only with an old classifier."""
    return [name for name in heuristics(0) if name != "entropy" or site.entropy is not None]


def measure(
    site: Site, settings: Settings, store: RolloutStore, episodes: Mapping[int, Mapping[str, Maker]], expert: int = 0
) -> None:
    """Test policies in episodes of one gallery, and store missing results.

    Args:
        site: the gallery.
        settings: of the experiment.
        store: of the results.
        episodes: seed -> the names of policies beside the heuristics -> their factories.
        expert: number of the episodes with the expert.
    """
    place, usual = site.place.name, names_of_heuristics(site)
    wanted = {}
    for number, (seed, others) in enumerate(episodes.items()):
        names = [*usual, *others, *([EXPERT] if number < expert else [])]
        wanted[seed] = [name for name in names if store.area(place, seed, name) is None]
    if not any(wanted.values()):
        return
    blind = environment(site, settings, labels=False)
    seeing = environment(site, settings, labels=True) if any(EXPERT in names for names in wanted.values()) else None
    for seed, names in wanted.items():
        orders = {}
        for name in names:
            if name == EXPERT:
                assert seeing is not None
                orders[name] = rollout(seeing, lambda *_: greedy(seeing), seed).order
                continue
            maker = episodes[seed].get(name)
            orders[name] = rollout(blind, maker() if maker else heuristics(seed)[name], seed).order
        if orders:
            blind.reset(seed=seed)
            stack = np.stack(list(orders.values()))
            curve = backfill_curve(scaled(site.embeddings, blind.merge), stack, settings.progress, distance="l2")
            areas = [area(curve.progress, each) for each in curve.figures["mean_ap"]]
            ends = {"old": float(curve.mean_ap[0]), "new": float(curve.mean_ap[-1])}
            store.add({"ends": {place: ends}, "areas": {place: {str(seed): dict(zip(orders, areas, strict=True))}}})


def time_decisions(
    site: Site, settings: Settings, store: RolloutStore, policies: Mapping[str, Maker], seed: int
) -> None:
    """Time a policy's choice, and the computation of its features, in one episode of a gallery."""
    place = site.place.name
    there = store.content.get("decisions", {}).get(place, {})
    for name, maker in policies.items():
        if name in there:
            continue
        env, policy, choosing, seeing = environment(site, settings, labels=False), maker(), [], []
        observation, _ = env.reset(seed=seed)
        while (mask := env.action_masks()).any():
            started = time.perf_counter()
            action = policy(observation, mask)
            chosen = time.perf_counter()
            observation, *_ = env.step(action)
            choosing.append(chosen - started)
            seeing.append(time.perf_counter() - chosen)
        per = {"choosing": np.mean(choosing), "seeing": np.mean(seeing)}
        store.add({"decisions": {place: {name: {**per, "items": len(site.embeddings.gallery_old) / len(choosing)}}}})
