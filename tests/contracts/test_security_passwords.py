"""The PasswordHasher port, and what its pool promises beside it. Real Argon2 at tiny costs."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, NoReturn

import anyio
import argon2
import pytest
from argon2.exceptions import HashingError
from argon2.low_level import hash_secret_raw

from ubr.adapters.security import passwords
from ubr.adapters.security.passwords import Argon2PasswordHasher
from ubr.application.kernel.origin import Origin, calling_from
from ubr.application.ports.accounts import SlowHasher
from ubr.application.ports.metrics import Load
from ubr.domain.accounts.passwords import PasswordHash
from ubr.domain.errors import Busy, Unavailable
from ubr.testing.contracts import SlowHasherContract

MEMORY, TIME = 16, 2
PASSWORD = "correct horse battery staple"
SALT, DIGEST = "c2FsdHNhbHRzYWx0c2FsdA", "ZGlnZXN0ZGlnZXN0ZGlnZXN0ZGlnZXN0ZGlnZXN0ZGk"

UNREADABLE = {
    "nothing": "",
    "no hash": "!",
    "plain text": PASSWORD,
    "bcrypt": "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW",
    "argon2i": f"$argon2i$v=19$m=16,t=2,p=1${SALT}${DIGEST}",
    "argon2d": f"$argon2d$v=19$m=16,t=2,p=1${SALT}${DIGEST}",
    "an old version": f"$argon2id$v=16$m=16,t=2,p=1${SALT}${DIGEST}",
    "no version": f"$argon2id$m=16,t=2,p=1${SALT}${DIGEST}",
    "memory over the bound": f"$argon2id$v=19$m=262145,t=2,p=1${SALT}${DIGEST}",
    "memory of terabytes": f"$argon2id$v=19$m=4294967295,t=2,p=1${SALT}${DIGEST}",
    "memory of a thousand digits": f"$argon2id$v=19$m={'9' * 1000},t=2,p=1${SALT}${DIGEST}",
    "less memory than lanes need": f"$argon2id$v=19$m=15,t=2,p=2${SALT}${DIGEST}",
    "time over the bound": f"$argon2id$v=19$m=16,t=17,p=1${SALT}${DIGEST}",
    "no time": f"$argon2id$v=19$m=16,t=0,p=1${SALT}${DIGEST}",
    "lanes over the bound": f"$argon2id$v=19$m=256,t=2,p=17${SALT}${DIGEST}",
    "no lanes": f"$argon2id$v=19$m=16,t=2,p=0${SALT}${DIGEST}",
    "a leading zero": f"$argon2id$v=19$m=016,t=2,p=1${SALT}${DIGEST}",
    "a sign": f"$argon2id$v=19$m=+16,t=2,p=1${SALT}${DIGEST}",
    "digits of another script": f"$argon2id$v=19$m=١٦,t=2,p=1${SALT}${DIGEST}",
    "costs in another order": f"$argon2id$v=19$t=2,m=16,p=1${SALT}${DIGEST}",
    "no salt": f"$argon2id$v=19$m=16,t=2,p=1$${DIGEST}",
    "a short salt": f"$argon2id$v=19$m=16,t=2,p=1$c2FsdA${DIGEST}",
    "a long salt": f"$argon2id$v=19$m=16,t=2,p=1${'A' * 5000}${DIGEST}",
    "no digest": f"$argon2id$v=19$m=16,t=2,p=1${SALT}$",
    "a short digest": f"$argon2id$v=19$m=16,t=2,p=1${SALT}$ZGlnZXN0",
    "a long digest": f"$argon2id$v=19$m=16,t=2,p=1${SALT}${'A' * 5000}",
    "padding": f"$argon2id$v=19$m=16,t=2,p=1${SALT}==${DIGEST}",
    "bits behind the last byte": f"$argon2id$v=19$m=16,t=2,p=1${SALT[:-1]}B${DIGEST}",
    "a length no base64 has": f"$argon2id$v=19$m=16,t=2,p=1${SALT}AAA${DIGEST}",
    "a line break": f"$argon2id$v=19$m=16,t=2,p=1${SALT}${DIGEST}\n",
    "a lone surrogate": f"$argon2id$v=19$m=16,t=2,p=1${SALT}${DIGEST}\ud800",
}


@pytest.fixture
def hasher() -> Iterator[Argon2PasswordHasher]:
    made = Argon2PasswordHasher(MEMORY, TIME, 1, workers=2, queue=6)
    yield made
    made.close()


@pytest.fixture
def port(hasher: Argon2PasswordHasher) -> SlowHasher:
    return hasher


class Recorded:
    """Real Argon2, noting what each run costs."""

    def __init__(self) -> None:
        self.runs: list[tuple[int, int, int, int, int]] = []

    def __call__(self, **given: Any) -> bytes:
        cost = given["memory_cost"], given["time_cost"], given["parallelism"]
        self.runs.append((*cost, len(given["salt"]), given["hash_len"]))
        return hash_secret_raw(**given)


class Gated(Recorded):
    """Real Argon2 that begins and then waits until the gate is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.secrets: list[bytes] = []

    def __call__(self, **given: Any) -> bytes:
        self.secrets.append(given["secret"])
        assert self.gate.wait(30)
        return super().__call__(**given)

    async def begun(self, count: int) -> None:
        await until(lambda: len(self.secrets) >= count)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    fake = Recorded()
    monkeypatch.setattr(passwords, "hash_secret_raw", fake)
    return fake


@pytest.fixture
def gated(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gated]:
    fake = Gated()
    monkeypatch.setattr(passwords, "hash_secret_raw", fake)
    yield fake
    fake.gate.set()


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - a thread tells no event
            await asyncio.sleep(0.001)


# --- the port --------------------------------------------------------------------------------------------------------


class TestArgon2(SlowHasherContract):
    unreadable = (*SlowHasherContract.unreadable, *UNREADABLE.values())

    @pytest.fixture
    def make_hasher(self) -> Iterator[Callable[[], SlowHasher]]:
        with ExitStack() as stack:

            def made() -> SlowHasher:
                hasher = Argon2PasswordHasher(MEMORY, TIME, 1, workers=2, queue=6)
                stack.callback(hasher.close)
                return hasher

            yield made

    async def test_a_trailing_nul_counts(self, hasher: SlowHasher) -> None:
        assert not await hasher.verify(PASSWORD + "\0", await hasher.hash(PASSWORD))


# --- Argon2 ----------------------------------------------------------------------------------------------------------


async def test_a_hash_is_the_phc_string_of_argon2id(hasher: Argon2PasswordHasher) -> None:
    encoded = (await hasher.hash("pässword")).encoded
    found = argon2.extract_parameters(encoded)
    assert encoded.startswith(f"$argon2id$v=19$m={MEMORY},t={TIME},p=1$")
    assert (found.salt_len, found.hash_len) == (16, 32)
    assert argon2.PasswordHasher().verify(encoded, "pässword".encode())


async def test_hashes_made_elsewhere_within_the_bounds_verify(hasher: Argon2PasswordHasher) -> None:
    made = argon2.PasswordHasher(time_cost=3, memory_cost=64, parallelism=4, hash_len=16, salt_len=8).hash(PASSWORD)
    assert await hasher.verify(PASSWORD, PasswordHash(made))
    assert not await hasher.verify(PASSWORD + "x", PasswordHash(made))


@pytest.mark.parametrize("encoded", [None, *UNREADABLE.values()], ids=["none", *UNREADABLE])
async def test_a_dummy_costs_what_a_right_password_costs(
    hasher: Argon2PasswordHasher, recorded: Recorded, encoded: str | None
) -> None:
    right = await hasher.hash(PASSWORD)
    recorded.runs.clear()
    assert await hasher.verify(PASSWORD, right)
    assert not await hasher.verify("wrong", right)
    assert not await hasher.verify(PASSWORD, None if encoded is None else PasswordHash(encoded))
    assert recorded.runs == [(MEMORY, TIME, 1, 16, 32)] * 3


@pytest.mark.parametrize(
    ("memory", "time", "lanes", "outdated"),
    [
        (16, 2, 1, False),
        (32, 2, 1, False),
        (16, 3, 1, False),
        (32, 1, 1, False),
        (16, 2, 2, False),
        (8, 2, 1, True),
        (16, 1, 1, True),
        (8, 16, 1, True),
    ],
)
def test_outdated_is_what_was_cheaper_to_guess_against(
    port: SlowHasher, memory: int, time: int, lanes: int, outdated: bool
) -> None:
    made = argon2.PasswordHasher(time_cost=time, memory_cost=memory, parallelism=lanes).hash(PASSWORD)
    assert port.outdated(PasswordHash(made)) is outdated


def test_outdated_is_a_short_salt_or_digest(port: SlowHasher) -> None:
    for salt, digest in ((15, 32), (16, 31)):
        made = argon2.PasswordHasher(TIME, MEMORY, 1, salt_len=salt, hash_len=digest).hash(PASSWORD)
        assert port.outdated(PasswordHash(made))


async def test_what_is_hashed_today_is_not_outdated_until_the_cost_rises(hasher: Argon2PasswordHasher) -> None:
    hashed = await hasher.hash(PASSWORD)
    assert not hasher.outdated(hashed)
    assert Argon2PasswordHasher(MEMORY, TIME + 1, 1).outdated(hashed)
    assert not Argon2PasswordHasher(MEMORY // 2, TIME, 1).outdated(hashed)


@pytest.mark.parametrize(
    ("memory", "time", "lanes"),
    [(7, 1, 1), (15, 1, 2), (16, 0, 1), (16, 1, 0), (262145, 1, 1), (16, 17, 1), (256, 1, 17), (-16, 1, 1)],
)
def test_a_cost_out_of_bounds_is_refused_at_the_start(memory: int, time: int, lanes: int) -> None:
    with pytest.raises(ValueError, match="Argon2 needs"):
        Argon2PasswordHasher(memory, time, lanes)


@pytest.mark.parametrize(("workers", "queue"), [(0, 1), (-1, 5), (1, -1)])
def test_a_pool_without_places_is_refused_at_the_start(workers: int, queue: int) -> None:
    with pytest.raises(ValueError, match="at least one worker"):
        Argon2PasswordHasher(MEMORY, TIME, 1, workers=workers, queue=queue)


def test_making_one_starts_no_thread() -> None:
    before = threading.active_count()
    Argon2PasswordHasher(MEMORY, TIME, 1)
    assert threading.active_count() == before


# --- its pool --------------------------------------------------------------------------------------------------------


async def test_beyond_the_queue_everyone_is_refused_at_once_and_the_loop_turns(
    hasher: Argon2PasswordHasher, gated: Gated
) -> None:
    tasks = [asyncio.create_task(hasher.verify(PASSWORD, None)) for _ in range(500)]
    await gated.begun(2)
    for _ in range(1000):  # turns of the loop while no hash can end
        await asyncio.sleep(0)
    refused = [task for task in tasks if task.done()]
    assert len(refused) == 500 - (2 + 6)
    assert all(isinstance(task.exception(), Busy) for task in refused)
    assert (hasher.taken, len(gated.secrets)) == (8, 2)
    gated.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results.count(False) == 8
    assert len(gated.runs) == 8
    await until(lambda: hasher.taken == 0)


async def test_the_loop_turns_while_passwords_are_hashed() -> None:
    hasher = Argon2PasswordHasher(4096, 3, 1, workers=2, queue=30)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await asyncio.gather(*(hasher.verify(PASSWORD, None) for _ in range(30)))
    counting.cancel()
    hasher.close()
    # Hashing on the loop would let it turn about once for each password.
    assert turns > 300


async def test_a_refused_call_succeeds_once_there_is_room(hasher: Argon2PasswordHasher, gated: Gated) -> None:
    tasks = [asyncio.create_task(hasher.hash(PASSWORD)) for _ in range(8)]
    await gated.begun(2)
    with pytest.raises(Busy, match="Too many passwords are waiting to be hashed"):
        await hasher.hash(PASSWORD)
    gated.gate.set()
    await asyncio.gather(*tasks)
    await until(lambda: hasher.taken == 0)
    assert await hasher.verify(PASSWORD, await hasher.hash(PASSWORD))


@pytest.mark.parametrize(
    ("seconds", "advice"),
    [(3, 12), (300, 60)],  # 8 places, 2 at a time; and never more than a minute
)
async def test_the_wait_that_is_advised_follows_from_how_long_hashing_takes(
    hasher: Argon2PasswordHasher, gated: Gated, monkeypatch: pytest.MonkeyPatch, seconds: int, advice: int
) -> None:
    ticks = iter(range(0, 10_000_000, seconds))
    monkeypatch.setattr(passwords, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    gated.gate.set()
    await hasher.hash(PASSWORD)
    await until(lambda: hasher.taken == 0)
    gated.gate.clear()
    tasks = [asyncio.create_task(hasher.hash(PASSWORD)) for _ in range(8)]
    await gated.begun(3)
    with pytest.raises(Busy) as refused:
        await hasher.hash(PASSWORD)
    assert refused.value.retry_after == advice
    gated.gate.set()
    await asyncio.gather(*tasks)


async def test_before_anything_was_measured_the_advice_is_a_second(gated: Gated) -> None:
    hasher = Argon2PasswordHasher(MEMORY, TIME, 1, workers=1, queue=0)
    task = asyncio.create_task(hasher.hash(PASSWORD))
    await gated.begun(1)
    with pytest.raises(Busy) as refused:
        await hasher.hash(PASSWORD)
    assert refused.value.retry_after == 1
    gated.gate.set()
    await task
    hasher.close()


# --- fair shares -----------------------------------------------------------------------------------------------------


def ask(hasher: Argon2PasswordHasher, ip: str | None, account: str) -> asyncio.Task[PasswordHash]:
    """A call of this client for this account. Its password tells both."""
    with calling_from(Origin(ip=ip)):
        return asyncio.create_task(hasher.hash(f"{ip} {account}", account=account))


async def turns(loops: int = 50) -> None:
    for _ in range(loops):
        await asyncio.sleep(0)


@pytest.fixture
def single() -> Iterator[Argon2PasswordHasher]:
    """One thread, and places for six waiting calls."""
    made = Argon2PasswordHasher(MEMORY, TIME, 1, workers=1, queue=6)
    yield made
    made.close()


async def test_clients_take_turns_and_within_a_client_accounts_do(single: Argon2PasswordHasher, gated: Gated) -> None:
    asked = [("192.0.2.1", "a"), *[("192.0.2.1", "a")] * 3, ("192.0.2.1", "b"), ("192.0.2.2", "a"), (None, "a")]
    tasks = [ask(single, *each) for each in asked]
    await gated.begun(1)
    gated.gate.set()
    await asyncio.gather(*tasks)
    assert gated.secrets == [
        b"192.0.2.1 a",
        b"192.0.2.1 a",
        b"192.0.2.2 a",
        b"None a",
        b"192.0.2.1 b",
        b"192.0.2.1 a",
        b"192.0.2.1 a",
    ]


async def test_an_ipv6_network_of_64_bits_has_one_share(single: Argon2PasswordHasher, gated: Gated) -> None:
    one = [ask(single, f"2001:db8::{number:x}", f"{number}") for number in range(1, 5)]
    other = ask(single, "192.0.2.1", "a")
    await gated.begun(1)
    gated.gate.set()
    await asyncio.gather(*one, other)
    assert gated.secrets[2] == b"192.0.2.1 a"


async def test_one_client_cannot_keep_the_others_out(single: Argon2PasswordHasher, gated: Gated) -> None:
    many = [ask(single, "192.0.2.1", f"{number}") for number in range(7)]
    await gated.begun(1)
    few = [ask(single, f"192.0.2.{number}", "a") for number in range(2, 5)]
    await turns()
    # The newest calls of the largest share have given way, until no share is smaller than another.
    assert [task.done() for task in many] == [False] * 4 + [True] * 3
    assert all(isinstance(task.exception(), Busy) for task in many[4:])
    beyond = ask(single, "192.0.2.1", "a")
    await turns()
    assert isinstance(beyond.exception(), Busy)
    assert single.taken == 7
    assert single.load == Load(1, 6)
    gated.gate.set()
    await asyncio.gather(*many[:4], *few)
    await until(lambda: single.taken == 0)


async def test_one_account_cannot_keep_the_others_of_its_client_out(single: Argon2PasswordHasher, gated: Gated) -> None:
    many = [ask(single, None, "a") for _ in range(7)]
    await gated.begun(1)
    few = [ask(single, None, "b") for _ in range(4)]
    await turns()
    assert [task.done() for task in many] == [False] * 4 + [True] * 3
    assert [task.done() for task in few] == [False] * 3 + [True]
    gated.gate.set()
    await asyncio.gather(*many, *few, return_exceptions=True)
    await until(lambda: single.taken == 0)


async def test_a_displaced_call_that_is_cancelled_frees_its_place_once(
    single: Argon2PasswordHasher, gated: Gated
) -> None:
    many = [ask(single, "192.0.2.1", "a") for _ in range(7)]
    await gated.begun(1)
    many[6].cancel()
    few = [ask(single, f"192.0.2.{number}", "a") for number in range(2, 5)]
    await asyncio.gather(many[6], return_exceptions=True)
    await turns()
    gated.gate.set()
    await asyncio.gather(*many, *few, return_exceptions=True)
    await until(lambda: single.taken == 0)


async def test_a_call_cancelled_while_waiting_is_not_hashed_and_frees_its_place(gated: Gated) -> None:
    hasher = Argon2PasswordHasher(MEMORY, TIME, 1, workers=1, queue=2)
    first, second, third = [asyncio.create_task(hasher.hash(name)) for name in ("first", "second", "third")]
    await gated.begun(1)
    assert hasher.taken == 3
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert hasher.taken == 2
    fourth = asyncio.create_task(hasher.hash("fourth"))
    await asyncio.sleep(0)
    assert hasher.taken == 3
    with pytest.raises(Busy):
        await hasher.hash("fifth")
    gated.gate.set()
    await asyncio.gather(first, third, fourth)
    await until(lambda: hasher.taken == 0)
    assert gated.secrets == [b"first", b"third", b"fourth"]
    hasher.close()


async def test_a_call_cancelled_while_hashed_keeps_its_place_until_the_thread_is_done(gated: Gated) -> None:
    hasher = Argon2PasswordHasher(MEMORY, TIME, 1, workers=1, queue=0)
    task = asyncio.create_task(hasher.hash(PASSWORD))
    await gated.begun(1)
    for _ in range(3):
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert hasher.taken == 1
    with pytest.raises(Busy):
        await hasher.hash(PASSWORD)
    gated.gate.set()
    await until(lambda: hasher.taken == 0)
    await hasher.hash(PASSWORD)
    hasher.close()


async def test_every_place_comes_back_exactly_once_however_many_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    hasher = Argon2PasswordHasher(256, 2, 1, workers=2, queue=20)
    dice = random.Random(7)  # noqa: S311 - no secret
    for _ in range(20):
        tasks = [asyncio.create_task(hasher.verify(PASSWORD, None)) for _ in range(40)]
        for _ in range(dice.randrange(5)):
            await asyncio.sleep(0.0005)
        for task in dice.sample(tasks, 25):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await until(lambda: hasher.taken == 0)
    gated = Gated()
    monkeypatch.setattr(passwords, "hash_secret_raw", gated)
    tasks = [asyncio.create_task(hasher.verify(PASSWORD, None)) for _ in range(30)]
    await gated.begun(2)
    assert sum(not task.done() for task in tasks) == hasher.taken == 22
    gated.gate.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    hasher.close()


async def test_a_failure_of_argon2_is_unavailable_and_gives_the_place_back(
    hasher: Argon2PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> bytes:
        raise HashingError("Memory allocation error")

    hashed = await hasher.hash(PASSWORD)
    with monkeypatch.context() as patch:
        patch.setattr(passwords, "hash_secret_raw", fail)
        for _ in range(20):
            with pytest.raises(Unavailable, match="Not enough memory to hash a password"):
                await hasher.verify(PASSWORD, hashed)
    await until(lambda: hasher.taken == 0)
    assert await hasher.verify(PASSWORD, hashed)


async def test_no_thread_to_be_had_is_unavailable_and_gives_the_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    class Exhausted(ThreadPoolExecutor):
        def submit(self, *_: object, **__: object) -> NoReturn:
            raise RuntimeError("can't start new thread")

    hasher = Argon2PasswordHasher(MEMORY, TIME, 1, workers=1, queue=0)
    monkeypatch.setattr(passwords, "ThreadPoolExecutor", Exhausted)
    for _ in range(3):
        with pytest.raises(Unavailable, match="Passwords cannot be hashed at the moment") as refused:
            await hasher.hash(PASSWORD)
        assert not isinstance(refused.value, Busy)
        assert hasher.taken == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority for each thread")
async def test_threads_have_a_low_priority_and_the_loop_keeps_its_own(
    hasher: Argon2PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def look(**_: object) -> bytes:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return b"\0" * 32

    own = os.getpriority(os.PRIO_PROCESS, 0)
    monkeypatch.setattr(passwords, "hash_secret_raw", look)
    await hasher.hash(PASSWORD)
    assert seen == [min(own + 10, 19)]
    assert os.getpriority(os.PRIO_PROCESS, 0) == own


async def test_closing_finishes_what_was_taken_and_takes_no_more(hasher: Argon2PasswordHasher, gated: Gated) -> None:
    tasks = [asyncio.create_task(hasher.verify(PASSWORD, None)) for _ in range(5)]
    await gated.begun(2)
    hasher.close()
    hasher.close()
    with pytest.raises(Unavailable, match="The service is shutting down"):
        await hasher.hash(PASSWORD)
    gated.gate.set()
    assert await asyncio.gather(*tasks) == [False] * 5
    await until(lambda: hasher.taken == 0)
    hasher.close()


async def test_closing_ends_the_threads() -> None:
    before = set(threading.enumerate())
    hasher = Argon2PasswordHasher(MEMORY, TIME, 1, workers=2)
    await asyncio.gather(*(hasher.hash(PASSWORD) for _ in range(10)))
    started = set(threading.enumerate()) - before
    assert 1 <= len(started) <= 2
    hasher.close()
    await until(lambda: not any(thread.is_alive() for thread in started))


async def test_closing_before_the_first_password_is_fine() -> None:
    hasher = Argon2PasswordHasher(MEMORY, TIME, 1)
    hasher.close()
    with pytest.raises(Unavailable):
        await hasher.verify(PASSWORD, None)


def test_one_hasher_serves_one_loop_after_the_other() -> None:
    hasher = Argon2PasswordHasher(MEMORY, TIME, 1)
    hashed = asyncio.run(hasher.hash(PASSWORD))
    assert asyncio.run(hasher.verify(PASSWORD, hashed))
    hasher.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_starts_threads_of_its_own() -> None:
    script = f"""
import asyncio, os, warnings
from ubr.adapters.security.passwords import Argon2PasswordHasher
warnings.simplefilter("ignore")
hasher = Argon2PasswordHasher({MEMORY}, {TIME}, 1, workers=1)
hashed = asyncio.run(hasher.hash("parent"))
child = os.fork()
if not child:
    os._exit(0 if asyncio.run(hasher.verify("parent", hashed)) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert asyncio.run(hasher.verify("parent", hashed))
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)  # noqa: S603 - our own script


def test_its_repr_shows_nothing() -> None:
    hasher = Argon2PasswordHasher(MEMORY, TIME, 1, random_bytes=lambda count: b"canary--" * (count // 8))
    assert "canary" not in repr(hasher) + repr(vars(hasher))
