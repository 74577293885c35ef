"""Models of a migration: the old and the new model, the upgrade between them, and their fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from compat.engine.exact import Distance
from compat.errors import InputError
from compat.experience.learners import Learner
from compat.experience.replay import refit_points
from compat.live.items import UNDER_WAY, Journal
from compat.live.outputs import describe_type, to_float32
from compat.merge import Merge, QueryZScore, Raw
from compat.methods.upgrade import Upgrade
from compat.models import Embedder, Precomputed


class Embed(Protocol):
    """A model: maps N contents to embeddings (N, D), and raises for contents it cannot read.

    Attributes:
        version: identifies the model, its weights and its preprocessing; a migration does not continue under another
            version.

    A model may have an attribute `passing`, a tuple of exception types to retry besides those of
    `compat.live.transient`. Embeddings may be an array, a tensor or a list of any precision; they are converted to
    float32.
    """

    version: str

    def __call__(self, contents: Sequence[str]) -> np.ndarray: ...


class Images:
    """An embedder of this library, with a function which reads images.

    Args:
        embedder: the model.
        read: maps an item's content to a preprocessed image (3, H, W).
        preprocessing: name of the preprocessing, part of the version, as `read` is not inspected.
    """

    def __init__(self, embedder: Embedder, read: Callable[[str], Tensor], preprocessing: str = "") -> None:
        self.embedder, self.read = embedder.eval(), read
        self.version = f"{digest(embedder)} {preprocessing}".strip()

    def __call__(self, contents: Sequence[str]) -> np.ndarray:
        images = torch.stack([self.read(content) for content in contents])
        weight = next(self.embedder.parameters(), images)
        with torch.inference_mode():
            return self.embedder(images.to(weight)).to("cpu", torch.float32).numpy()


class Rows:
    """Precomputed embeddings in place of a model: rows of a matrix, by content.

    Args:
        contents: N contents.
        rows: (N, D) embeddings.
    """

    def __init__(self, contents: Sequence[str], rows: np.ndarray) -> None:
        self.rows = np.asarray(rows, np.float32)
        self.at = {content: row for row, content in enumerate(contents)}
        self.version = hashlib.sha256(self.rows.tobytes()).hexdigest()[:16]

    def __call__(self, contents: Sequence[str]) -> np.ndarray:
        return self.rows[[self.at[content] for content in contents]]


@dataclass(frozen=True)
class Models:
    """Everything a migration and its queries need.

    Args:
        new: the new model.
        old: the old model. Embeds queries before the migration (and during it for two-pass methods), items added before
            it starts, and items a rollback must re-embed; None: operations which need it are refused.
        upgrade: trained method by which both parts are searched; None: independent systems with two passes.
        merge: fitted merge rule.
        distance: distance of the retrieval.
        learner: online method, fitted to the migrated pairs at the completion ratios `refit`.
        refit: see `learner`.

    Raises:
        InputError: a model without a version, or whose `passing` is no tuple of exception types; a merge rule which is
            not fitted, needs labels, or is `QueryZScore` with a learner; refit points which do not ascend in [0, 1].
    """

    new: Embed
    old: Embed | None = None
    upgrade: Upgrade | None = None
    merge: Merge = field(default_factory=Raw)
    distance: Distance = "cosine"
    learner: Learner | None = None
    refit: Sequence[float] = ()

    def __post_init__(self) -> None:
        for name in ("old", "new"):
            model = getattr(self, name)
            version = getattr(model, "version", "")
            if model is not None and not (version and isinstance(version, str)):
                found = f"a version of type {type(version).__name__}" if version else "no version"
                raise InputError(
                    f"models.{name}: {found}, expected an attribute, text naming weights and preprocessing"
                )
            check_passing(name, passing(model))
        if "training labels" in self.merge.needs:
            raise InputError(f"models.merge: {type(self.merge).__name__} needs labels, expected a rule without labels")
        _ = self.merge.changes
        if self.learner is not None and self.merge.by_query:
            raise InputError(f"models.merge: {type(self.merge).__name__} with a learner, expected another rule")
        if self.learner is not None:
            refit_points(self.refit)
        for method in (self.upgrade, self.learner):
            if method is not None:
                method.eval()

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """Versions by name which must not change during a migration."""
        scales = [] if self.merge.scales is None else [part for s in self.merge.scales for part in (s.x, s.y)]
        rule = hashlib.sha256(b"".join(part.tobytes() for part in scales)).hexdigest()[:16] if scales else ""
        if isinstance(self.merge, QueryZScore):
            rule = f"{self.merge.size} {self.merge.fewest} {self.merge.seed}"
        found = {
            "new": self.new.version,
            "upgrade": "independent" if self.upgrade is None else identity(self.upgrade),
            "merge": f"{type(self.merge).__name__} {rule}".strip(),
            "distance": self.distance,
        }
        if self.old is not None:
            found["old"] = self.old.version
        if self.learner is not None:
            found["learner"] = f"{identity(self.learner)} at {list(self.refit)}"
        return found

    def check(self, journal: Journal) -> None:
        """Refuse a store or a migration which does not fit these models.

        Raises:
            InputError: another distance, another fingerprint.
        """
        if self.distance != journal.distance:
            raise InputError(f"distance: {self.distance}, expected {journal.distance} as the store was made")
        if journal.phase not in (*UNDER_WAY, "finalized"):
            return
        if journal.phase == "finalized" and self.old is not None and self.old.version == journal.fingerprint["new"]:
            return  # the models of the next migration
        mine = self.fingerprint
        for name, known in journal.fingerprint.items():
            if journal.phase == "finalized" and name not in ("new", "upgrade"):
                continue
            if (found := mine.get(name, "none")) != known and (name != "old" or self.old is not None):
                raise InputError(f"models.{name}: {found}, expected {known}, which the migration began with")

    def upgrade_for(self, dim: int, new_dim: int) -> Upgrade:
        """Return the upgrade, or independent systems of these dimensions."""
        return self.upgrade or independent_upgrade(dim, new_dim)


def passing(model: Embed | None) -> tuple[type[Exception], ...]:
    """Return the exception types which a model declares transient."""
    return getattr(model, "passing", ())


def check_passing(name: str, kinds: object) -> None:
    """Check a model's `passing`.

    Raises:
        InputError: no tuple of exception types.
    """
    if not isinstance(kinds, tuple) or not all(isinstance(k, type) and issubclass(k, Exception) for k in kinds):
        raise InputError(f"models.{name}: passing {kinds!r}, expected a tuple of exception types")


@cache
def independent_upgrade(dim: int, new_dim: int) -> Upgrade:
    """Make independent systems of these dimensions."""
    return Upgrade(Precomputed(dim), Precomputed(new_dim))


def digest(module: nn.Module, state: Mapping[str, Tensor] | None = None) -> str:
    """Return a digest (16 hexadecimal digits) of a module's weights, or of the given ones."""
    found = hashlib.sha256()
    for name, value in sorted((module.state_dict() if state is None else state).items()):
        value = value.detach().cpu().contiguous()
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]


def identity(upgrade: Upgrade) -> str:
    """Return a method's class with the digest of its learned weights."""
    return f"{type(upgrade).__module__}.{type(upgrade).__qualname__} {digest(upgrade, upgrade.heads())}"


class WrongModel(InputError):
    """A model which does not return one row of numbers for each content."""


def embed(model: Embed, contents: Sequence[str], name: str, dim: int | None = None) -> np.ndarray:
    """Embed contents.

    Args:
        model: the model.
        contents: N contents.
        name: name of the model in messages.
        dim: D, if known.

    Returns:
        Embeddings (N, D) float32.

    Raises:
        WrongModel: not one row for each content, or rows of another dimension.
    """
    returned = model(contents)
    rows = to_float32(returned)
    if rows is None:
        found = f"it returned {describe_type(returned)}"
        raise WrongModel(f"models.{name}: {found}, expected embeddings (N, D) as numbers")
    if rows.ndim != 2 or len(rows) != len(contents) or rows.shape[1] == 0:
        raise WrongModel(f"models.{name}: shape {rows.shape} for {len(contents)} contents, expected a row for each")
    if dim is not None and rows.shape[1] != dim:
        raise WrongModel(f"models.{name}: shape {rows.shape}, expected ({len(contents)}, {dim})")
    return rows
