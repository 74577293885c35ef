"""Tabulate the best-ranked method over data sets for each situation of a team."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from benchmarks.page.budget import KINDS, budget_of
from benchmarks.page.families import families, rankings
from benchmarks.page.gather import Benchmark
from benchmarks.tables.ranks import cells, heading, headings
from compat.errors import InputError
from compat.ranks import MethodRanking, Ranked


class Situation(NamedTuple):
    """A team's resources and permissions.

    Attributes:
        budget: the usable inputs, the first of `KINDS`.
        rewritten: whether old items may be rewritten before they are re-extracted.
        passes: number of models allowed to encode a query.
    """

    budget: tuple[str, ...]
    rewritten: bool
    passes: int

    def allows(self, other: Situation) -> bool:
        """Whether it includes everything of another."""
        more = set(other.budget) <= set(self.budget)
        return more and other.rewritten <= self.rewritten and other.passes <= self.passes


SITUATIONS = [
    Situation(KINDS[:count], rewritten, passes)
    for count in range(len(KINDS) + 1)
    for rewritten in (False, True)
    for passes in (1, 2)
]


def needs_of(row: Ranked, rewriting: set[str]) -> Situation:
    """Return the minimal situation for a method."""
    needs = row.needs.split(", ") if row.needs != "-" else []
    return Situation(tuple(budget_of(needs)), row.name in rewriting, row.encoder_passes_per_query)


def choices(found: MethodRanking, rewriting: set[str]) -> Iterator[tuple[Situation, Ranked]]:
    """Yield the best method for each situation with one, the most demanding last.

    A situation is left out if a less demanding one has the same best method.

    Args:
        found: methods ranked.
        rewriting: names of the methods rewriting old items.
    """
    told: list[tuple[Situation, Ranked]] = []
    for situation in SITUATIONS:
        best = next((row for row in found.ranked if situation.allows(needs_of(row, rewriting))), None)
        if best and not any(row is best and situation.allows(less) for less, row in told):
            told.append((situation, best))
            yield situation, best


def rewriting(benchmarks: Sequence[Benchmark]) -> set[str]:
    """Return the names of the rows rewriting old items.

    Their class says so, or, for online methods, more was written per item than by the row with the fewest writes.
    """
    found: set[str] = set()
    for one in benchmarks:
        firsts = [row.group[0] for row in one.rows]
        least = min((first.bytes_per_item for first in firsts if first.bytes_per_item), default=0)
        for first in firsts:
            learns = "own pairs" in first.needs.get("method", [])
            if first.transforms_gallery or (learns and first.bytes_per_item > least):
                found.add(first.name)
    return found


def advice(found: MethodRanking, members: Sequence[Benchmark]) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of a table: situations, the method for each, its relative gains, and their mean.

    Args:
        found: methods ranked over a family.
        members: of the family.
    """
    rows = []
    for situation, row in choices(found, rewriting(members)):
        old = "may be written anew" if situation.rewritten else "stay as they are"
        models = "one" if situation.passes == 1 else "two"
        rows.append([row.name, ", ".join(situation.budget) or "nothing", old, models, *cells(row, found)])
    return ["take", "if you have", "old items", "models a query", *headings(found)], rows


def table(benchmarks: Sequence[Benchmark], family: str) -> str:
    """Format the table of a family as Markdown, with the line above it.

    Args:
        benchmarks: all of them.
        family: name of one; see `benchmarks.page.families`.

    Raises:
        InputError: no such family, or no rankable methods in it.
    """
    ranked = rankings(benchmarks)
    if family not in ranked:
        raise InputError(f"choose: {family!r}, expected one of {', '.join(ranked) or 'none'}")
    names, rows = advice(ranked[family], families(benchmarks)[family])
    lines = [names, ["---"] * 4 + ["--:"] * (len(names) - 4), *([f"`{first}`", *others] for first, *others in rows)]
    return "\n".join([heading(ranked[family]), "", *(f"| {' | '.join(line)} |" for line in lines)])
