"""The dataset of an experiment, listed once."""

from __future__ import annotations

from functools import cache

from benchmarks.experiment.schema import Sees
from benchmarks.experiment.spec import Spec
from compat.data.base import RetrievalData, Share


@cache
def dataset(spec: Spec) -> RetrievalData:
    """The dataset of a config."""
    return spec.build(RetrievalData)


def share(sees: Sees) -> Share:
    """What a generation sees, as a dataset knows it."""
    return Share(sees.classes, sees.images)
