"""The ids and the clock that the machine gives."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import RFC_4122, UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from ubr.adapters.security.system import Uuid7, random_bytes, utc_now

START = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def milliseconds(id: UUID) -> int:
    return id.int >> 80


def fraction(id: UUID) -> int:
    return id.int >> 64 & 0xFFF


def test_an_id_is_a_uuid_of_version_7() -> None:
    new_id = Uuid7()
    for _ in range(1000):
        made = new_id()
        assert (made.version, made.variant) == (7, RFC_4122)
        assert type(made) is UUID


def test_an_id_holds_the_time_to_the_microsecond_and_62_random_bits() -> None:
    made = Uuid7(Hands(), lambda count: b"\xff" * count)()
    assert milliseconds(made) == int(START.replace(microsecond=123000).timestamp() * 1000)
    assert fraction(made) == 456 * 4096 // 1000
    assert made.int & (1 << 64) - 1 == 0b10 << 62 | (1 << 62) - 1


def test_the_layout_is_that_of_the_rfc() -> None:
    """RFC 9562, A.6, with no fraction of the millisecond."""
    clock = Hands(datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC))
    raw = (0x18C4DC0C0C07398F << 2).to_bytes(8, "big")
    assert Uuid7(clock, lambda _: raw)() == UUID("017f22e2-79b0-7000-98c4-dc0c0c07398f")


def test_ids_rise_while_the_clock_stands() -> None:
    new_id = Uuid7(Hands())
    made = [new_id() for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == 20_000


def test_ids_rise_when_the_clock_goes_back_and_follow_it_when_it_passes_them() -> None:
    clock = Hands()
    new_id = Uuid7(clock)
    first = new_id()
    clock.now = START - timedelta(hours=1)
    second = new_id()
    clock.now = START + timedelta(milliseconds=5)
    third = new_id()
    assert first < second < third
    assert milliseconds(second) == milliseconds(first)
    assert milliseconds(third) == milliseconds(first) + 5


def test_ids_rise_over_the_edge_of_a_millisecond() -> None:
    new_id = Uuid7(Hands(START.replace(microsecond=999_999)))
    made = [new_id() for _ in range(10)]
    assert made == sorted(made)
    assert milliseconds(made[-1]) == milliseconds(made[0]) + 1


def test_a_clock_before_1970_still_gives_ids() -> None:
    new_id = Uuid7(Hands(datetime(1960, 1, 1, tzinfo=UTC)))
    first, second = new_id(), new_id()
    assert (first.version, milliseconds(first)) == (7, 0)
    assert first < second


@settings(deadline=None)
@given(st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=50))
def test_ids_rise_even_if_the_clock_goes_back(steps: list[int]) -> None:
    clock = Hands()
    new_id = Uuid7(clock)
    made = []
    for step in steps:
        clock.now += timedelta(microseconds=step)
        made.append(new_id())
    assert all(one < other for one, other in pairwise(made))


def test_ids_of_many_threads_are_all_different_and_rise_in_each() -> None:
    new_id = Uuid7(Hands())
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            of_threads = list(pool.map(lambda _: [new_id() for _ in range(2000)], range(8)))
    finally:
        sys.setswitchinterval(interval)
    assert all(made == sorted(made) for made in of_threads)
    assert len({id.int >> 64 for made in of_threads for id in made}) == 16_000


def test_two_processes_at_the_same_moment_make_different_ids() -> None:
    """What a fork takes along is the time of the last id, never the random bits."""
    clock = Hands()
    assert len({Uuid7(clock)() for _ in range(1000)}) == 1000


def test_random_bits_are_asked_for_each_id() -> None:
    source: Iterator[int] = iter(range(256))
    new_id = Uuid7(Hands(), lambda count: bytes([next(source)]) * count)
    assert [new_id().int & 0xFF for _ in range(5)] == [0x00, 0x40, 0x80, 0xC0, 0x01]


def test_the_clock_is_aware_and_in_utc() -> None:
    assert utc_now().utcoffset() == timedelta(0)
    assert utc_now().tzinfo is UTC


def test_random_bytes_are_as_many_as_asked_for_and_never_the_same() -> None:
    assert [len(random_bytes(count)) for count in (0, 1, 16, 32)] == [0, 1, 16, 32]
    assert len({random_bytes(16) for _ in range(1000)}) == 1000
