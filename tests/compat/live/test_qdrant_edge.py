"""Qdrant Edge is the server's engine as a library: it keeps what the adapter rests on."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("qdrant_client")
pytest.importorskip("qdrant_edge")

import qdrant_edge as edge

from compat.live.qdrant.points import point_id, stamp

do = edge.UpdateOperation
IDS = [point_id(f"i{n}") for n in range(4)]


def point(n, **vectors):
    payload = {"id": f"i{n}", "stamp": stamp(f"i{n}", 1), "era": 1, "place": n, "tags": ['["lang", "en"]']}
    return edge.Point(IDS[n], {"old": [float(n), 1.0], **vectors}, payload)


@pytest.fixture
def shard(tmp_path):
    """Three points with an old vector, and a column for new ones that was made later."""
    config = edge.EdgeConfig(vectors={"old": edge.EdgeVectorParams(size=2, distance=edge.Distance.Euclid)})
    found = edge.EdgeShard.create(str(tmp_path), config)
    found.update(do.upsert_points([point(n) for n in range(3)]))
    found.update(do.create_dense_vector("new-1", 3, edge.Distance.Euclid))
    yield found
    found.close()


def vectors(shard):
    records = shard.retrieve(IDS, False, True)
    return {IDS.index(str(record.id)): record.vector for record in records}


def count(shard, **conditions):
    return shard.count(edge.CountRequest(exact=True, filter=edge.Filter(**conditions)))


def stamped(*stamps):
    """The condition under which a worker's batch is written."""
    same = edge.FieldCondition(key="stamp", match=edge.MatchAny(any=list(stamps)))
    return edge.Filter(must=[same], must_not=[edge.HasVectorCondition("new-1")])


def write(shard, rows, *stamps):
    shard.update(
        do.update_vectors([edge.PointVectors(IDS[n], {"new-1": row}) for n, row in rows.items()], stamped(*stamps))
    )


def test_vectors_are_written_to_the_version_that_they_are_of_and_once(shard):
    rows = {0: [0.0] * 3, 1: [1.0] * 3}
    write(shard, rows, stamp("i0", 1), stamp("i1", 2))
    assert [("new-1" in found) for _, found in sorted(vectors(shard).items())] == [True, False, False]
    write(shard, {0: [9.0] * 3, 1: [2.0] * 3}, stamp("i0", 1), stamp("i1", 1))
    assert vectors(shard)[0]["new-1"] == [0.0] * 3
    assert vectors(shard)[1]["new-1"] == [2.0] * 3


def test_a_point_that_is_not_there_stops_no_other(shard):
    with pytest.raises(Exception, match=IDS[3]):
        write(shard, {3: [3.0] * 3, 2: [2.0] * 3}, stamp("i3", 1), stamp("i2", 1))
    assert vectors(shard)[2]["new-1"] == [2.0] * 3
    assert 3 not in vectors(shard)


def test_a_point_of_a_later_era_is_not_replaced_and_a_new_one_is_written(shard):
    for era, expected in ((0, [0.0, 1.0]), (1, [7.0, 1.0])):
        condition = edge.Filter(must=[edge.FieldCondition(key="era", range=edge.RangeFloat(lte=era))])
        shard.update(do.upsert_points([edge.Point(IDS[0], {"old": [7.0, 1.0]}, {"era": era})], condition))
        assert vectors(shard)[0] == {"old": expected}
        shard.update(do.upsert_points([point(3)], condition))
    assert vectors(shard)[3] == {"old": [3.0, 1.0]}


def test_points_that_are_being_added_take_no_other_ones_place(shard):
    condition = edge.Filter(must_not=[edge.IsEmptyCondition("adding")])
    shard.update(do.upsert_points([edge.Point(IDS[0], {"old": [8.0, 8.0]}, {"adding": "a"})], condition))
    assert vectors(shard)[0] == {"old": [0.0, 1.0]}
    for value in ("a", "b"):
        shard.update(do.upsert_points([edge.Point(IDS[3], {"old": [8.0, 8.0]}, {"adding": value})], condition))
    assert shard.retrieve([IDS[3]], True, False)[0].payload == {"adding": "b"}


def test_what_comes_after_a_column_is_deleted_is_refused_whole(shard):
    write(shard, {0: [0.0] * 3}, stamp("i0", 1))
    shard.update(do.delete_vector_name("new-1"))
    shard.update(do.delete_vector_name("new-1"))
    before = vectors(shard)
    late: dict[str, Any] = {"old": [9.0, 9.0], "new-1": [9.0] * 3}
    for step in (
        do.update_vectors([edge.PointVectors(IDS[0], late)]),
        do.upsert_points([edge.Point(IDS[0], late, {})]),
        do.upsert_points([edge.Point(IDS[3], late, {})]),
    ):
        with pytest.raises(Exception, match="Not existing vector name"):
            shard.update(step)
    assert vectors(shard) == before == {n: {"old": [float(n), 1.0]} for n in range(3)}


def test_columns_that_are_not_there_are_had_by_none(shard):
    nowhere = edge.HasVectorCondition("new-2")
    assert (count(shard, must=[nowhere]), count(shard, must_not=[nowhere])) == (0, 3)
    assert count(shard, must=[edge.HasIdCondition(set())]) == 0
    assert count(shard, must_not=[edge.HasIdCondition(set())]) == 3


def test_a_payload_is_set_where_a_condition_holds_and_nothing_takes_a_key_away(shard):
    """So the journal is compared and set."""
    mark = edge.Filter(must=[edge.FieldCondition(key="stamp", match=edge.MatchAny(any=[stamp("i0", 1)]))])
    for value in ("first", "second"):
        shard.update(do.set_payload_by_filter(mark, {"stamp": value, "place": None, "list": [value]}))
    payload = shard.retrieve([IDS[0]], True, False)[0].payload
    assert (payload["stamp"], payload["list"], "place" in payload) == ("first", ["first"], False)


def test_floats_are_kept_to_the_last_bit(shard):
    """Under l2 and dot; cosine is scaled by the engine."""
    row = [0.1, 1 / 3, 1e-30]
    write(shard, {0: row}, stamp("i0", 1))
    assert vectors(shard)[0]["new-1"] == np.array(row, np.float32).tolist()
