"""Judgements with ids on the command line of `benchmarks.replay`."""

import re

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch

from benchmarks import replay
from benchmarks.report import __main__ as report
from compat import Embeddings, backfill_curve, backfill_order
from compat.curve_metrics import UNDER_JUDGEMENTS
from compat.qrels import read_ids, read_qrels
from compat.results import load_results
from compat.results.lines import rounded
from compat.results.summaries import HEADLINE


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


def given_files(folder, without=()):
    """The options of both commands for these files."""
    files = {f"--{p}-{t}": folder / f"{p}_{t}.npy" for p in ("query", "gallery") for t in ("old", "new")}
    files |= {"--qrels": folder / "qrels", "--query-ids": folder / "query_ids", "--gallery-ids": folder / "gallery_ids"}
    return [part for name, file in files.items() if name not in without for part in (name, str(file))]


def call(folder, *options):
    replay.main([*given_files(folder), "-o", str(folder / "results" / "mine"), *options])
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


def test_the_printed_table_has_the_share_of_judged_items(files, capsys):
    (result,) = call(files)
    names, _, row = capsys.readouterr().out.splitlines()[2:5]
    assert [name.strip() for name in re.split("  +", names)][3:] == [
        "mAP 0 -> 1",
        "nDCG@10 0 -> 1",
        "R@1 0 -> 1",
        "judged@10",
    ]
    assert row.endswith(" -> ".join(f"{100 * result.curves['judged_10'][end]:.0f}" for end in (0, -1)))


def test_a_report_says_what_was_judged(files):
    more = ("--progress", "3", "--queries", "12", "--items", "40", "-o", str(files / "report.html"))
    report.main([*given_files(files), *more])
    written = (files / "report.md").read_text()
    assert "judgements: " in written.lower()
    assert "Of the first ten items, " in written
    assert "class" not in written.lower()
    table = written[written.index("|  | mAP | nDCG@10 | R@1 | judged@10 |") :].split("\n\n")[0].splitlines()
    assert (table[2].split(" | ")[0], table[-1].split(" | ")[0]) == ("| old system", "| new system")
    e = embeddings(files)
    curve = backfill_curve(e, range(40), [0.0, 1.0], metrics=["ndcg_10", "judged_10"])
    ends = [[f"{100 * curve.mean(name)[end]:.1f} %" for name in HEADLINE | {"judged_10": ""}] for end in (0, 1)]
    assert [row.strip("| ").split(" | ")[1:] for row in (table[2], table[-1])] == ends


def test_with_a_transform_losses_are_those_of_the_old_system(files):
    np.save(files / "matrix.npy", np.random.default_rng(1).normal(size=(8, 6)))
    (result,) = call(files, "--transform", str(files / "matrix.npy"))
    e = embeddings(files)
    made = e.replace(query_old=(e.query_new.double() @ torch.from_numpy(np.load(files / "matrix.npy"))).float())
    curve = backfill_curve(made, backfill_order(40, 0), metrics=["lost_10"], before=e)
    assert result.curves["lost_10"] == rounded(curve.figures["lost_10"][0].tolist())
    assert result.curves["lost_10"][0] > 0


def test_other_judgements_are_other_input(files, capsys):
    call(files)
    with pytest.raises(SystemExit) as end:
        call(files, "--min-grade", "2")
    assert end.value.code == 2
    assert "error: overwrite: mine (seed 0) in " in capsys.readouterr().err


def refused(main, arguments, capsys):
    """The one line with which a command ends."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert len(error.splitlines()) == 1
    return error.removeprefix("error: ")


def check_refused(main, files, message, capsys, options=(), without=()):
    output = files / "results" / "report.html"
    error = refused(main, [*given_files(files, without), "-o", str(output), *options], capsys)
    assert error.replace(f"{files}/", "").startswith(message)
    assert not output.parent.exists()


COMMANDS = pytest.mark.parametrize("main", [replay.main, report.main], ids=["replay", "report"])
UNKNOWN = "is unknown, expected one of the"
WHOLE = "expected a whole number of 0 or more"
NONE = "qrels: qrels has no judgement, expected at least one"


@COMMANDS
@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        ("q0 0 g0 1\nq0 0 g77 1\n", f"qrels: item 'g77' in row 2 {UNKNOWN} item ids, as 'g0'"),
        ("q0 g0 1\nq99 g0 1\n", f"qrels: query 'q99' in row 2 {UNKNOWN} query ids, as 'q0'"),
        ("q0 g0 1\n0 g0 1\n", f"qrels: query '0' in row 2 {UNKNOWN} query ids, as 'q0'"),
        ("q00 g0 1\n", f"qrels: query 'q00' in row 1 {UNKNOWN}"),
        ("q0 g0 1\n# by us\n", "qrels: grade 'us' in row 2"),
        ("q0\tg0\t1\n\tg1\t1\n", f"qrels: query '' in row 2 {UNKNOWN}"),
        (f"q0 g0 1\n{'x' * 5000} g0 1\n", f"qrels: query '{'x' * 60}…' in row 2 {UNKNOWN}"),
        ("q0\tg0\t1\r\nq0\tg0\t2\r\n", "qrels: grade 2 in row 2 for query 'q0' and item 'g0', 1 in row 1"),
        ("\ufeffq0 g0 1\r\n\r\nq0 g1 -1\r\n", f"qrels: grade '-1' in row 3, {WHOLE}"),
        ("q0 g0 1.5\n", f"qrels: grade '1.5' in row 1, {WHOLE}"),
        ("q0 g0 1\nq1 g0 nan\n", f"qrels: grade 'nan' in row 2, {WHOLE}"),
        ("q0\tg0\t1\nq1\tg1\t\n", f"qrels: grade '' in row 2, {WHOLE}"),
        (
            "topic run papers judgement\nq0 0 g0 1\n",
            f"qrels: grade 'judgement' in row 1, {WHOLE} or a header of query-id, corpus-id and score",
        ),
        ("q0 g0\n", "qrels: 2 columns in row 1 of qrels, expected 3 or 4, between tabs or spaces"),
        ("q0 0 g0 1 run\n", "qrels: 5 columns in row 1 of qrels, expected 3 or 4"),
        ("q0 g0 1\nq0 0 g1 1\n", "qrels: 4 columns in row 2 of qrels, expected 3 as in row 1"),
        ("q0 0 g0 1\nq0 g1 1\n", "qrels: 3 columns in row 2 of qrels, expected 4 as in row 1"),
        ("q0,g0,1\n", "qrels: 1 columns in row 1 of qrels, expected 3 or 4, between tabs or spaces"),
        ("", NONE),
        ("\r\n \n", NONE),
        ("query-id\tcorpus-id\tscore\n", NONE),
        ("q0 g0 0\nq1 g1 0\n", "min_grade: 1, expected a judgement with a grade of 1 or more"),
    ],
)
def test_wrong_judgements_are_one_line_before_any_work(main, files, qrels, message, capsys):
    (files / "qrels").write_bytes(qrels.encode())
    check_refused(main, files, message, capsys)


@COMMANDS
@pytest.mark.parametrize(
    ("options", "without", "message"),
    [
        (("--query-labels", "q.npy"), (), "query_labels: q.npy beside --qrels, expected labels or judgements"),
        (("--gallery-labels", "g.npy"), (), "gallery_labels: g.npy beside --qrels, expected labels or judgements"),
        ((), ("--query-ids",), "query_ids: not given, expected --query-ids FILE beside --qrels"),
        ((), ("--gallery-ids",), "gallery_ids: not given, expected --gallery-ids FILE beside --qrels"),
        ((), ("--qrels",), "query_ids: query_ids without --qrels, expected both"),
        (("--min-grade", "1"), ("--qrels", "--query-ids", "--gallery-ids"), "min_grade: 1 without --qrels"),
        (("--min-grade", "0"), (), "min_grade: 0, expected at least 1"),
        (("--min-grade", "-1"), (), "min_grade: -1, expected at least 1"),
        (("--min-grade", "9"), (), "min_grade: 9, expected at most 3, the highest grade"),
        (("--min-grade", "high"), (), "argument --min-grade: invalid int value: 'high'"),
        (("--qrels", "none"), (), "qrels: none (no such file), expected a file"),
        (("--qrels", "."), (), "qrels: . (no such file), expected a file"),
        (("--query-ids", "none"), (), "query_ids: none (no such file), expected a file"),
    ],
)
def test_wrong_options_are_one_line_before_any_work(main, files, options, without, message, capsys):
    check_refused(main, files, message, capsys, options, without)


def lines(count):
    return "".join(f"q{row}\n" for row in range(count)).encode()


@COMMANDS
@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (lines(11), "query_ids: 11 ids in query_ids, expected 12, one for each row"),
        (b"id\n" + lines(12), "query_ids: 13 ids in query_ids, expected 12, one for each row"),
        (b"", "query_ids: 0 ids in query_ids, expected 12, one for each row"),
        (lines(11) + b"q3\r\n", "query_ids: 'q3' in row 12 of query_ids as in row 4, expected each id once"),
        (lines(5) + b"\n" + lines(12)[15:-4], "query_ids: no id in row 6 of query_ids, expected one"),
        ("ä\n".encode("latin-1") * 12, "query_ids: query_ids (no text in UTF-8), expected ids, one a line"),
    ],
)
def test_wrong_ids_are_one_line_before_any_work(main, files, ids, message, capsys):
    (files / "query_ids").write_bytes(ids)
    check_refused(main, files, message, capsys)


@COMMANDS
def test_ids_of_another_type_are_one_line(main, files, capsys):
    columns = {"query-id": [7.0], "corpus-id": ["g0"], "score": [1]}
    pyarrow.parquet.write_table(pyarrow.table(columns), files / "floats.parquet")
    found = "qrels: query ids in floats.parquet of type double, expected text or whole numbers"
    check_refused(main, files, found, capsys, ("--qrels", str(files / "floats.parquet")))
    np.save(files / "ids.npy", np.arange(12.0))
    found = "query_ids: float64 of shape (12,), expected text or whole numbers"
    check_refused(main, files, found, capsys, ("--query-ids", str(files / "ids.npy")))
    np.save(files / "ids.npy", np.arange(12))
    check_refused(
        main,
        files,
        f"qrels: query 'q0' in row 1 {UNKNOWN} query ids, as '0'",
        capsys,
        ("--query-ids", str(files / "ids.npy")),
    )


@pytest.mark.parametrize("given", ["text", "npy", "parquet"])
def test_numbers_are_the_same_ids_in_every_file(files, given):
    """7 as a number is "7", not "007"."""
    numbers = [*range(11), 700]
    (files / "qrels").write_bytes("\ufeffquery-id\tcorpus-id\tscore\r\n7\tg1\t2\r\n\r\n700\tg3\t1\r\n".encode())
    path = files / f"ids.{given}"
    if given == "text":
        path.write_text("".join(f"{number}\r\n" for number in numbers))
    elif given == "npy":
        np.save(path, np.array(numbers, np.uint16))
    else:
        pyarrow.parquet.write_table(pyarrow.table({"_id": numbers}), path)
    (result,) = call(files, "--query-ids", str(path), "--progress", "2")
    assert (result.queries, result.queries_without_positive) == (2, 10)
