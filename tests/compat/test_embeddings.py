"""What `Embeddings` says of arrays of other types, and of matrices that cosine hardly tells apart."""

import warnings

import numpy as np
import pytest
import torch

from compat import Embeddings, backfill_curve
from compat.errors import InputError

ROWS = np.random.default_rng(0).normal(size=(20, 4))
LABELS = np.arange(20) % 4


def embeddings(**changes):
    given = dict.fromkeys(("query_old", "query_new", "gallery_old", "gallery_new"), ROWS)
    return Embeddings(**{**given, "query_labels": LABELS, "gallery_labels": LABELS} | changes)


def told(its, distance="cosine"):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        backfill_curve(its, np.arange(20), [0.0], distance=distance)
    return [str(one.message) for one in found]


@pytest.mark.parametrize("kind", ["longdouble", "M8[s]", "m8[s]", "U5", "O", "i4,i4", "V4"])
def test_the_type_of_an_array_that_is_none_of_numbers_is_named(kind):
    wrong = np.zeros((20, 4), kind)
    named = "strings" if kind == "U5" else str(wrong.dtype)
    with pytest.raises(InputError) as raised:
        embeddings(gallery_old=wrong)
    assert str(raised.value) == f"gallery_old: {named}, expected numbers"
    with pytest.raises(InputError) as raised:
        embeddings(gallery_labels=wrong[:, 0])
    assert str(raised.value) == f"gallery_labels: {named}, expected integers"


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
def test_bytes_are_compared_as_numbers_with_a_note(kind):
    with pytest.warns(UserWarning, match=r"^gallery_new: torch\.u?int8, compared as numbers; if they are packed bits"):
        its = embeddings(gallery_new=(100 * abs(ROWS)).astype(kind))
    assert its.gallery_new.dtype == torch.float64


@pytest.mark.parametrize("kind", [np.int16, np.float16, bool])
def test_other_numbers_have_no_note(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embeddings(gallery_new=ROWS.astype(kind))


@pytest.mark.parametrize(("width", "narrow"), [(1e-3, False), (1e-4, False), (1e-6, True), (1e-9, True), (0.0, True)])
def test_a_cone_too_narrow_for_cosine_is_told(width, narrow):
    cone = np.ones(4) + width * ROWS
    found = told(embeddings(gallery_old=cone))
    assert [one.split(":")[0] for one in found] == ["gallery_old"] * narrow
    assert not narrow or "within 5e-06 of one direction" in found[0]
    assert not told(embeddings(gallery_old=cone), "l2")


def test_rows_of_length_one_under_l2_tell_a_cone_apart():
    """As its message says."""
    cone = np.ones(4) + 1e-8 * (ROWS[LABELS] + 0.1 * ROWS)
    unit = cone / np.linalg.norm(cone, axis=1, keepdims=True)
    assert backfill_curve(embeddings(query_old=cone, gallery_old=cone), range(20), [0.0]).mean_ap == 5 / 20
    its = embeddings(query_old=unit, gallery_old=unit)
    assert backfill_curve(its, range(20), [0.0], distance="l2").mean_ap > 0.9
