import json
import re
from datetime import UTC, datetime
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import pytest

from tests.support.values import names_of
from ubr.domain import events
from ubr.domain.audit.entry import canonical_json
from ubr.domain.events import (
    Event,
    LogKeyEvent,
    MachineKeyEvent,
    MailEvent,
    PersonEvent,
    RoleEvent,
    SessionEvent,
    SessionRevoked,
    SigningKeyEvent,
    UserEvent,
    actions,
    actor_of,
)
from ubr.domain.ids import SessionId, UserId
from ubr.domain.sessions.termination import SecurityEvent

ID = UUID("0190a5d0-0000-7000-8000-00000000000f")
MOMENT = datetime(2030, 1, 1, tzinfo=UTC)
PERSONAL = re.compile(r"e?mail|address|full_name|password|secret|token|hash|user_agent", re.IGNORECASE)


ROOTS = {
    Event,
    UserEvent,
    RoleEvent,
    SessionEvent,
    SigningKeyEvent,
    LogKeyEvent,
    PersonEvent,
    MailEvent,
    MachineKeyEvent,
}
# Whatever this module defines that is an event and no root of others.
KINDS: list[type[Event]] = [
    kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event) and kind not in ROOTS
]


def example(kind: Any) -> Any:
    """A value for a field of an event, whatever its type."""
    if get_origin(kind) in {Union, UnionType}:
        kind = next(part for part in get_args(kind) if part is not type(None))
    kind = getattr(kind, "__supertype__", kind)
    origin = get_origin(kind) or kind
    return {UUID: ID, datetime: MOMENT, str: "text", int: 7, bool: True, tuple: ("text",), dict: {"name": "text"}}[
        origin
    ]


def made(kind: type[Event], *, absent: bool = False) -> Event:
    """An event of this kind; `absent` leaves out what may be."""
    hints = get_type_hints(kind)
    values = {}
    for name in names_of(kind):
        hint = hints[name]
        values[name] = None if absent and type(None) in get_args(hint) else example(hint)
    return kind(**values)


def test_every_action_belongs_to_one_event() -> None:
    assert len(KINDS) == len({kind.action for kind in KINDS})
    assert actions() == {kind.action: kind for kind in KINDS}


def test_actions_are_what_clients_filter_by() -> None:
    assert sorted(actions()) == [
        "act.refused",
        "idempotency_key.mismatched",
        "link.issued",
        "log.entry_read", "log.exported", "log.pruned", "log.read",
        "log_key.created", "log_key.rewrapped", "log_key.rotated",
        "machine.created", "machine.key_created", "machine.key_revoked", "machine.key_rotated",
        "machine.token_refused", "machine.updated", "machine_keys.rewrapped",
        "mail.given_up", "mail.retried",
        "passwords.rewrapped",
        "requests.rejected",
        "role.assigned", "role.created", "role.deleted", "role.unassigned", "role.updated",
        "service.restored",
        "session.login_failed", "session.login_locked",
        "session.opened", "session.refreshed", "session.revoked", "session.token_reused",
        "signing_key.created", "signing_key.revoked", "signing_key.rewrapped", "signing_key.rotated",
        "user.claimed", "user.created", "user.deleted", "user.disabled", "user.email_change_asked",
        "user.email_change_undone", "user.email_changed", "user.email_verified", "user.enabled",
        "user.erased", "user.exported",
        "user.no_session_revoked", "user.password_changed", "user.password_reset", "user.registered", "user.taken_over",
        "user.unlocked", "user.updated", "verifier.registered",
    ]  # fmt: skip


of_every_kind = pytest.mark.parametrize("kind", KINDS)


@of_every_kind
def test_an_event_is_named_and_described(kind: type[Event]) -> None:
    assert re.fullmatch(r"[a-z_]+\.[a-z_]+", kind.action)
    assert re.fullmatch(r"[A-Z][^.]+", kind.message)
    assert kind.level in {"info", "warning", "error"}


@of_every_kind
@pytest.mark.parametrize("absent", [False, True])
def test_facts_are_json(kind: type[Event], absent: bool) -> None:
    event = made(kind, absent=absent)
    facts = event.data()
    assert json.loads(canonical_json(facts)) == facts


@of_every_kind
def test_an_event_has_no_room_for_personal_data_or_secrets(kind: type[Event]) -> None:
    assert not [name for name in names_of(kind) if PERSONAL.search(name)]
    assert not [key for key in made(kind).data() if PERSONAL.search(key)]


@of_every_kind
def test_what_an_event_holds_is_in_its_facts_or_its_target(kind: type[Event]) -> None:
    event = made(kind)
    shown = canonical_json(event.data()) + ("" if event.target is None else event.target.id)
    for name in names_of(kind):
        value = getattr(event, name)
        text = value.isoformat() if isinstance(value, datetime) else str(value)
        # Whether a role is held decides who is told of a change, and is no fact about the change. In how many sessions
        # a denial happened decides whether its entry has one.
        assert text in shown or name in event.data() or name in {"held", "several_sessions"}


# About the whole log, or about what was not done.
ABOUT_NOTHING = {
    "act.refused", "log.exported", "log.pruned", "log.read", "machine_keys.rewrapped", "passwords.rewrapped",
    "requests.rejected",
}  # fmt: skip


@of_every_kind
def test_the_target_is_what_the_action_is_about(kind: type[Event]) -> None:
    target = made(kind).target
    assert (target is None) == (kind.action in ABOUT_NOTHING)
    assert target is None or target.id in {str(ID), "text"}


def test_whoever_is_signed_in_comes_before_whom_the_act_names() -> None:
    one, other = UserId(UUID(int=1)), UserId(UUID(int=2))
    event = made(actions()["session.opened"])
    assert actor_of(event, one) == one
    assert actor_of(event, None) == UserId(ID)
    assert actor_of(made(actions()["user.updated"]), None) is None
    assert actor_of(made(actions()["user.updated"]), other) == other


@pytest.mark.parametrize("cause", list(SecurityEvent))
def test_an_ended_session_says_why(cause: SecurityEvent) -> None:
    event = SessionRevoked(session_id=SessionId(ID), user_id=UserId(ID), cause=cause.value)
    assert json.loads(canonical_json(event.data())) == {"user_id": str(ID), "cause": cause.value}
