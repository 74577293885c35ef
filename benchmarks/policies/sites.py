"""Galleries to backfill: files of embeddings, halves of their classes, and their environments."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.embeddings.arguments import ARRAYS
from benchmarks.policies.recipes import GallerySetting
from benchmarks.policies.settings import Settings
from compat.embeddings import Embeddings
from compat.errors import InputError
from compat.policies import BackfillEnv

NAME = re.compile(r"(?P<data>\w+)-(?P<setting>\w+)-(?P<backbones>\d+)")


class Site(NamedTuple):
    """A gallery.

    Attributes:
        place: its identity.
        embeddings: the four matrices, labels and groups.
        entropy: (G,) of the old classifier, if available.
        digest: of the file.
        classes: of the file's whole gallery.
    """

    place: GallerySetting
    embeddings: Embeddings
    entropy: Tensor | None
    digest: str
    classes: Tensor


def read(path: Path) -> Site:
    """Read a file written by `benchmarks.export`, named DATA-SETTING-SEED.safetensors.

    Raises:
        InputError: another name, no such file, missing or invalid tensors.
    """
    named = NAME.fullmatch(path.stem)
    if named is None or path.suffix != ".safetensors":
        raise InputError(f"{path}: expected a name such as digits-same-0.safetensors: data set, setting, seed")
    try:
        tensors, digest = load_file(path), hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: {error}, expected a .safetensors file") from error
    missing = [name for name in ARRAYS[:6] if name not in tensors]
    if missing:
        raise InputError(f"{path}: no {missing[0]}, expected a file of benchmarks.export")
    place = GallerySetting(named["data"], named["setting"], int(named["backbones"]))
    given: dict[str, Any] = {name: tensors[name] for name in ARRAYS if name in tensors}
    e = Embeddings(**given)
    return Site(place, e, tensors.get("gallery_entropy"), digest, e.gallery_labels.unique())


def half(site: Site, part: str) -> Site:
    """Select queries and items of the first or the second half of the classes, in one fixed random order of classes."""
    if part == "all":
        return site
    classes = site.classes[torch.from_numpy(np.random.default_rng(0).permutation(len(site.classes)))]
    kept = classes[: len(classes) // 2] if part == "first" else classes[len(classes) // 2 :]
    rows = (torch.isin(getattr(site.embeddings, f"{of}_labels"), kept).nonzero()[:, 0] for of in ("query", "gallery"))
    return some(site, *rows)._replace(place=site.place._replace(part=part))


def limited(site: Site, queries: int, items: int) -> Site:
    """Sample queries and items up to these numbers, by the seed of the backbones."""
    random = np.random.default_rng(site.place.backbones)
    e = site.embeddings
    sizes = ((len(e.query_old), queries), (len(e.gallery_old), items))
    return some(site, *(torch.from_numpy(np.sort(random.permutation(have)[:most])) for have, most in sizes))


def some(site: Site, queries: Tensor, items: Tensor) -> Site:
    """Select rows of queries and items."""
    entropy = None if site.entropy is None else site.entropy[items]
    return site._replace(embeddings=site.embeddings.subset(queries, items), entropy=entropy)


def environment(site: Site, settings: Settings, labels: bool) -> BackfillEnv:
    """Make the gallery's environment; without labels nobody reads them."""
    options: dict[str, Any] = {"cells": settings.cells, "levels": settings.levels, "first": settings.first}
    return BackfillEnv(site.embeddings, **options, labels=labels, entropy=site.entropy)


def read_all(paths: Sequence[str]) -> dict[GallerySetting, Site]:
    """Read the galleries of some files, or of all files in a folder.

    Raises:
        InputError: none, two of one name, any error of `read`.
    """
    files = [f for path in map(Path, paths) for f in (sorted(path.glob("*.safetensors")) if path.is_dir() else [path])]
    found: dict[GallerySetting, Site] = {}
    for file in files:
        site = read(file)
        if site.place in found:
            raise InputError(f"{file}: {site.place.name} twice, expected each once")
        found[site.place] = site
    if not found:
        raise InputError("files: none, expected .safetensors files of benchmarks.export, or a folder of them")
    return found
