"""Judgements with ids on the command line of `benchmarks.replay`."""

import numpy as np
import pytest

from benchmarks import replay
from benchmarks.report import __main__ as report
from compat import Embeddings, backfill_curve, backfill_order
from compat.curve_metrics import UNDER_JUDGEMENTS
from compat.qrels import read_ids, read_qrels
from compat.results import load_results
from compat.results.lines import rounded


@pytest.fixture
def files(tmp_path):
    """Arrays of 12 queries and 40 items with ids, and judgements of grades 0 to 3."""
    random = np.random.default_rng(0)
    for part, count in (("query", 12), ("gallery", 40)):
        for time, dimension in (("old", 6), ("new", 8)):
            np.save(tmp_path / f"{part}_{time}.npy", random.normal(size=(count, dimension)).astype(np.float32))
        (tmp_path / f"{part}_ids").write_text("".join(f"{part[0]}{row}\n" for row in range(count)))
    grades = random.integers(0, 4, (11, 40)) * (random.random((11, 40)) < 0.2)
    rows = [f"q{query} 0 g{item} {grades[query, item]}\n" for query in range(11) for item in range(40) if item % 3]
    (tmp_path / "qrels").write_text("".join(rows))
    np.save(tmp_path / "query_labels.npy", np.zeros(12, int))
    return tmp_path


def call(folder, *options, without=()):
    names = ("query_old", "query_new", "gallery_old", "gallery_new")
    given = {f"--{name.replace('_', '-')}": str(folder / f"{name}.npy") for name in names}
    given |= {f"--{name.replace('_', '-')}": str(folder / name) for name in ("qrels", "query_ids", "gallery_ids")}
    arguments = [part for name, file in given.items() if name not in without for part in (name, file)]
    replay.main([*arguments, "-o", str(folder / "results" / "mine"), *options])
    return load_results(folder / "results" / "mine")


def embeddings(folder, min_grade=1):
    arrays = {f"{p}_{t}": np.load(folder / f"{p}_{t}.npy") for p in ("query", "gallery") for t in ("old", "new")}
    ids = [read_ids("ids", folder / f"{part}_ids") for part in ("query", "gallery")]
    return Embeddings(**arrays, relevance=read_qrels(folder / "qrels", ids[0], ids[1], min_grade))


@pytest.mark.parametrize("options", [(), ("--min-grade", "2")])
def test_a_result_equals_the_function(files, options):
    (result,) = call(files, *options)
    e = embeddings(files, int((*options, "1")[1 if options else 0]))
    curve = backfill_curve(e, backfill_order(40, 0), metrics=UNDER_JUDGEMENTS)
    assert result.curves == {name: rounded(values[0].tolist()) for name, values in curve.figures.items()}
    assert (result.queries, result.queries_without_positive) == (curve.queries, curve.queries_without_positive)
    assert result.queries_without_positive >= 1


def test_a_report_says_what_was_judged(files):
    names = ("query_old", "query_new", "gallery_old", "gallery_new")
    given = {f"--{name.replace('_', '-')}": str(files / f"{name}.npy") for name in names}
    given |= {f"--{name.replace('_', '-')}": str(files / name) for name in ("qrels", "query_ids", "gallery_ids")}
    more = ("--progress", "3", "--queries", "11", "--items", "30", "-o", str(files / "report.html"))
    report.main([*(part for option in given.items() for part in option), *more])
    written = (files / "report.md").read_text()
    assert "judgements: " in written.lower()
    assert "Of the first ten items, " in written
    assert "class" not in written.lower()


def test_other_judgements_are_other_input(files, capsys):
    call(files)
    with pytest.raises(SystemExit) as end:
        call(files, "--min-grade", "2")
    assert end.value.code == 2
    assert "error: overwrite: mine (seed 0) in " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "without", "qrels", "message"),
    [
        (
            ("--query-labels", "query_labels.npy"),
            (),
            None,
            "query_labels: query_labels.npy beside --qrels, expected labels",
        ),
        ((), ("--query-ids",), None, "query_ids: not given, expected --query-ids FILE beside --qrels"),
        ((), ("--qrels",), None, "query_ids: "),
        (("--min-grade", "0"), (), None, "min_grade: 0, expected at least 1"),
        (("--min-grade", "9"), (), None, "min_grade: 9, expected at most 3, the highest grade"),
        (("--qrels", "none"), (), None, "qrels: none (no such file), expected a file"),
        ((), (), "q0 0 g0 1\nq0 0 g77 1\n", "qrels: item 'g77' in row 2 is unknown"),
        ((), (), "q0 g0 1\nq99 g0 1\n", "qrels: query 'q99' in row 2 is unknown"),
        ((), (), "q0\tg0\t1\r\nq0\tg0\t2\r\n", "qrels: grade 2 in row 2 for query 'q0' and item 'g0', 1 in row 1"),
        ((), (), "q0 g0 -1\n", "qrels: grade '-1' in row 1, expected a whole number of 0 or more"),
        ((), (), "q0 g0 1.5\n", "qrels: grade '1.5' in row 1, expected a whole number of 0 or more"),
    ],
)
def test_wrong_input_is_one_line_before_any_work(files, options, without, qrels, message, capsys):
    if qrels is not None:
        (files / "qrels").write_text(qrels)
    with pytest.raises(SystemExit) as end:
        call(files, *options, without=without)
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert error.startswith(f"error: {message}")
    assert len(error.splitlines()) == 1
    assert not (files / "results").exists()
