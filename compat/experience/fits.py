"""Fits of online methods as bytes: a reader searches as the learner decided, without fitting again."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import fields
from typing import Any, NamedTuple, cast

import numpy as np

from compat.errors import InputError
from compat.experience.maps import AffineMap, Expected, Kernels, Nearest, Query, Rows, Turned
from compat.experience.seen import Baseline, Serving
from compat.experience.world import Prior
from compat.merge import Merge, Scale

VERSION = 1
PARTS = {kind.__name__: kind for kind in (Turned, AffineMap, Nearest, Kernels)}


class Fit(NamedTuple):
    """The stored part of a `Serving`: all but the gallery, which `item` computes from embeddings before the backfill.

    Attributes: see `Serving`.
    """

    query: Query
    item: Expected | None
    merge: Merge | None
    passes: int


def dump(serving: Serving) -> bytes:
    """Serialise a fit as .npz: a header, and the arrays of its maps (`side.part.kind.field`) and merge rule.

    Raises:
        InputError: a learner whose result is not made of arrays, such as a function or ranks.
    """
    query, merge = serving.query, serving.merge
    if not isinstance(query, Query) or serving.rewrites != (serving.item is not None):
        raise InputError(f"learner: it serves by {type(query).__name__}, expected maps of `compat.experience.maps`")
    if merge is not None and merge.scales is None:
        raise InputError(f"learner: it merges by {type(merge).__name__}, expected a rule with scales, or None")
    header = {
        "version": VERSION,
        "model": query.model,
        "query": query.map is not None,
        "item": serving.item is not None,
        "passes": serving.passes,
    }
    arrays = {"header": np.array(json.dumps(header)), **_arrays("query", query.map), **_arrays("item", serving.item)}
    if merge is not None and merge.scales is not None:
        arrays |= {f"merge.{n}.{axis}": getattr(scale, axis) for n, scale in enumerate(merge.scales) for axis in "xy"}
    file = io.BytesIO()
    np.savez(file, **cast(Any, arrays))
    return file.getvalue()


def load(content: bytes, known: Baseline) -> Fit:
    """Load a fit.

    Args:
        content: result of `dump`.
        known: the baseline, from whose transform a map may start.

    Raises:
        InputError: damaged, or of a newer version.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = dict(archive)
        header = json.loads(arrays["header"].item())
        if header["version"] > VERSION:
            raise InputError(f"fit: version {header['version']}, expected {VERSION} or before: take a newer package")
        maps = {side: _map(side, arrays, known.prior) if header[side] else None for side in ("query", "item")}
        merge = _merge(arrays) if "merge.0.x" in arrays else None
        return Fit(Query(header["model"], maps["query"]), maps["item"], merge, header["passes"])
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"fit: damaged ({' '.join(str(error).split())}), expected a fit stored by a worker") from error


def _arrays(side: str, map: Expected | None) -> dict[str, Rows]:
    """Return the arrays of a map; numbers become arrays without dimensions."""
    parts = {} if map is None else {"start": map.start, "rest": map.rest}
    return {
        f"{side}.{name}.{type(part).__name__}.{field.name}": np.asarray(getattr(part, field.name))
        for name, part in parts.items()
        if part is not None
        for field in fields(part)
    }


def _map(side: str, arrays: dict[str, Rows], prior: Prior) -> Expected:
    """Make a map from its arrays."""
    parts: dict[str, tuple[str, dict[str, Any]]] = {}
    for key, array in arrays.items():
        if key.startswith(f"{side}."):
            _, name, kind, field = key.split(".")
            parts.setdefault(name, (kind, {}))[1][field] = array if array.ndim else array.item()
    made: dict[str, Any] = {name: PARTS[kind](**values) for name, (kind, values) in parts.items()}
    transform = None if "start" in made else prior.back if side == "query" else prior.forward
    if "start" not in made and transform is None:
        raise ValueError(f"the {side} starts from a transform, and the baseline has none")
    return Expected(made.get("start"), made.get("rest"), transform)


def _merge(arrays: dict[str, Rows]) -> Merge:
    """Make a merge rule from its scales."""
    old, new = (Scale(arrays[f"merge.{n}.x"], arrays[f"merge.{n}.y"]) for n in range(2))
    merge = Merge()
    merge.scales = (old, new)
    return merge
