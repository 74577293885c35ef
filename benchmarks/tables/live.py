"""Reports of `benchmarks.perf` and `benchmarks.faults` as Markdown tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from compat.errors import InputError


def read(path: Path, key: str) -> dict[str, Any]:
    """Read a report with a certain key.

    Raises:
        InputError: no such file, or another kind of report.
    """
    try:
        found = json.loads(path.read_text())
        found[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: {error}, expected a report of benchmarks.perf") from error
    return found


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Format a table: its head, then its rows; figures are right-aligned."""
    aligned = [rows[0], ["---", *["--:"] * (len(rows[0]) - 1)], *rows[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in aligned)


def speed(path: Path) -> str:
    """Format the tables of one report of `benchmarks.perf`."""
    found = read(path, "verbs")
    size = found["bytes"]
    figures = [("figure", f"{found['items']:,} items, {found['dim']} dimensions")]
    figures += [(f"{name} (s)", f"{seconds:.1f}") for name, seconds in found["seconds"].items()]
    figures += [("items a second, to 50 %", f"{found['items_per_second']:,.0f}")]
    figures += [("first query, which loads what is searched (s)", f"{found['queries']['alone']['first']:.1f}")]
    figures += [(f"bytes on disk, {name}", f"{count:,}") for name, count in size.items()]
    figures += [(f"peak memory, {name} (MiB)", f"{mib:,.0f}") for name, mib in found["peak_memory_mib"].items()]
    for model, its in found["overhead"].items():
        each = f"{1e3 * its['engine']:.2f} / {1e3 * its['bare loop']:.2f} = {its['ratio']:.2f}"
        figures.append((f"engine over a bare loop, {model} model (ms an item)", each))
    queries = [("queries from 50 % on", "p50 (ms)", "p99 (ms)", "queries", "items migrated a second meanwhile")]
    for case, its in found["queries"].items():
        moved = f"{its['items_per_second']:,.0f}" if "items_per_second" in its else "-"
        times = f"{1e3 * its['p50']:.1f}", f"{1e3 * its['p99']:.1f}"
        queries.append((case, *times, f"{its['queries']:,}", moved))
    verbs = [("verb", "s", "longest write meanwhile (s)", "peak memory (MiB)")]
    for verb, its in found["verbs"].items():
        verbs.append((verb, f"{its['seconds']:.1f}", f"{its['longest_write']:.1f}", f"{its['memory']:,.0f}"))
    return "\n\n".join(markdown(rows) for rows in (figures, verbs, queries))


def searching(path: Path) -> str:
    """Format the tables of a report of `benchmarks.perf.searching`."""
    found = read(path, "recall")
    tables: list[Sequence[Sequence[str]]] = []
    for its in found["recall"]:
        size = f"{its['items']:,} items, {its['dim']} dimensions: recall@10 at"
        rows = [
            (size, *(f"{100 * point:.0f} %" for point in found["progress"]), "lowest, old part", "lowest, new part")
        ]
        for condition, shares in its["conditions"].items():
            lowest = (min(shares[part]) for part in ("old", "new"))
            rows.append((condition, *(f"{share:.3f}" for share in (*shares["both"], *lowest))))
        tables.append(rows)
    its = found["searcher"]
    figures = [("searcher", f"{its['items']:,} items, {its['dim']} dimensions, half of them migrated")]
    figures += [("vectors that are searched (MiB)", f"{its['raw_mib']:,.0f}")]
    figures += [("memory beyond a process that has searched nothing, at its peak (MiB)", f"{its['peak_mib']:,.0f}")]
    figures += [("over the vectors", f"{its['peak_mib'] / its['raw_mib']:.2f}")]
    figures += [("first query without `warm()` (s)", f"{its['first_cold']:.2f}")]
    figures += [("`warm()` (s)", f"{its['warm']:.1f}")]
    times = " / ".join(f"{1e3 * its[name]:.1f}" for name in ("first_warm", "p50", "p99"))
    figures += [("first query after it / p50 / p99 of later ones (ms)", times)]
    tables.append(figures)
    return "\n\n".join(markdown(rows) for rows in tables)


def indexed(path: Path) -> str:
    """Format the tables of the report of `benchmarks.perf.indexed`."""
    found = read(path, "recall_at_10")
    figures = [("figure", f"{found['items']:,} items, {found['dim']} dimensions")]
    figures += [(f"{name} (s)", f"{seconds:.1f}") for name, seconds in found["seconds"].items()]
    figures += [(f"recall@10, {share} migrated", f"{its:.3f}") for share, its in found["recall_at_10"].items()]
    names = ("query p50", "query p99", "write p50", "longest write")
    cases = [("", "verb (s)", *(f"{name} (ms)" for name in names), "of each")]
    for name, its in found["cases"].items():
        seconds = f"{its['seconds']:.1f}" if "seconds" in its else "-"
        cases.append((name, seconds, *(f"{its[figure]:.1f}" for figure in names), f"{its['steps']:.0f}"))
    return "\n\n".join(markdown(rows) for rows in (figures, cases))


def faults(paths: Sequence[Path]) -> str:
    """Format one table of the reports of `benchmarks.faults`, a part for each store."""
    rows: list[Sequence[str]] = [
        ("what was done to it", "store", "kills, stops, losses of power", "items checked", "answers checked",
         "items wrong", "answers wrong", "extracted again beyond what was in flight")
    ]  # fmt: skip
    for path in paths:
        found = read(path, "random_moments")
        rows += [row(name, found["store"], its) for name, its in cases(found)]
    broken = [("engine broken on purpose", "store", "rejected")]
    curves = [("curve, with kills between its points", "store", "kills", "largest difference to the replay")]
    for path in paths:
        found = read(path, "random_moments")
        for name, its in found["broken_engines"].items():
            broken.append((name, found["store"], f"{its['rejected']} of {its['rounds']}"))
        for name, key in (("one method", "curve"), ("a learner on the way", "curve_learning_on_the_way")):
            its = found[key]
            curves.append((name, found["store"], f"{its['kills']}", f"{its['largest_difference']:.1e}"))
    return "\n\n".join(markdown(some) for some in (rows, broken, curves))


def cases(found: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Format each injected fault, with its counts."""
    yield "SIGKILL at a random moment", found["random_moments"]
    for name, its in found["every_line"].items():
        yield f"SIGKILL at each line, first and last time: {name}", its
    for name, its in found["stopped"].items():
        yield f"stopped: {name.replace('_', ' ')}", its
    if "disk_full" in found:  # of a file
        yield "disk full", found["disk_full"]
    for name, its in found.get("losses_of_power", {}).items():
        yield f"loss of power: {name}", its


def row(name: str, store: str, its: dict[str, Any]) -> Sequence[str]:
    """Format the row of one injected fault."""
    hurt = sum(value for key, value in its.items() if key.startswith(("kills", "zombies", "losses")))
    wrong = (sum(its[key].values()) for key in ("wrong_in_store", "wrong_in_answers"))
    counts = hurt, its["items_checked"], its.get("answers", 0), *wrong, its["redone_beyond_what_was_in_flight"]
    return name, store, *(f"{count:,}" for count in counts)
