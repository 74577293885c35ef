"""What a model returns: embeddings of any framework, precision and place, or one line."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from compat.errors import InputError
from compat.live import Images, Migration, Models, Searcher, Writer
from compat.live.models import embed
from compat.live.outputs import to_float32
from compat.models import Embedder
from tests.helpers.live_galleries import ITEMS, Failing, made, matrices, models

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


class Returns(Failing):
    """The new model, in the form that its framework has."""

    def __init__(self, form) -> None:
        super().__init__()
        self.form = form

    def __call__(self, contents):
        return self.form(torch.from_numpy(super().__call__(contents)))


def buffer(rows, held=torch.zeros(64, 7)):  # noqa: B008
    """What is overwritten by the next call, as of a captured graph."""
    held[: len(rows)] = rows
    return held[: len(rows)]


FORMS = {
    "bfloat16": lambda rows: rows.bfloat16(),
    "float16": lambda rows: rows.half(),
    "float64": lambda rows: rows.double(),
    "with gradients": lambda rows: rows.clone().requires_grad_(),
    "sparse": lambda rows: rows.to_sparse(),
    "list of tensors": lambda rows: list(rows.bfloat16()),
    "tuple of arrays": lambda rows: tuple(rows.numpy()),
    "lists": lambda rows: rows.tolist(),
    "float16 of NumPy": lambda rows: rows.numpy().astype(np.float16),
    "big-endian": lambda rows: rows.numpy().astype(">f8"),
    "Fortran": lambda rows: np.asfortranarray(rows.numpy()),
    "objects": lambda rows: rows.numpy().astype(object),
    "a buffer": buffer,
}


@pytest.mark.parametrize("form", FORMS)
def test_embeddings_of_any_form_are_taken_as_float32(form, tmp_path):
    store = made(tmp_path / "gallery.db")
    its = models(new=Returns(FORMS[form]))
    migration = Migration(store, its)
    migration.plan(batch=8)
    assert migration.run().phase == "complete"
    assert migration.verify().sound
    found = {item.id: item.new for item in store.sample(ITEMS) if item.new is not None}
    rows = np.stack([found[f"i{n}"] for n in range(ITEMS)])
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, matrices()[2][:ITEMS], rtol=0.01)
    assert getattr(Writer(store, its).put("x", "item 3").new, "dtype", None) == np.float32
    assert len(Searcher(store, its).search("query 0", ITEMS)) == ITEMS
    store.close()


WRONG = {
    "nothing": (lambda rows: None, "a NoneType"),
    "mapping": (lambda rows: {"embedding": rows}, "a dict"),
    "text": (lambda rows: ["0.1"] * len(rows), "a list of str"),
    "complex": (lambda rows: rows.to(torch.complex64), "a Tensor of torch.complex64"),
    "ragged": (lambda rows: [row[: 1 + n] for n, row in enumerate([*rows.tolist(), [1.0, 2.0]])], "a list of list"),
    "tensors of other lengths": (lambda rows: [rows[0], rows[0][1:]], "a list of Tensor"),
    "dates": (lambda rows: rows.numpy().astype("datetime64[s]"), "a ndarray of datetime64"),
    "a number": (lambda rows: 3.0, "a float"),
}


@pytest.mark.parametrize("form", WRONG)
def test_what_is_no_embeddings_is_one_line_that_says_what_it_is(form, tmp_path):
    store = made(tmp_path / "gallery.db")
    make, said = WRONG[form]
    its = models(new=Returns(make))
    with pytest.raises(InputError, match=rf"^models.new: it returned {said}.*, expected embeddings \(N, D\)") as told:
        Migration(store, its).plan()
    assert "\n" not in str(told.value)
    assert store.journal().phase == "none"
    with pytest.raises(InputError, match=rf"^models.old: it returned {said}"):
        Searcher(store, models(old=Returns(make))).search("query 0")
    store.close()


def test_what_is_too_large_for_float32_is_infinite_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for rows in (np.array([[1e300]]), torch.tensor([[1e300]], dtype=torch.float64)):
            found = to_float32(rows)
            assert found is not None
            assert np.isinf(found).all()


@pytest.mark.parametrize("place", ["cpu", pytest.param("cuda", marks=GPU)])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_an_embedder_of_ours_may_be_anywhere_and_of_any_precision(place, precision):
    torch.manual_seed(0)
    plain = Embedder(torch.nn.Flatten(), 4).eval()
    plain(torch.ones(1, 3, 2, 2))
    read = {"a": torch.ones(3, 2, 2), "b": torch.full((3, 2, 2), 2.0)}.__getitem__
    expected = Images(plain, read)(["a", "b"])
    moved = Images(plain.to(place, precision), read, "moved")
    found = embed(moved, ["a", "b"], "new")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=0.02)
    if place == "cuda":
        taken = to_float32(torch.ones(2, 3, device="cuda", dtype=torch.bfloat16))
        assert taken is not None
        assert taken.tolist() == np.ones((2, 3)).tolist()


@pytest.mark.parametrize("passing", [TimeoutError, "TimeoutError", (3,), (TimeoutError(),), [TimeoutError]])
def test_what_passes_is_a_tuple_of_exception_types(passing):
    new: Any = Failing()
    new.passing = passing
    with pytest.raises(InputError, match=r"^models.new: passing .*, expected a tuple of exception types$"):
        Models(new)


def test_a_model_that_leaves_out_the_first_items_may_read_the_others(tmp_path):
    class Skips(Failing):
        def __call__(self, contents):
            return super().__call__([content for content in contents if content != "item 0"])

    store = made(tmp_path / "gallery.db")
    migration = Migration(store, models(new=Skips()))
    migration.plan(batch=8)
    assert migration.run().phase == "complete"
    assert [item.id for item in store.failures(9)] == ["i0"]
    store.close()
