"""Print the results of benchmarks as Markdown tables, or write them into a document. Needs no torch.

    python -m benchmarks.table results/digits
    python -m benchmarks.table results/tiny_imagenet_methods --only order=random merge=raw
    python -m benchmarks.table results/tiny_imagenet_methods --compare rqt independent
    python -m benchmarks.table --write results/README.md

A document that tables are written into has a line `<!-- table: FOLDER [field=value ...] -->` before each of them and
`<!-- end -->` after it; FOLDER is relative to the document.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from compat.errors import InputError, exit_on_input_error
from compat.files import replace
from compat.results import FAILED, Failure, Result, load_failures, load_query_auc, load_upgrades, select
from compat.statistics import Interval, over_seeds, paired_bootstrap

COLUMNS: dict[str, Callable[[Result], float]] = {
    "AUC mAP": lambda r: r.auc,
    "relative gain": lambda r: r.relative_gain,
    "gain on own end": lambda r: r.gain_on_final,
    "gain at 10 %": lambda r: r.gain_at(0.1),
    "at 25 %": lambda r: r.gain_at(0.25),
    "at 50 %": lambda r: r.gain_at(0.5),
    "mAP at 0": lambda r: r.mean_ap[0],
    "mAP at 1": lambda r: r.mean_ap[-1],
    "negative flips": lambda r: r.flips,
    "sum of drops": lambda r: r.drops,
}
VERDICTS = {frozenset([True]): "yes", frozenset([False]): "no", frozenset([None]): "-"}
LEGEND = (
    "± is half the 95 % interval over seeds, of heads and of random orders; models, and what is trained with them, are "
    "trained once. ≈: a paired bootstrap over queries does not tell the area from the best row's, in bold (known only "
    "where figures of each query were saved)."
)


def table(results: Sequence[Result], folder: str | Path | None = None, failures: Sequence[Failure] = ()) -> str:
    """Markdown, one row a method with its order and merge rule, in percent; what failed comes last.

    Args:
        results: of one benchmark, the seeds of a row after each other as `load_results` gives them.
        folder: of the results, where each query's figures lie; with it rows are compared with the best.
        failures: of the benchmark.
    """
    axes = any(r.order != "random" or r.merge != "raw" for r in results)
    names = ["method", *(["needs"] if axes else []), "seeds", *(f"{name} (%)" for name in COLUMNS)]
    names += ["backward compatible", "encoder passes per query", "bytes per item", "training (s)"]
    rows = [names, ["---", *["--:"] * (len(names) - 1)]]
    groups = [list(group) for _, group in groupby(results, key=lambda r: r.name)]
    equal = not_separable(groups, folder) if folder else set()
    best = max(np.mean([r.auc for r in group]) for group in groups)
    for group in groups:
        first, cells = group[0], [_percent([figure(r) for r in group]) for figure in COLUMNS.values()]
        if len(groups) > 1 and np.mean([r.auc for r in group]) == best:
            cells[0] = f"**{cells[0]}**"
        elif first.name in equal:
            cells[0] += " ≈"
        needs = [need for need in (first.order_needs, first.merge_needs) if need != "nothing"]
        cells = [first.name, *([", ".join(needs) or "-"] if axes else []), str(len(group)), *cells]
        seconds = np.mean([r.training_seconds for r in group])
        rows.append(
            [
                *cells,
                VERDICTS.get(frozenset(r.backward_compatible for r in group), "for some seeds"),
                str(first.encoder_passes_per_query),
                str(first.bytes_per_item) if first.bytes_per_item else "-",
                f"{seconds:,.0f}",
            ]
        )
    ends = [f"{100 * system['mean_ap']:.2f} %" for system in (results[0].old, results[0].new)]
    lines = [f"mAP of the old system {ends[0]}, of the new one {ends[1]}.", ""]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    lines += [f"| {_failed(failure)} |" + " |" * (len(names) - 1) for failure in failures]
    return "\n".join(lines)


def _failed(failure: Failure) -> str:
    reason = failure.reason.replace("|", "\\|")
    return f"{failure.method} ({failure.order}, {failure.merge}, seed {failure.seed}) failed: {reason}"


def not_separable(groups: Sequence[Sequence[Result]], folder: str | Path) -> set[str]:
    """Names of the rows whose area a paired bootstrap over queries does not tell from the best row's."""
    areas = {group[0].name: query_areas(group, folder) for group in groups}
    best = max(groups, key=lambda group: np.mean([r.auc for r in group]))[0].name
    first = areas.pop(best)
    if first is None:
        return set()
    return {name for name, of_row in areas.items() if of_row is not None and paired_bootstrap(first, of_row).low <= 0}


def query_areas(group: Sequence[Result], folder: str | Path) -> np.ndarray | None:
    """Each query's area, (Q,), mean over the seeds of a row; None where one was not saved."""
    areas = [load_query_auc(folder, result) for result in group]
    return None if any(area is None for area in areas) else np.mean(np.array(areas, float), axis=0)


def compare(folder: str | Path, one: str, other: str) -> str:
    """Whether one row beats another: the difference of their areas with its interval over queries.

    Raises:
        InputError: no such row, or no figures of each query.
    """
    areas, upgrades = {}, load_upgrades(folder)
    if len(upgrades) > 1:
        raise InputError(f"compare: {folder} is a sequence, expected the folder of one of {', '.join(upgrades)}")
    (results,) = upgrades.values()
    for name in (one, other):
        group = [r for r in results if r.name == name]
        if not group:
            raise InputError(f"compare: {name!r}, expected some of {', '.join(sorted({r.name for r in results}))}")
        if (found := query_areas(group, folder)) is None:
            raise InputError(f"compare: no .npy file beside the results of {name!r}, expected one for each seed")
        areas[name] = found
    mean, low, high = paired_bootstrap(areas[one], areas[other])
    verdict = f"{one} beats {other}" if low > 0 else f"{other} beats {one}" if high < 0 else "not separable"
    return (
        f"{one} - {other}: {100 * mean:+.2f} points of AUC mAP, 95 % [{100 * low:+.2f}, {100 * high:+.2f}]: {verdict}"
    )


def tables(folder: str | Path, only: Iterable[str] = ()) -> str:
    """The table of a benchmark, or those of the upgrades of a sequence under their names.

    Args:
        folder: results/<benchmark>.
        only: conditions on results, see `compat.results.select`; with some, failures are left out.

    Raises:
        InputError: no results, none that fulfils the conditions, or no such field.
    """
    failures = load_failures(folder)
    if failures and all(path.name.endswith(FAILED) for path in Path(folder).rglob("*.json")):
        return "\n".join(_failed(failure) for failure in failures)
    upgrades = load_upgrades(folder)
    found = {name: select(results, only) for name, results in upgrades.items()}
    if len(found) == 1:
        (results,) = found.values()
        return table(results, folder, [] if only else failures)
    texts = []
    for name, of_upgrade in found.items():
        path = Path(folder, name)
        texts.append(f"{Path(folder).name}/{name}\n\n{table(of_upgrade, path, [] if only else load_failures(path))}")
    return "\n\n".join(texts)


def written(document: str | Path) -> str:
    """The text of a document with each of its tables made anew.

    Raises:
        InputError: no such document, a table without an end, or what `tables` raises.
    """
    path = Path(document)
    try:
        text = path.read_text()
    except OSError as error:
        raise InputError(f"write: {path} ({error.strerror}), expected a Markdown file") from error

    def fresh(found: re.Match[str]) -> str:
        folder, *only = found[1].split()
        return f"<!-- table: {found[1]} -->\n\n{tables(path.parent / folder, only)}\n\n<!-- end -->"

    pattern = r"<!-- table: (.*?) -->\n.*?<!-- end -->"
    if len(re.findall(pattern, text, re.DOTALL)) != text.count("<!-- table: "):
        raise InputError(f"write: {path} has a table without an end, expected <!-- end --> after each")
    return re.sub(pattern, fresh, text, flags=re.DOTALL)


def write(document: str | Path) -> None:
    """Write each table of a document anew."""
    text = written(document)
    replace(Path(document), lambda file: file.write_text(text))


def _percent(values: list[float]) -> str:
    if np.isnan(values).any():  # the relative gain, where the new system is not better than the old
        return "undefined"
    mean, low, high = Interval(*(100 * value for value in over_seeds(values)))
    half = (high - low) / 2
    return f"{mean:.2f} ± {half:.2f}" if half >= 0.005 else f"{mean:.2f}"


def main() -> None:
    """Command line of `python -m benchmarks.table`."""
    assert __doc__
    head, usage = __doc__.split("\n\n", 1)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.table",
        description=head,
        epilog=usage,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="*", metavar="folder", help="results/<benchmark>")
    parser.add_argument("--only", nargs="+", default=[], metavar="FIELD=VALUE", help="which results: order=random")
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help="whether row A beats row B, over queries")
    parser.add_argument("--write", metavar="DOCUMENT", help="write the tables of a Markdown document anew")
    arguments = parser.parse_args()
    with exit_on_input_error():
        if not arguments.folders and not arguments.write:
            raise InputError("folder: none, expected results/<benchmark>, or --write DOCUMENT")
        if arguments.write:
            write(arguments.write)
            print(f"The tables of {arguments.write} are written")
        for folder in arguments.folders:
            if arguments.compare:
                print(compare(folder, *arguments.compare))
            else:
                print(f"{tables(folder, arguments.only)}\n\n{LEGEND}\n")


if __name__ == "__main__":
    main()
