"""The adapters of docs/extending.md pass the published suites: the page is run unchanged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from hashlib import scrypt
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.papers import program
from ubr import (
    SYSTEM,
    Extensions,
    LogInCommand,
    PasswordHash,
    RegisterUserCommand,
    Settings,
    SlowHasher,
    connect,
    errors,
)
from ubr.adapters.memory import MemoryChangeNotifier
from ubr.domain.revocation.changes import ChangeRecord
from ubr.testing import TINY_HASHING, Double, in_memory
from ubr.testing.contracts import SlowHasherContract

_HASHER = program("docs/extending.md", "class ScryptHasher")
_MAILER = program("docs/extending.md", "class HttpMailer")

ScryptHasher: Any = _HASHER["ScryptHasher"]
TestScryptHasher: type = _HASHER["TestScryptHasher"]
TestHttpMailer: type = _MAILER["TestHttpMailer"]

EMAIL, PASSWORD = "reader@example.org", "correct horse battery staple 8"


def on_file(folder: Path) -> Settings:
    return Settings.memory(database_url=f"sqlite:///{folder / 'ubr.db'}", migrate="auto", **TINY_HASHING)


async def test_old_hashes_are_replaced_at_the_next_login(tmp_path: Path) -> None:
    settings, own = on_file(tmp_path), ScryptHasher(log_n=4)
    log_in = LogInCommand(email=EMAIL, password=PASSWORD)
    async with connect(settings) as ubr:
        await ubr.register_user(RegisterUserCommand(email=EMAIL, password=PASSWORD), actor=SYSTEM)
    async with connect(settings, extensions=Extensions(hasher=own)) as ubr:
        with pytest.raises(errors.InvalidCredentials):
            await ubr.log_in(LogInCommand(email=EMAIL, password=PASSWORD + "x"))
        await ubr.log_in(log_in)
        await ubr.log_in(log_in)
    async with connect(settings) as ubr:
        # Replaced by a hash that only the other hasher reads.
        with pytest.raises(errors.InvalidCredentials):
            await ubr.log_in(log_in)
    own.close()


@pytest.mark.parametrize("encoded", ["x" * 513, "hash\n", "hä"], ids=["long", "line", "umlaut"])
async def test_a_hash_that_could_not_be_read_again_is_not_stored(encoded: str) -> None:
    class Odd(ScryptHasher):  # type: ignore[misc]
        async def hash(self, password: str, *, account: str = "") -> PasswordHash:
            return PasswordHash(encoded)

    async with in_memory(extensions=Extensions(hasher=Odd(log_n=4))) as (ubr, _):
        with pytest.raises(ValueError, match="512 characters of ASCII"):
            await ubr.register_user(RegisterUserCommand(email=EMAIL, password=PASSWORD), actor=SYSTEM)


async def test_queued_mails_go_through_the_mailer_of_the_host() -> None:
    service = _MAILER["MailService"]()
    client = httpx.AsyncClient(transport=httpx.MockTransport(service.answer), base_url="https://mail.example")
    async with in_memory(extensions=Extensions(mailer=_MAILER["HttpMailer"](client))) as (ubr, _):
        await ubr.register_user(RegisterUserCommand(email=EMAIL, password=PASSWORD), actor=SYSTEM)
        await ubr.deliver_mail(actor=SYSTEM)
    assert [mail.to for mail in service.mails] == [EMAIL]


async def test_ends_go_through_the_notifier_of_the_host(tmp_path: Path) -> None:
    class Counted(MemoryChangeNotifier):
        delivered = 0

        async def deliver(self, epoch: str, rows: Sequence[ChangeRecord], to: frozenset[Any]) -> bool:
            self.delivered += len(rows)
            return await super().deliver(epoch, rows, to)

    notifier, settings = Counted(), on_file(tmp_path)
    extensions = Extensions(notifier=notifier)
    async with connect(settings, extensions=extensions) as one, connect(settings, extensions=extensions) as other:
        await one.register_user(RegisterUserCommand(email=EMAIL, password=PASSWORD), actor=SYSTEM)
        tokens = await one.log_in(LogInCommand(email=EMAIL, password=PASSWORD))
        actor = await other.authenticate(tokens.access_token)
        await one.log_out(actor=actor)
        with pytest.raises(errors.Unauthenticated):
            await other.authenticate(tokens.access_token)
    assert notifier.delivered


def test_a_double_has_the_parts_of_the_host() -> None:
    own = ScryptHasher(log_n=4)
    with Double(extensions=Extensions(hasher=own)) as double:
        assert double.a_user().tokens.access_token
    own.close()


class Blocking(ScryptHasher):  # type: ignore[misc]
    """Hashes on the event loop."""

    async def _computed(self, password: str, log_n: int, salt: bytes) -> bytes:
        return scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, n=2, r=8, p=1, dklen=32)


class Truncating(ScryptHasher):  # type: ignore[misc]
    """Reads the first 72 bytes only, as bcrypt does."""

    async def _computed(self, password: str, log_n: int, salt: bytes) -> bytes:
        return bytes(await super()._computed(password[:72], log_n, salt))


class Unsalted(ScryptHasher):  # type: ignore[misc]
    async def _computed(self, password: str, log_n: int, salt: bytes) -> bytes:
        return bytes(await super()._computed(password, log_n, b"salt"))

    @staticmethod
    def _encoded(log_n: int, salt: bytes, digest: bytes) -> str:
        return str(
            ScryptHasher._encoded(  # noqa: SLF001 - its subclass
                log_n, b"s" * 16, digest
            )
        )


class Welcoming(ScryptHasher):  # type: ignore[misc]
    """Takes any password where there is no hash."""

    async def verify(self, password: str, against: PasswordHash | None, *, account: str = "") -> bool:
        return against is None or bool(await super().verify(password, against))


@pytest.mark.parametrize(
    ("hasher", "shown_by"),
    [
        (Blocking, lambda suite, hasher: suite.test_the_event_loop_turns_while_a_password_is_hashed(hasher)),
        (Truncating, lambda suite, hasher: suite.test_every_byte_of_a_password_counts(hasher, "a" * 100)),
        (Unsalted, lambda suite, hasher: suite.test_no_two_hashes_are_equal(hasher)),
        (Welcoming, lambda suite, hasher: suite.test_nothing_verifies_against_no_hash(hasher)),
    ],
)
async def test_a_suite_shows_what_is_wrong(
    hasher: type, shown_by: Callable[[SlowHasherContract, SlowHasher], Awaitable[None]]
) -> None:
    with pytest.raises(AssertionError):
        await shown_by(SlowHasherContract(), hasher(log_n=4))
