"""Benchmarks that ask the same of several data sets, found by their names, and the ranks of methods over each."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.page.gather import Benchmark
from compat.errors import InputError
from compat.ranks import MethodRanking, rank
from compat.results import PLAIN

FEWEST = 3  # methods that a diagram of ranks is worth


def families(benchmarks: Sequence[Benchmark]) -> dict[str, list[Benchmark]]:
    """Benchmarks whose names end alike after that of their data set, one of each data set: digits_tuned,
    omniglot_tuned are `tuned`. Each is in the family of the longest such ending; a sequence is in none.
    """
    waiting = [one for one in benchmarks if not one.upgrade]
    endings = {ending for one in waiting for ending in _endings(one.name)}
    found = {}
    for ending in sorted(endings, key=lambda ending: (-ending.count("_"), ending)):
        members = [one for one in waiting if ending in _endings(one.name)]
        if len(members) > 1 and len({one.data_set for one in members}) == len(members):
            found[ending] = members
            waiting = [one for one in waiting if one not in members]
    return dict(sorted(found.items(), key=lambda item: -sum(len(one.rows) for one in item[1])))


def _endings(name: str) -> list[str]:
    """What is left of a name without its first words.

    Example:
        >>> _endings("tiny_imagenet_tuned")
        ['imagenet_tuned', 'tuned']
    """
    words = name.split("_")
    return ["_".join(words[start:]) for start in range(1, len(words))]


def rankings(benchmarks: Sequence[Benchmark]) -> dict[str, MethodRanking]:
    """Of each family the ranks of the methods that all its data sets have, in the plain order with the plain merge;
    families with fewer than three such methods, or with a figure that is undefined, have none."""
    found = {}
    for name, members in families(benchmarks).items():
        plain = {one.name: [r for r in one.results if {"order": r.order, "merge": r.merge} == PLAIN] for one in members}
        try:
            ranking = rank(plain)
        except InputError:
            continue
        if len(ranking.ranked) >= FEWEST:
            found[name] = ranking
    return found
