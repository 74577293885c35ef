"""Groups of benchmarks, found by their names: equal ones on several data sets, and settings of one data set."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.page.gather import Benchmark
from benchmarks.page.setting import heads_miss_classes
from compat.errors import InputError
from compat.ranks import MethodRanking, rank
from compat.results import PLAIN

FEWEST = 3  # fewest methods for a diagram of ranks


def families(benchmarks: Sequence[Benchmark]) -> dict[str, list[Benchmark]]:
    """Group benchmarks by the end of their names after the data set: digits_tuned, omniglot_tuned are `tuned`.

    Each is in the family of the longest such ending; a sequence is in none.
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


def unseen(benchmarks: Sequence[Benchmark]) -> dict[str, list[Benchmark]]:
    """Group benchmarks whose heads miss classes, each with the one of the longest beginning of its name that has all.

    digits_tuned_open_class stands beside digits_tuned.
    """
    whole = [one for one in benchmarks if not one.upgrade and not heads_miss_classes(one.experiment["config"])]
    found: dict[str, list[Benchmark]] = {}
    for one in benchmarks:
        bases = [base for base in whole if one.name.startswith(f"{base.name}_") and base.data_set == one.data_set]
        if bases and not one.upgrade and one not in whole:
            base = max(bases, key=lambda base: len(base.name))
            found.setdefault(base.name, [base]).append(one)
    return found


def _endings(name: str) -> list[str]:
    """Return the endings of a name without its first words.

    Example:
        >>> _endings("tiny_imagenet_tuned")
        ['imagenet_tuned', 'tuned']
    """
    words = name.split("_")
    return ["_".join(words[start:]) for start in range(1, len(words))]


def rankings(benchmarks: Sequence[Benchmark]) -> dict[str, MethodRanking]:
    """Compare, for each family, the methods on all its data sets, in the default order with the default merge.

    Families with fewer than three such methods, or with an undefined figure, have none.
    """
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
