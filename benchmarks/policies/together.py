"""Combine both: a world model of own pairs serves, in orders chosen by policies."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.config.schema import REFIT
from benchmarks.policies.measuring import Maker
from benchmarks.policies.settings import Settings
from benchmarks.policies.sites import Site, environment
from benchmarks.policies.store import RolloutStore
from benchmarks.policies.summary import EXPERT
from compat.curve import area
from compat.experience import OwnForward, learning_curve
from compat.methods import Upgrade
from compat.models import Precomputed
from compat.policies.expert import greedy
from compat.policies.rollouts import rollout


def serve(site: Site, settings: Settings, store: RolloutStore, makers: Mapping[str, Maker], seed: int) -> None:
    """Measure the area under the mAP curve of `own_forward` in each policy's order, and in the expert's.

    Args:
        site: the gallery.
        settings: of the experiment.
        store: of the results.
        makers: factories of policies, by name.
        seed: of the episode.
    """
    if site.place.name in store.content.get("together", {}):
        return
    seeing = environment(site, settings, labels=True)
    policies = {name: maker() for name, maker in makers.items()} | {EXPERT: lambda *_: greedy(seeing)}
    orders = [rollout(seeing, policy, seed).order for policy in policies.values()]
    e = site.embeddings
    old, new = Precomputed(dim=e.gallery_old.shape[1]), Precomputed(dim=e.gallery_new.shape[1])
    curve, _ = learning_curve(e, Upgrade(old, new), OwnForward(old, new), orders, REFIT, settings.progress)
    areas = [area(curve.progress, np.asarray(each)) for each in curve.figures["mean_ap"]]
    store.add({"together": {site.place.name: dict(zip(policies, areas, strict=True))}})
