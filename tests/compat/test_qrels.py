"""Files of judgements: every shape in which people have them, and one line with the row's number for a wrong one."""

import itertools

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compat.errors import InputError
from compat.qrels import read_ids, read_qrels

QUERIES, ITEMS = ["q1", "q 2", "3"], ["d1", "d2", "d3", "4"]
JUDGED = [("q1", "d1", 2), ("q1", "d3", 0), ("3", "4", 1), ("3", "d2", 3)]
HEADERS = {3: ("query-id", "corpus-id", "score"), 4: ("query_id", "iter", "doc_id", "relevance")}


def pairs(found):
    return {
        (QUERIES[query], ITEMS[item], grade)
        for query, item, grade in zip(*(v.tolist() for v in (found.queries, found.items, found.grades)), strict=True)
    }


@pytest.mark.parametrize(
    ("columns", "between", "end", "mark", "header"),
    itertools.product((3, 4), ("\t", " ", "   "), ("\n", "\r\n"), ("", "\ufeff"), (False, True)),
)
def test_every_shape_of_text(tmp_path, columns, between, end, mark, header):
    rows = [HEADERS[columns]] if header else []
    rows += [
        (query, item, str(grade)) if columns == 3 else (query, "0", item, str(grade)) for query, item, grade in JUDGED
    ]
    path = tmp_path / "qrels.tsv"
    path.write_bytes((mark + "".join(between.join(row) + end for row in rows)).encode())
    assert pairs(read_qrels(path, QUERIES, ITEMS)) == set(JUDGED)


def test_columns_follow_a_header(tmp_path):
    (tmp_path / "qrels").write_text(
        "corpus-id\tscore\tquery-id\n" + "".join(f"{d}\t{g}.0\t{q}\n" for q, d, g in JUDGED)
    )
    assert pairs(read_qrels(tmp_path / "qrels", QUERIES, ITEMS)) == set(JUDGED)


def test_ids_with_spaces_between_tabs(tmp_path):
    (tmp_path / "qrels").write_text("q 2\td1\t1\n\nq 2\td2\t1")
    assert pairs(read_qrels(tmp_path / "qrels", QUERIES, ITEMS)) == {("q 2", "d1", 1), ("q 2", "d2", 1)}


@pytest.mark.parametrize("numbers", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_parquet(tmp_path, numbers, whole):
    queries, items = ([1, 1, 3], [4, 2, 4]) if numbers else (["q1", "q1", "3"], ["4", "d2", "4"])
    table = {
        "score": [1, 0, 2] if whole else [1.0, 0.0, 2.0],
        "corpus-id": items,
        "query-id": queries,
        "more": [0, 0, 0],
    }
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "qrels.parquet")
    found = read_qrels(tmp_path / "qrels.parquet", [str(q) for q in (*dict.fromkeys(queries),)], ["d2", "4", "2"])
    assert found.queries.tolist() == [0, 0, 1]
    assert sorted(found.grades.tolist()) == [0, 1, 2]


@settings(max_examples=50, deadline=None)
@given(
    judged=st.dictionaries(
        st.tuples(st.sampled_from(QUERIES[::2]), st.sampled_from(ITEMS)), st.integers(0, 5), min_size=1
    ),
    columns=st.sampled_from([3, 4]),
    twice=st.booleans(),
)
def test_what_is_written_is_read(tmp_path_factory, judged, columns, twice):
    judged["q1", "d1"] = 1
    path = tmp_path_factory.mktemp("qrels") / "qrels.txt"
    lines = [f"{q}\t{'0' + chr(9) if columns == 4 else ''}{d}\t{g}\n" for (q, d), g in judged.items()]
    path.write_text("".join(lines * (2 if twice else 1)))
    assert pairs(read_qrels(path, QUERIES, ITEMS)) == {(q, d, g) for (q, d), g in judged.items()}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1 d1 1\nq9 d1 1\n", "qrels: query 'q9' in row 2 is unknown, expected one of the query ids, as 'q1'"),
        (
            "query-id corpus-id score\nq1 d9 1",
            "qrels: item 'd9' in row 2 is unknown, expected one of the item ids, as 'd1'",
        ),
        ("q1 d1 1\nq1 d2 -1", "qrels: grade '-1' in row 2, expected a whole number of 0 or more"),
        ("q1 0 d1 0.5", "qrels: grade '0.5' in row 1, expected a whole number of 0 or more"),
        ("q1 d1 high", "qrels: grade 'high' in row 1, expected a whole number of 0 or more"),
        ("q1 d1 inf", "qrels: grade 'inf' in row 1, expected a whole number"),
        ("q1 d1 1\n\nq1 d1 2", "qrels: grade 2 in row 3 for query 'q1' and item 'd1', 1 in row 1, expected one grade"),
        ("q1 d1", "qrels: 2 columns in row 1 of"),
        ("q1 d1 1\nq1 0 d2 1", "qrels: 4 columns in row 2 of"),
        ("q1 0 d1 1 x", "qrels: 5 columns in row 1 of"),
        ("", "qrels: "),
        ("query-id corpus-id score\n", "qrels: "),
        ("q1 d1 0\n", "min_grade: 1, expected a judgement with a grade of 1 or more"),
    ],
)
def test_wrong_text_is_one_line_with_the_row(tmp_path, text, message):
    (tmp_path / "qrels").write_text(text)
    with pytest.raises(InputError) as caught:
        read_qrels(tmp_path / "qrels", QUERIES, ITEMS)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_threshold_above_all_grades(tmp_path):
    (tmp_path / "qrels").write_text("q1 d1 2")
    with pytest.raises(InputError, match="min_grade: 3, expected at most 2, the highest grade"):
        read_qrels(tmp_path / "qrels", QUERIES, ITEMS, 3)


def test_wrong_files(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfeq\x001\x00")
    with pytest.raises(InputError, match=r"qrels: .*binary \(text in UTF-16\), expected judgements"):
        read_qrels(tmp_path / "binary", QUERIES, ITEMS)
    table = pyarrow.table({"query-id": ["q1", None], "corpus-id": ["d1", "d1"], "score": [1, 1]})
    pyarrow.parquet.write_table(table, tmp_path / "hole.parquet")
    with pytest.raises(InputError, match=r"qrels: an empty cell in row 2 of"):
        read_qrels(tmp_path / "hole.parquet", QUERIES, ITEMS)
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(InputError, match=r"qrels: columns a in .*, expected query-id, corpus-id and score"):
        read_qrels(tmp_path / "other.parquet", QUERIES, ITEMS)
    floats = pyarrow.table({"query-id": [1.0], "corpus-id": ["d1"], "score": [1]})
    pyarrow.parquet.write_table(floats, tmp_path / "floats.parquet")
    with pytest.raises(InputError, match=r"qrels: query ids in .* of type double, expected text or whole numbers"):
        read_qrels(tmp_path / "floats.parquet", QUERIES, ITEMS)
    with pytest.raises(InputError, match=r"qrels: .*No such file"):
        read_qrels(tmp_path / "none", QUERIES, ITEMS)


def test_ids_of_every_kind_are_text(tmp_path):
    (tmp_path / "ids.txt").write_bytes("\ufeff1\r\nzwei\r\n\n".encode())
    assert read_ids("query_ids", tmp_path / "ids.txt") == ["1", "zwei"]
    np.save(tmp_path / "numbers.npy", np.arange(3, dtype=np.uint8))
    assert read_ids("query_ids", tmp_path / "numbers.npy", 3) == ["0", "1", "2"]
    np.save(tmp_path / "texts.npy", np.array(["a", "bc"]))
    assert read_ids("query_ids", tmp_path / "texts.npy") == ["a", "bc"]
    pyarrow.parquet.write_table(pyarrow.table({"_id": [7, 8], "text": ["x", "y"]}), tmp_path / "ids.parquet")
    assert read_ids("query_ids", tmp_path / "ids.parquet") == ["7", "8"]


def test_wrong_ids_are_one_line(tmp_path):
    (tmp_path / "twice.txt").write_text("a\nb\na\n")
    with pytest.raises(InputError, match=r"query_ids: 'a' in row 3 of .* as in row 1, expected each id once"):
        read_ids("query_ids", tmp_path / "twice.txt")
    (tmp_path / "hole.txt").write_text("a\n\nb\n")
    with pytest.raises(InputError, match=r"query_ids: no id in row 2 of .*, expected one"):
        read_ids("query_ids", tmp_path / "hole.txt")
    with pytest.raises(InputError, match=r"query_ids: 3 ids in .*, expected 4, one for each row"):
        read_ids("query_ids", tmp_path / "twice.txt", 4)
    np.save(tmp_path / "floats.npy", np.ones(3))
    with pytest.raises(InputError, match=r"query_ids: float64 of shape \(3,\), expected text or whole numbers"):
        read_ids("query_ids", tmp_path / "floats.npy")
