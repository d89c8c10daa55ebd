"""When the breaker lets commands through."""

from __future__ import annotations

import pytest

from ubr.adapters.redis.breaker import Breaker, Permit


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def breaker(clock: Clock, dice: float = 0.0) -> Breaker:
    return Breaker(failures=3, first=1.0, longest=5.0, clock=clock, dice=lambda: dice)


def admitted(breaker: Breaker) -> Permit:
    permit = breaker.admit()
    assert permit is not None
    return permit


def opened(clock: Clock, dice: float = 0.0) -> Breaker:
    made = breaker(clock, dice)
    assert [made.failed(admitted(made)) for _ in range(3)] == [False, False, True]
    assert made.is_open()
    return made


def test_it_opens_after_so_many_failures_in_a_row(clock: Clock) -> None:
    made = breaker(clock)
    for _ in range(5):
        made.failed(admitted(made))
        made.failed(admitted(made))
        made.answered(admitted(made))

    assert not made.is_open()
    assert opened(clock).admit() is None


def test_one_at_a_time_may_find_out_whether_the_server_is_back(clock: Clock) -> None:
    made = opened(clock)
    clock.now = 0.999
    assert made.admit() is None

    clock.now = 1.0
    probe = admitted(made)
    assert made.admit() is None

    assert made.answered(probe)
    assert not made.is_open()
    assert made.admit() is not None
    assert made.admit() is not None


def test_the_pause_doubles_up_to_the_longest_and_starts_again(clock: Clock) -> None:
    made = opened(clock)
    for pause in (1.0, 2.0, 4.0, 5.0, 5.0):
        clock.now += pause - 0.001
        assert made.admit() is None
        clock.now += 0.001
        last = admitted(made)
        assert not made.failed(last)
    clock.now += 5.0
    made.answered(admitted(made))

    for _ in range(3):
        made.failed(admitted(made))
    clock.now += 1.0
    assert made.admit() is not None


@pytest.mark.parametrize(("dice", "pause"), [(0.0, 1.0), (0.5, 0.75), (1.0, 0.5)])
def test_chance_shortens_the_pause_by_up_to_a_half(clock: Clock, dice: float, pause: float) -> None:
    made = opened(clock, dice)
    clock.now = pause - 0.001
    assert made.admit() is None
    clock.now = pause
    assert made.admit() is not None


def test_a_probe_that_is_abandoned_leaves_its_place_to_another(clock: Clock) -> None:
    made = opened(clock)
    clock.now = 1.0
    made.abandoned(admitted(made))

    assert made.is_open()
    assert made.admit() is not None
    assert made.admit() is None


def test_the_outcome_of_a_request_from_before_the_opening_is_ignored(clock: Clock) -> None:
    made = breaker(clock)
    slow = [admitted(made) for _ in range(4)]
    for _ in range(3):
        made.failed(admitted(made))

    assert not made.answered(slow[0])
    assert not made.failed(slow[1])
    assert made.is_open()
    clock.now = 1.0
    probe = admitted(made)
    made.abandoned(slow[2])
    assert made.admit() is None
    assert not made.answered(slow[3])
    assert made.answered(probe)


def test_abandoned_questions_neither_open_nor_close_it(clock: Clock) -> None:
    made = breaker(clock)
    for _ in range(10):
        made.abandoned(admitted(made))
    assert not made.is_open()

    made.failed(admitted(made))
    made.failed(admitted(made))
    made.abandoned(admitted(made))
    assert made.failed(admitted(made))
