"""Client IPs that are missing beside the entries of a log, and the entries that explain it."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.support.logs import Maker, Signer, key_created, placed, seeded, steps_over
from tests.support.values import replace
from tests.unit.domain.audit.test_log_check import VERIFY, walked
from ubr.domain.audit.entry import ClientIp, LogEntry
from ubr.domain.audit.log_check import Checked, LogCheck, Tampered
from ubr.domain.events import Event, LogInFailed, SessionRevoked, UserDeleted, UserErased
from ubr.domain.ids import SessionId, UserId

SIGNER = Signer("one")
ADA, BOB = UserId(UUID(int=1)), UserId(UUID(int=2))
IP = ClientIp(ip="192.0.2.1", salt=b"s" * 16)


def entry(make: Maker, event: Event, actor_id: UserId | None = None, *, erased: bool = False) -> LogEntry:
    whole = LogEntry.of(
        event,
        id=make.entry().id,
        actor_id=actor_id,
        ip=IP,
        request_id=None,
        request_id_given=False,
        now=make.clock,
        salt=b"t" * 16,
    )
    return replace(whole, client_ip=None) if erased else whole


def checked(*entries: LogEntry, waiting: LogEntry | None = None) -> Checked:
    first = Maker(seeded(7)).entry(key_created(SIGNER))
    check = LogCheck(VERIFY, [SIGNER.key])
    if waiting is not None:
        check.waiting(waiting)
    return walked(check, steps_over([([first, *entries], [SIGNER])]))


def test_the_erasure_of_a_person_explains_their_client_ips_before_and_after_it() -> None:
    make = Maker(seeded(1))
    told = entry(make, UserErased(user_id=ADA, entries=3), BOB)
    acts = [
        entry(make, UserDeleted(user_id=BOB), ADA, erased=True),
        entry(make, LogInFailed(user_id=ADA, reason="wrong_password"), erased=True),
        entry(make, SessionRevoked(session_id=SessionId(UUID(int=9)), user_id=ADA, cause="evicted"), erased=True),
    ]
    assert checked(*acts, told).size == 5
    assert checked(told, *acts).size == 5
    assert checked(*acts, waiting=told).size == 4


@pytest.mark.parametrize(
    ("event", "actor"),
    [
        (UserDeleted(user_id=ADA), BOB),
        (LogInFailed(user_id=BOB, reason="wrong_password"), None),
        (LogInFailed(user_id=None, reason="unknown_email"), None),
    ],
)
def test_the_erasure_of_a_person_explains_nothing_about_others(event: Event, actor: UserId | None) -> None:
    make = Maker(seeded(1))
    gone, told = entry(make, event, actor, erased=True), entry(make, UserErased(user_id=ADA, entries=1))
    with pytest.raises(Tampered, match="client IP of entry 1 is missing") as found:
        checked(gone, told)
    assert (found.value.index, found.value.last) == (1, 1)


def test_a_client_ip_that_stays_is_checked_in_spite_of_an_erasure() -> None:
    make = Maker(seeded(1))
    kept = replace(entry(make, UserDeleted(user_id=BOB), ADA), client_ip=replace(IP, ip="192.0.2.2"))
    with pytest.raises(Tampered, match="was changed") as found:
        checked(kept, entry(make, UserErased(user_id=ADA, entries=1)))
    assert found.value.index == 1


def test_an_entry_of_an_earlier_version_cannot_lose_its_client_ip() -> None:
    make = Maker(seeded(1))
    old = replace(entry(make, UserDeleted(user_id=BOB), ADA), ip="192.0.2.1", client_ip=None)
    assert checked(old).size == 2
    damaged = replace(placed(1, old), entry=replace(old, ip=None))
    check = LogCheck(VERIFY, [SIGNER.key])
    check.leaf(placed(0, make.entry()))
    with pytest.raises(Tampered):
        check.leaf(damaged)
