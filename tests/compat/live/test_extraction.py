"""A batch through a model that fails: what cannot be read, what cannot be reached, what is no model."""

from typing import Any
from urllib.error import HTTPError

import numpy as np
import pytest

from compat.live import extraction
from compat.live.extraction import Unreachable, extract
from compat.live.items import Work
from compat.live.models import WrongModel


@pytest.fixture
def slept(monkeypatch):
    found: list[float] = []
    monkeypatch.setattr(extraction, "wait", found.append)
    return found


def work(*contents: str) -> list[Work]:
    return [Work(content, n, content) for n, content in enumerate(contents)]


class Model:
    """One number for a content; raises what it is told to."""

    version = "1"

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls: list[list[str]] = []

    def __call__(self, contents):
        self.calls.append(list(contents))
        if self.errors:
            raise self.errors.pop(0)
        for content in contents:
            if content.startswith("bad"):
                raise FileNotFoundError(f"no\nfile {content}")
        return np.array([[float("nan") if content == "nan" else len(content)] for content in contents])


def test_an_item_that_cannot_be_read_stops_no_other():
    class Doubled(Model):
        def __call__(self, contents):
            return 2 * super().__call__(contents)

    found = extract(Doubled(), work("a", "bad", "ccc"))
    assert [(id, version, vector.tolist()) for id, version, vector in found.done] == [("a", 0, [2]), ("ccc", 2, [6])]
    assert found.failed == [("bad", 1, "FileNotFoundError: no file bad")]


def test_nan_is_a_failed_item():
    found = extract(Model(), work("a", "nan"))
    assert [id for id, *_ in found.done] == ["a"]
    assert found.failed == [("nan", 1, "NaN or infinite values")]


def test_a_connection_that_fails_is_tried_again_later_each_time(slept):
    model = Model(ConnectionError("reset"), TimeoutError("slow"))
    assert len(extract(model, work("a", "b")).done) == 2
    assert model.calls == [["a", "b"]] * 3
    assert slept == [0.2, 0.4]


def test_a_service_says_when_to_come_back(slept):
    busy: Any = ConnectionError("429")
    busy.retry_after = 7.0
    extract(Model(busy), work("a"))
    assert slept == [7.0]


def test_what_stays_away_is_no_failed_item(slept):
    with pytest.raises(Unreachable, match="ConnectionError: gone"):
        extract(Model(*[ConnectionError("gone")] * 99), work("a", "b"))
    assert slept == sorted(slept)
    assert len(slept) == 6


@pytest.mark.parametrize("shape", [(3,), (2, 1), (3, 1, 1), (0, 1), (3, 0)])
def test_what_is_no_row_for_each_is_told(shape):
    class Other(Model):
        def __call__(self, contents):
            return np.zeros(shape)

    found = extract(Other(), work("a", "b", "c"))
    assert isinstance(found.wrong, WrongModel)
    assert [why.startswith("models.new: shape") and "expected a row for each" in why for *_, why in found.failed] == [
        True
    ] * 3


def test_a_model_that_leaves_out_what_it_cannot_read_makes_failed_items_of_these_alone():
    class Skips(Model):
        def __call__(self, contents):
            return np.array([[float(len(content))] for content in contents if not content.startswith("bad")])

    found = extract(Skips(), work("a", "bad", "ccc"))
    assert [(id, vector.tolist()) for id, _, vector in found.done] == [("a", [1]), ("ccc", [3])]
    assert [id for id, *_ in found.failed] == ["bad"]


def test_rows_of_another_length_are_failed_items():
    found = extract(Model(), work("a", "b"), dim=2)
    assert found.done == []
    assert found.failed[0] == ("a", 0, "models.new: shape (1, 1), expected (1, 2)")


class Served500(Model):
    """A server that answers 500 for what it cannot read, and to others with it."""

    def __init__(self, *bad: str) -> None:
        super().__init__()
        self.bad = set(bad)

    def __call__(self, contents):
        if self.bad & set(contents):
            raise HTTPError("http://model", 500, "Internal Server Error", {}, None)  # type: ignore[arg-type]
        return super().__call__(contents)


def test_a_server_that_fails_at_an_item_stops_no_other(slept):
    found = extract(Served500("b"), work("a", "b", "c"))
    assert [id for id, *_ in found.done] == ["a", "c"]
    assert found.failed == [("b", 1, "HTTPError: HTTP Error 500: Internal Server Error")]
    assert len(slept) == 6 + 1


def test_a_model_says_what_passes(slept):
    class Cold(RuntimeError):
        pass

    class Starts(Model):
        passing = (Cold,)

    assert len(extract(Starts(Cold("loading")), work("a", "b")).done) == 2
    assert slept == [0.2]
    assert len(extract(Model(Cold("loading"), Cold("loading")), work("a", "b")).failed) == 1
