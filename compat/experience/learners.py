"""Online methods, which learn from the pairs of the gallery being backfilled."""

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

ENOUGH = 10  # minimum number of pairs


class Proposal(NamedTuple):
    """A way to search, evaluated on held-back pairs, and how it would serve.

    Attributes:
        rows: (N,) the held-back pairs.
        sizes: sizes of the folds in which they were held back.
        way: the search on them.
        serve: makes the `Serving`, if the proposal is chosen.
    """

    rows: np.ndarray
    sizes: list[int]
    way: CandidateSearch
    serve: Callable[[], Serving]


class Learner(Upgrade):
    """Base of online methods; it proposes nothing itself, so the baseline keeps serving.

    A proposal serves only if it finds more of the new system's nearest items among held-back pairs than the baseline,
    by three standard errors (`compat.experience.agreement`). The baseline is independent systems, or the method it is
    `based_on`. No label is used.

    Each call of `refit` starts anew, without state of an earlier one.

    Attributes:
        online: a literal, read from the source by a plan, which then replays it with refits.
    """

    online = True

    def propose(self, seen: SeenItems, known: Baseline) -> Iterator[Proposal]:
        """Yield ways to search the items not migrated."""
        yield from ()

    def refit(self, seen: SeenItems, known: Baseline) -> Serving:
        """Decide how to search from now on.

        Args:
            seen: the pairs so far.
            known: the baseline.
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
    """Merges both spaces by z-scores (`compat.merge.ZScore`) of the distances among the pairs so far."""

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
    """Base of methods with a world model of the pairs so far; see the subclasses for arguments."""

    def __init__(self, old: Embedder, new: Embedder, world: Kind = "gaussian") -> None:
        super().__init__(old, new)
        self.world = world

    def fitted(self, seen: SeenItems, known: Baseline) -> World:
        """Fit the world model to the pairs, starting from the baseline."""
        world = WORLDS[self.world](known.prior)
        world.fit(seen.before, seen.new)
        return world


class OwnBack(_ByWorld):
    """Maps the query back by a world model; raw distances or z-scores are chosen on held-back pairs.

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
    """Searches items not migrated by the new embeddings which a world model predicts.

    One query and one index: the old query is not needed, and the predictions are rewritten at each refit.

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
    """Fit the rule to the distances among pairs.

    Args:
        query: (N, D) pairs as queries for items not migrated.
        old: (N, D) pairs as items not migrated.
        new: (N, D_new) new embeddings of the pairs.
    """
    others = ~torch.eye(len(new), dtype=torch.bool)
    spaces = tuple(distances(*space)[others].numpy() for space in ((query, old), (new, new)))
    merge = ZScore()
    merge.fit(Given(merge.needs, {"training distances": lambda: spaces}, "ZScore"))
    return merge
