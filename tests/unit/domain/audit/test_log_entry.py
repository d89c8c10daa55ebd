import hashlib
import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.values import replace
from ubr.domain.audit.entry import ClientIp, LogEntry, canonical_json
from ubr.domain.events import LogInFailed, RoleAssigned, SessionOpened, SessionRevoked, Target, UserRegistered
from ubr.domain.ids import LogEntryId, RoleId, SessionId, UserId

NOW = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ENTRY = LogEntry(
    id=LogEntryId(UUID("0190a5d0-0000-7000-8000-0000000000aa")),
    level="warning",
    action="user.disabled",
    message="A user was disabled",
    timestamp=NOW,
    actor_id=UserId(UUID("0190a5d0-0000-7000-8000-000000000001")),
    target=Target("user", "0190a5d0-0000-7000-8000-000000000002"),
    ip="192.0.2.1",
    request_id="req-é",
    request_id_given=True,
    data='{"cause":"ö"}',
    salt=bytes(range(16)),
)
BARE = replace(ENTRY, actor_id=None, target=None, ip=None, request_id=None, request_id_given=False, data="{}")

# Format 1, field by field. These bytes never change: leaf hashes, checkpoints and exports rest on them.
ENTRY_BYTES = """
    01
    00000024 30313930613564302d303030302d373030302d383030302d303030303030303030306161
    00000007 7761726e696e67
    0000000d 757365722e64697361626c6564
    00000013 412075736572207761732064697361626c6564
    0000001b 323033302d30312d30325430333a30343a30352e3637383930315a
    00000024 30313930613564302d303030302d373030302d383030302d303030303030303030303031
    00000004 75736572
    00000024 30313930613564302d303030302d373030302d383030302d303030303030303030303032
    00000009 3139322e302e322e31
    00000006 7265712dc3a9
    00000001 31
    0000000e 7b226361757365223a22c3b6227d
    00000010 000102030405060708090a0b0c0d0e0f
"""
BARE_BYTES = """
    01
    00000024 30313930613564302d303030302d373030302d383030302d303030303030303030306161
    00000007 7761726e696e67
    0000000d 757365722e64697361626c6564
    00000013 412075736572207761732064697361626c6564
    0000001b 323033302d30312d30325430333a30343a30352e3637383930315a
    ffffffff ffffffff ffffffff ffffffff ffffffff
    00000001 30
    00000002 7b7d
    00000010 000102030405060708090a0b0c0d0e0f
"""


@pytest.mark.parametrize(("entry", "expected"), [(ENTRY, ENTRY_BYTES), (BARE, BARE_BYTES)])
def test_the_canonical_bytes_of_format_1(entry: LogEntry, expected: str) -> None:
    assert entry.canonical() == bytes.fromhex(expected)


def test_the_leaf_of_an_entry_never_changes() -> None:
    digest = hashlib.sha256(b"\0" + ENTRY.canonical()).hexdigest()
    assert digest == "da22d84ae142d4612c6862004193cc02d50ef67896e604ffbc8d3d566d353731"
    assert ENTRY.leaf.hex() == digest


def test_equal_moments_have_equal_bytes() -> None:
    elsewhere = replace(ENTRY, timestamp=NOW.astimezone(timezone(timedelta(hours=-5, minutes=-30))))
    assert elsewhere.canonical() == ENTRY.canonical()


OTHER: dict[str, Any] = {
    "id": UUID(int=9),
    "level": "info",
    "action": "user.enabled",
    "message": "",
    "timestamp": NOW + timedelta(microseconds=1),
    "actor_id": None,
    "target": Target("role", "0190a5d0-0000-7000-8000-000000000002"),
    "ip": "",
    "request_id": "req-e",
    "request_id_given": False,
    "data": "{}",
    "salt": bytes(16),
    "format": 2,
}


CLIENT_IP = ClientIp(ip="192.0.2.1", salt=b"i" * 16)


@pytest.mark.parametrize("name", [field.name for field in fields(LogEntry) if field.compare])
def test_every_field_counts(name: str) -> None:
    assert replace(ENTRY, **{name: OTHER[name]}).canonical() != ENTRY.canonical()


@pytest.mark.parametrize(("number", "version"), [(0, 0), (2, 2), (255, 255), (-1, 0), (256, 255), (2**63 - 1, 255)])
def test_a_format_that_is_not_known_has_other_bytes(number: int, version: int) -> None:
    """There is none yet but the first: what says so was not written by us, and is seen by its hash."""
    raw = replace(ENTRY, format=number).canonical()
    assert (raw[0], raw[1:]) == (version, ENTRY.canonical()[1:])


def test_absent_is_not_empty() -> None:
    assert replace(ENTRY, ip=None).canonical() != replace(ENTRY, ip="").canonical()
    assert replace(ENTRY, request_id=None).canonical() != replace(ENTRY, request_id="").canonical()


# Few values and short texts, so that pairs are close to one another, and texts that imitate lengths and gaps.
texts = st.text(st.sampled_from("a\0\x01\x02\xff1"), max_size=4)
ids = st.integers(0, 2).map(lambda n: UUID(int=n))
entries = st.builds(
    LogEntry,
    id=ids.map(LogEntryId),
    level=st.sampled_from(["info", "warning"]),
    action=texts,
    message=texts,
    timestamp=st.sampled_from([NOW, NOW + timedelta(microseconds=1)]),
    actor_id=st.none() | ids.map(UserId),
    target=st.none() | st.builds(Target, st.sampled_from(["user", "role"]), texts),
    ip=st.none() | texts,
    request_id=st.none() | texts,
    request_id_given=st.booleans(),
    data=texts,
    salt=st.binary(max_size=3),
)


@given(entries, entries, st.sets(st.sampled_from([field.name for field in fields(LogEntry) if field.compare])))
def test_two_entries_are_never_the_same_bytes(one: LogEntry, other: LogEntry, shared: set[str]) -> None:
    near = replace(other, **{name: getattr(one, name) for name in shared})
    assert (one.canonical() == near.canonical()) == (one == near)


@given(entries)
def test_the_fields_can_be_read_back(entry: LogEntry) -> None:
    raw = entry.canonical()
    found: list[bytes | None] = []
    at = 1
    while at < len(raw):
        length, at = raw[at : at + 4], at + 4
        if length == b"\xff\xff\xff\xff":
            found.append(None)
            continue
        end = at + int.from_bytes(length, "big")
        found.append(raw[at:end])
        at = end
    assert (at, len(found), raw[0]) == (len(raw), 13, 1)
    assert found[2] == entry.action.encode()
    assert found[8] == (None if entry.ip is None else entry.ip.encode())
    assert found[12] == entry.salt


facts = st.dictionaries(
    texts, st.none() | st.booleans() | st.integers() | texts | st.lists(texts, max_size=2), max_size=2
)


@given(entries, facts)
def test_an_entry_is_the_same_when_it_was_written_to_a_file(entry: LogEntry, held: dict[str, Any]) -> None:
    entry = replace(entry, data=canonical_json(held))
    assert LogEntry.imported(json.loads(json.dumps(entry.exported()))) == entry


MALFORMED: dict[str, list[Any]] = {
    "id": ["", "x", 1, None, str(ENTRY.id).upper(), ENTRY.id.hex, f"{{{ENTRY.id}}}"],
    "format": ["1", 1.0, True, None],
    "level": [1, None],
    "action": [None, ["user.disabled"]],
    "message": [None, True],
    "timestamp": ["", "2030-01-02T03:04:05Z", "2030-01-02T03:04:05.678901+00:00", 0, None],
    "actor_id": ["", 7, str(ENTRY.actor_id).upper()],
    "target": ["user", [], {"type": "user"}, {"type": "user", "id": "1", "name": "x"}, {"type": None, "id": "1"}],
    "ip": [1, False],
    "request_id": [1, []],
    "request_id_given": [1, 0, "true", None],
    "salt": ["0", "zz", None, bytes(range(16)).hex().upper(), "00 01"],
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_entry_in_a_file_is_none(name: str) -> None:
    record = ENTRY.exported()
    assert LogEntry.imported(record) == ENTRY
    for value in MALFORMED[name]:
        with pytest.raises(ValueError, match=r"not a log entry|badly formed|hexadecimal|does not match|UUID"):
            LogEntry.imported({**record, name: value})
    for other in ({key: value for key, value in record.items() if key != name}, {**record, f"{name}2": None}):
        with pytest.raises(ValueError, match="not a log entry"):
            LogEntry.imported(other)


def test_facts_have_one_text() -> None:
    assert canonical_json({"b": [1, None], "a": "é"}) == '{"a":"é","b":[1,null]}'
    assert canonical_json({"a": 1, "b": 2}) == canonical_json({"b": 2, "a": 1})


def entry_of(event: Any, actor_id: UserId | None) -> LogEntry:
    return LogEntry.of(
        event,
        id=ENTRY.id,
        actor_id=actor_id,
        ip=CLIENT_IP,
        request_id="req",
        request_id_given=True,
        now=NOW,
        salt=b"s" * 16,
    )


def test_an_entry_tells_what_the_event_tells() -> None:
    actor, user, role = UserId(UUID(int=1)), UserId(UUID(int=2)), RoleId(UUID(int=3))
    entry = entry_of(RoleAssigned(user_id=user, role_id=role, expires_at=None), actor)
    assert (entry.action, entry.level, entry.message) == ("role.assigned", "info", RoleAssigned.message)
    assert (entry.actor_id, entry.target) == (actor, Target("user", str(user)))
    assert (entry.known_ip, entry.request_id, entry.request_id_given) == ("192.0.2.1", "req", True)
    assert (entry.timestamp, entry.salt, entry.id) == (NOW, b"s" * 16, ENTRY.id)
    assert json.loads(entry.data) == {"role_id": str(role), "expires_at": None}


def test_registrants_and_users_who_log_in_are_the_actors() -> None:
    user = UserId(UUID(int=2))
    assert entry_of(UserRegistered(user_id=user), None).actor_id == user
    opened = SessionOpened(session_id=SessionId(UUID(int=4)), user_id=user, kind="tokens")
    assert entry_of(opened, None).actor_id == user


def test_a_failed_login_has_no_actor() -> None:
    entry = entry_of(LogInFailed(user_id=UserId(UUID(int=2)), reason="wrong_password"), None)
    assert entry.actor_id is None
    assert entry.target == Target("user", str(UUID(int=2)))
    assert entry_of(LogInFailed(user_id=None, reason="unknown_email"), None).target is None


def test_the_client_ip_is_beside_the_entry_which_has_its_digest_alone() -> None:
    entry = entry_of(LogInFailed(user_id=UserId(UUID(int=2)), reason="wrong_password"), None)
    digest = hashlib.sha256(b"i" * 16 + b"192.0.2.1").hexdigest()
    assert entry.ip == f"sha256:{digest}"
    assert b"192.0.2.1" not in entry.canonical()
    erased = replace(entry, client_ip=None)
    assert erased.leaf == entry.leaf
    assert (entry.lacks_ip, erased.lacks_ip, erased.known_ip) == (False, True, None)


def test_another_client_ip_is_not_that_of_the_entry() -> None:
    entry = entry_of(UserRegistered(user_id=UserId(UUID(int=2))), None)
    assert not entry.has_wrong_ip
    for other in (replace(CLIENT_IP, ip="192.0.2.2"), replace(CLIENT_IP, salt=b"j" * 16)):
        assert replace(entry, client_ip=other).has_wrong_ip
    assert replace(entry, ip=None).has_wrong_ip


def test_no_byte_of_a_client_ip_moves_to_the_random_bits() -> None:
    """The digest stays the same."""
    entry = entry_of(UserRegistered(user_id=UserId(UUID(int=2))), None)
    shorter = ClientIp(ip="92.0.2.1", salt=CLIENT_IP.salt + b"1")
    longer = ClientIp(ip="i192.0.2.1", salt=CLIENT_IP.salt[:-1])
    assert shorter.digest == longer.digest == entry.ip
    for other in (shorter, longer):
        assert replace(entry, client_ip=other).has_wrong_ip


def test_an_entry_of_an_earlier_version_has_the_client_ip_in_itself() -> None:
    assert (ENTRY.known_ip, ENTRY.lacks_ip, ENTRY.has_wrong_ip) == ("192.0.2.1", False, False)
    assert (BARE.known_ip, BARE.lacks_ip) == (None, False)


def test_the_person_of_an_entry_is_the_actor_or_else_the_user_it_is_about() -> None:
    actor, user, session = UserId(UUID(int=1)), UserId(UUID(int=2)), SessionId(UUID(int=4))
    assigned = RoleAssigned(user_id=user, role_id=RoleId(UUID(int=3)), expires_at=None)
    assert entry_of(assigned, actor).person == str(actor)
    assert entry_of(assigned, None).person == str(user)
    assert entry_of(SessionRevoked(session_id=session, user_id=user, cause="evicted"), None).person == str(user)
    assert entry_of(LogInFailed(user_id=None, reason="unknown_email"), None).person is None
    ended = entry_of(SessionRevoked(session_id=session, user_id=user, cause="evicted"), None)
    for data in ("[]", "{}", '{"user_id":5}'):
        assert replace(ended, data=data).person is None
