"""Build the page's text from benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.html import render, runtime
from benchmarks.page.charts import AGAINST, COSTS, specifications
from benchmarks.page.choose import advice
from benchmarks.page.diagrams import diagram
from benchmarks.page.families import families, rankings, unseen
from benchmarks.page.gather import Benchmark
from benchmarks.page.papers import describe
from benchmarks.page.payload import payload
from benchmarks.tables import harm, seen
from benchmarks.tables.table import LEGEND
from compat import __version__
from compat.results import PLAIN

HERE = Path(__file__).parent
SELECTS = {
    "dataSet": "Data set",
    "setting": "Setting",
    "benchmark": "Benchmark",
    "order": "Order",
    "merge": "Merge rule",
    "passes": "Encoder passes",
}


def build(benchmarks: Sequence[Benchmark], documents: str = "") -> str:
    """Return one HTML file.

    Args:
        benchmarks: its content.
        documents: folder of linked documents, relative to it.

    Raises:
        InputError: a required package is not installed.
    """
    names: dict[str, list[str]] = {}
    for row in (row for one in benchmarks for row in one.rows):
        known = names.setdefault(str(row.group[0].spec.get("class_path", "")), [])
        if row.group[0].method not in known:
            known.append(row.group[0].method)
    ranked, alike = rankings(benchmarks), families(benchmarks)
    counts = {
        "benchmarks": len(benchmarks),
        "data_sets": len({one.data_set for one in benchmarks}),
        "methods": len({name for of_class in names.values() for name in of_class}),
        "rows": sum(len(one.rows) for one in benchmarks),
        "results": f"{sum(len(one.results) for one in benchmarks):,}",
    }
    return render(
        HERE / "page.html.j2",
        "Compatible retrieval: results",
        [HERE.joinpath("spent.js").read_text(), HERE.joinpath("page.js").read_text(), runtime()],
        [HERE.joinpath("page.css").read_text()],
        counts=counts,
        documents=documents,
        selects=SELECTS,
        costs=COSTS,
        against=AGAINST,
        legend=LEGEND,
        diagrams=[(diagram(name, found), *advice(found, alike[name])) for name, found in ranked.items()],
        seen=[
            (name, seen.seen_rows(seen.settings([one.folder for one in members]), [one.results for one in members]))
            for name, members in unseen(benchmarks).items()
        ],
        seen_note=seen.NOTE,
        harmed=harm.harm_rows(r for one in benchmarks for r in one.results if r.merge == PLAIN["merge"]),
        harm_note=harm.NOTE,
        methods=sorted((describe(path) for path in names), key=lambda one: one.name),
        names=names,
        data=payload(benchmarks),
        specs=specifications(),
        version=__version__,
    )
