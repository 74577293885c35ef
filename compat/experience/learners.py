"""Methods that learn on the way, from the pairs of the gallery that is being backfilled."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from compat.engine.exact import distances
from compat.errors import InputError
from compat.experience.agreement import CandidateSearch, gain
from compat.experience.maps import Query
from compat.experience.seen import Baseline, SeenItems, Serving, serve_baseline
from compat.experience.world import SAMPLE, WORLDS, Kind, World, check_pairs
from compat.merge import Merge, ZScore
from compat.methods.upgrade import Upgrade
from compat.models import Embedder
from compat.needs import Given

ENOUGH = 10  # pairs to learn from


class Proposal(NamedTuple):
    """A way to search, tried on held-back pairs, and how it would serve.

    Attributes:
        rows: of the pairs that it was tried on, (N,).
        sizes: of the folds in which they were held back.
        way: on them.
        serve: makes it, if it is chosen.
    """

    rows: np.ndarray
    sizes: list[int]
    way: CandidateSearch
    serve: Callable[[], Serving]


class Learner(Upgrade):
    """Learns from own pairs; as it stands it proposes nothing, and what served before goes on serving.

    What it proposes serves only where it finds more of the new system's nearest items among held-back pairs than what
    served before, by three standard errors (`compat.experience.agreement`): independent systems, or the method that it
    is `based_on`. No label is looked at.

    Each call of `refit` starts anew: it is handed what is known at that moment, and nothing stays from the one before.

    Attributes:
        online: a literal, by which a plan replays it with refits.
    """

    online = True

    def propose(self, seen: SeenItems, known: Baseline) -> Iterator[Proposal]:
        """Ways to search what is not migrated."""
        yield from ()

    def refit(self, seen: SeenItems, known: Baseline) -> Serving:
        """How to search from now on.

        Args:
            seen: the pairs so far.
            known: what served before.
        """
        if len(seen.migrated) < ENOUGH:
            return serve_baseline(seen, known)
        try:
            check_pairs(seen.before, seen.new)
            proposals = list(self.propose(seen, known))
        except (InputError, np.linalg.LinAlgError) as error:
            return serve_baseline(seen, known, f"{type(self).__name__} learned nothing from own pairs ({error})")
        share = len(seen.migrated) / len(seen.old)
        most = 0.0
        serve: Callable[[], Serving] = partial(serve_baseline, seen, known)
        for proposal in proposals:
            old, new = seen.before[proposal.rows], seen.new[proposal.rows]
            with torch.inference_mode():
                standard = CandidateSearch(known.query_for_old(old, new), old)
            if (found := gain(proposal.way, standard, new, share, proposal.sizes)) > most:
                most, serve = found, proposal.serve
        return serve()


class OwnCalibration(Learner):
    """Distances of both spaces are z-scores (`compat.merge.ZScore`), by the pairs so far."""

    def propose(self, seen: SeenItems, known: Baseline) -> Iterator[Proposal]:
        rows = np.random.default_rng(0).permutation(len(seen.new))[:SAMPLE]
        old, new = seen.before[rows], seen.new[rows]
        with torch.inference_mode():
            query = known.query_for_old(old, new)
        merge = z_score(query, old, new)
        yield Proposal(
            rows,
            [len(rows)],
            CandidateSearch(query, old, merge),
            lambda: serve_baseline(seen, known)._replace(merge=merge),
        )


class _ByWorld(Learner):
    """By a world model of the pairs so far; arguments as of its children."""

    def __init__(self, old: Embedder, new: Embedder, world: Kind = "gaussian") -> None:
        super().__init__(old, new)
        self.world = world

    def fitted(self, seen: SeenItems, known: Baseline) -> World:
        """The world model, started from what served before and fitted to the pairs."""
        world = WORLDS[self.world](known.prior)
        world.fit(seen.before, seen.new)
        return world


class OwnBack(_ByWorld):
    """The query is mapped back by a world model, and merged by raw distances or by z-scores: held-back pairs say.

    Args:
        old: the old model.
        new: the new model.
        world: the world model, see `WORLDS`; rotation is orthogonal Procrustes.
    """

    def propose(self, seen: SeenItems, known: Baseline) -> Iterator[Proposal]:
        here = self.fitted(seen, known).new_to_old
        held = here.held
        query = torch.from_numpy(held.expected).float()
        old, new = seen.before[held.rows], seen.new[held.rows]
        for merge in (None, z_score(query, old, new)):
            serve = partial(Serving, Query("new", here.map), seen.old, merge, 1)
            yield Proposal(held.rows, held.sizes, CandidateSearch(query, old, merge), serve)


class OwnForward(_ByWorld):
    """Items that are not migrated are searched by the new embedding that a world model expects of them.

    One query, one index: the old query is not needed any more, and what is not migrated is written anew at each refit.

    Args:
        old: the old model.
        new: the new model.
        world: the world model, see `WORLDS`.
    """

    def propose(self, seen: SeenItems, known: Baseline) -> Iterator[Proposal]:
        there = self.fitted(seen, known).old_to_new
        held = there.held
        way = CandidateSearch(seen.new[held.rows], torch.from_numpy(held.expected).float())

        def serve() -> Serving:
            left = torch.ones(len(seen.old), dtype=torch.bool).index_fill(0, seen.migrated, False)
            expected_error = float(there.variance(seen.old[left]).sum(1).mean()) if left.any() else math.nan
            item = there.map
            return Serving(
                Query("new"), item(seen.old), None, 1, rewrites=True, expected_error=expected_error, item=item
            )

        yield Proposal(held.rows, held.sizes, way, serve)


def z_score(query: Tensor, old: Tensor, new: Tensor) -> Merge:
    """The rule fitted on the distances among pairs, each to the others.

    Args:
        query: (N, D) of the pairs as queries for what is not migrated.
        old: (N, D) as items that are not migrated.
        new: (N, D_new).
    """
    others = ~torch.eye(len(new), dtype=torch.bool)
    spaces = tuple(distances(*space)[others].numpy() for space in ((query, old), (new, new)))
    merge = ZScore()
    merge.fit(Given(merge.needs, {"training distances": lambda: spaces}, "ZScore"))
    return merge
