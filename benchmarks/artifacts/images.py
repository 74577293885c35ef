"""The dataset of an experiment, listed once."""

from __future__ import annotations

from functools import cache

from benchmarks.config.spec import Spec
from benchmarks.fetch.commands import with_command
from compat.data.base import RetrievalData
from compat.errors import InputError


@cache
def dataset(spec: Spec) -> RetrievalData:
    """Build the dataset of a config, once.

    Raises:
        InputError: missing or incomplete; the message names the command fetching it.
    """
    try:
        found: RetrievalData = spec.build(RetrievalData)
    except InputError as error:
        raise InputError(with_command(str(error), spec)) from error
    return found
