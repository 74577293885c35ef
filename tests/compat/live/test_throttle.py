"""How long a worker waits after a batch."""

import pytest

from compat.live.throttle import LEAST, Throttle


def test_a_rate_is_kept():
    assert Throttle().delay(100, 0.1, 200, None, None) == pytest.approx(0.4)
    assert Throttle().delay(100, 0.6, 200, None, None) == 0


def test_nothing_is_waited_for_without_a_limit():
    assert Throttle().delay(100, 0.1, None, None, 5.0) == 0
    assert Throttle().delay(0, 0.0, 1.0, 0.01, 5.0) == 0


def test_extraction_makes_way_while_queries_are_slow_and_comes_back():
    throttle = Throttle()
    waits = [throttle.delay(100, 1.0, None, 0.010, 0.020) for _ in range(3)]
    assert waits == pytest.approx([1.0, 3.0, 7.0])
    for _ in range(99):
        throttle.delay(100, 1.0, None, 0.010, 0.020)
    assert throttle.share == LEAST
    back = [throttle.delay(100, 1.0, None, 0.010, 0.005) for _ in range(60)]
    assert back == sorted(back, reverse=True)
    assert back[-1] == pytest.approx(0, abs=1e-9)


def test_the_slower_of_both_limits_holds():
    assert Throttle().delay(100, 1.0, 10, 0.010, 0.020) == pytest.approx(9.0)
    assert Throttle().delay(100, 1.0, 90, 0.010, 0.020) == pytest.approx(1.0)
