"""The suite of hashers of passwords."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable, Coroutine, Sequence
from typing import ClassVar, Final

import pytest

from ubr.application.ports.accounts import MAX_HASH_LENGTH, SlowHasher
from ubr.domain.accounts.passwords import PasswordHash
from ubr.testing.contracts.basis import Contract

_PASSWORD: Final = "correct horse battery staple"
_AT_ONCE: Final = 4


class SlowHasherContract(Contract):
    """The port `SlowHasher`. Override `make_hasher`, and choose costs that are cheap.

    Two promises cannot be shown without a stopwatch: that a hash is expensive to guess against, and that `verify` takes
    the same time whether or not there is a hash. Show them by a test of your own, as by counting the calls of the
    function that hashes.
    """

    unreadable: ClassVar[Sequence[str]] = (
        "",
        "!",
        _PASSWORD,
        "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW",
        "$" * 400,
        "\ud800",
    )
    """Texts that this hasher cannot read. Extend them by your own form with broken parts."""

    @pytest.fixture
    def make_hasher(self) -> Callable[[], SlowHasher]:
        """Makes hashers that are configured alike, such as those of two processes."""
        raise NotImplementedError("Override the fixture make_hasher")

    @pytest.fixture
    def hasher(self, make_hasher: Callable[[], SlowHasher]) -> SlowHasher:
        return make_hasher()

    async def test_the_right_password_verifies_and_no_other(self, hasher: SlowHasher) -> None:
        hashed = await hasher.hash(_PASSWORD)
        assert await hasher.verify(_PASSWORD, hashed)
        for other in ("", _PASSWORD + " ", _PASSWORD[:-1], _PASSWORD.upper()):
            assert not await hasher.verify(other, hashed)

    async def test_no_two_hashes_are_equal(self, hasher: SlowHasher) -> None:
        assert len({(await hasher.hash(_PASSWORD)).encoded for _ in range(20)}) == 20  # noqa: PLR2004

    async def test_a_hash_verifies_in_another_process(self, make_hasher: Callable[[], SlowHasher]) -> None:
        one, other = make_hasher(), make_hasher()
        hashed = PasswordHash((await one.hash(_PASSWORD)).encoded)
        assert await other.verify(_PASSWORD, hashed)
        assert not await other.verify(_PASSWORD + "x", hashed)
        assert not other.outdated(hashed)

    async def test_a_hash_is_a_short_line_of_ascii(self, hasher: SlowHasher) -> None:
        encoded = (await hasher.hash("\N{GRINNING FACE}" * 1024)).encoded
        assert len(encoded) <= MAX_HASH_LENGTH
        assert encoded.isascii()
        assert encoded.isprintable()

    async def test_nothing_verifies_against_no_hash(self, hasher: SlowHasher) -> None:
        assert not await hasher.verify(_PASSWORD, None)
        assert not await hasher.verify("", None)

    async def test_nothing_verifies_against_a_hash_that_cannot_be_read(self, hasher: SlowHasher) -> None:
        for encoded in self.unreadable:
            assert not await hasher.verify(_PASSWORD, PasswordHash(encoded)), repr(encoded)

    async def test_a_hash_that_cannot_be_read_is_outdated(self, hasher: SlowHasher) -> None:
        for encoded in self.unreadable:
            assert hasher.outdated(PasswordHash(encoded)), repr(encoded)

    async def test_a_new_hash_is_not_outdated(self, hasher: SlowHasher) -> None:
        assert not hasher.outdated(await hasher.hash(_PASSWORD))

    @pytest.mark.parametrize(
        "password",
        ["a" * 1024, "\N{GRINNING FACE}" * 1024, "a\tb", "ä", "a" * 100, " spaces ", "", "\ud800 alone"],
        ids=["long", "four bytes each", "tab", "umlaut", "over 72", "spaces", "empty", "lone surrogate"],
    )
    async def test_every_byte_of_a_password_counts(self, hasher: SlowHasher, password: str) -> None:
        hashed = await hasher.hash(password)
        assert await hasher.verify(password, hashed)
        assert not await hasher.verify(password + "x", hashed)
        assert not await hasher.verify(password[:-1] or "x", hashed)

    async def test_unicode_is_taken_as_it_comes(self, hasher: SlowHasher) -> None:
        composed = "pässword"
        hashed = await hasher.hash(composed)
        assert not await hasher.verify(unicodedata.normalize("NFD", composed), hashed)

    async def test_the_event_loop_turns_while_a_password_is_hashed(self, hasher: SlowHasher) -> None:
        hashed = await hasher.hash(_PASSWORD)
        works: list[Callable[[], Coroutine[object, object, object]]] = [
            lambda: hasher.hash(_PASSWORD),
            lambda: hasher.verify(_PASSWORD, hashed),
            lambda: hasher.verify(_PASSWORD, None),
        ]
        for work in works:
            task = asyncio.create_task(work())
            await asyncio.sleep(0)
            # A result from another thread or process needs at least one more turn of the loop.
            assert not task.done()
            await task

    async def test_calls_at_once_do_not_answer_for_one_another(self, hasher: SlowHasher) -> None:
        passwords = [f"{_PASSWORD} {number}" for number in range(_AT_ONCE)]
        hashes = await asyncio.gather(*(hasher.hash(password, account=password) for password in passwords))
        for wanted, hashed in zip(passwords, hashes, strict=True):
            found = await asyncio.gather(*(hasher.verify(password, hashed) for password in passwords))
            assert found == [password == wanted for password in passwords]

    async def test_a_cancelled_call_leaves_the_hasher_usable(self, hasher: SlowHasher) -> None:
        for _ in range(20):
            task = asyncio.ensure_future(hasher.hash(_PASSWORD))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert await hasher.verify(_PASSWORD, await hasher.hash(_PASSWORD))

    async def test_a_repr_shows_no_password(self, hasher: SlowHasher) -> None:
        hashed = await hasher.hash(_PASSWORD)
        assert _PASSWORD not in f"{hasher!r} {hashed!r}"
        assert _PASSWORD not in hashed.encoded
