"""A batch through a model that fails: what cannot be read, what cannot be reached, what is no model."""

from typing import Any

import numpy as np
import pytest

from compat.live import extraction
from compat.live.extraction import MANY, Unreachable, extract
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
    assert found.dead == [("bad", 1, "FileNotFoundError: no file bad")]


def test_nan_is_a_dead_letter():
    found = extract(Model(), work("a", "nan"))
    assert [id for id, *_ in found.done] == ["a"]
    assert found.dead == [("nan", 1, "NaN or infinite values")]


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


def test_what_stays_away_is_no_dead_letter(slept):
    with pytest.raises(Unreachable, match="ConnectionError: gone"):
        extract(Model(*[ConnectionError("gone")] * 99), work("a", "b"))
    assert slept == sorted(slept)
    assert len(slept) == 6


def test_a_batch_of_which_nothing_can_be_read_is_not_the_items_fault():
    with pytest.raises(Unreachable, match=f"all {MANY} items of a batch"):
        extract(Model(), work(*[f"bad{n}" for n in range(MANY)]))
    assert len(extract(Model(), work(*[f"bad{n}" for n in range(MANY - 1)])).dead) == MANY - 1


@pytest.mark.parametrize("shape", [(3,), (2, 1), (3, 1, 1)])
def test_a_model_that_returns_something_else_stops_the_run(shape):
    class Other(Model):
        def __call__(self, contents):
            return np.zeros(shape)

    with pytest.raises(WrongModel, match=r"models.new: shape .* for 3 contents"):
        extract(Other(), work("a", "b", "c"))
