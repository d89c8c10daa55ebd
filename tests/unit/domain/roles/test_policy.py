import pytest

from ubr.domain.accounts.user import REAUTHENTICATION
from ubr.domain.errors import GrantExceedsOwn
from ubr.domain.roles.grant import MIN_GRANT_DURATION
from ubr.domain.roles.permissions import (
    BUILT_IN_PERMISSIONS,
    EVERYTHING,
    Permission,
    Permissions,
    forbid_escalation,
    union,
)
from ubr.domain.sessions.session import RETRY_WINDOW
from ubr.domain.sessions.termination import SESSION_TERMINATION, SecurityEvent, TerminationScope


def of(*names: str) -> Permissions:
    return Permissions.of(map(Permission, names))


def test_the_permissions_are_those_of_the_contract() -> None:
    contract = "users:read users:write users:delete roles:read roles:write roles:assign sessions:read sessions:revoke"
    later = "users:erase logs:read revocations:read machines:read machines:write metrics:read"
    assert set(BUILT_IN_PERMISSIONS) == {*contract.split(), *later.split(), "*"}


def test_the_table_of_what_ends_what_knows_every_event() -> None:
    assert set(SESSION_TERMINATION) == set(SecurityEvent)


def test_what_ends_what() -> None:
    # Written out once more, so that a change of the table is one of this promise too.
    assert {event.value: reach.name for event, reach in SESSION_TERMINATION.items()} == {
        "log_out": "ONE",
        "revoked": "ONE",
        "others_revoked": "OTHERS",
        "all_revoked": "ALL",
        "password_changed": "OTHERS",
        "password_reset": "ALL",
        "claimed": "ALL",
        "email_changed": "OTHERS",
        "email_change_undone": "ALL",
        "role_changed": "NONE",
        "grant_expired": "NONE",
        "disabled": "ALL",
        "deleted": "ALL",
        "taken_over": "ALL",
        "token_reused": "ONE",
        "key_revoked": "KEY",
        "evicted": "ONE",
    }
    assert {reach.name for reach in TerminationScope} == {"NONE", "ONE", "OTHERS", "KEY", "ALL"}


def test_the_terms_are_those_of_the_contract() -> None:
    assert RETRY_WINDOW.total_seconds() == 10
    assert REAUTHENTICATION.total_seconds() == 600
    assert MIN_GRANT_DURATION.total_seconds() == 60


@pytest.mark.parametrize(
    ("own", "before", "after", "allowed"),
    [
        (of("a:a"), of(), of(), True),
        (of("a:a"), of("a:a"), of(), True),
        (of("a:a"), of(), of("a:a"), True),
        (of("a:a"), of("b:b"), of(), False),
        (of("a:a"), of(), of("b:b"), False),
        (of("a:a", "b:b"), of("a:a"), of("b:b"), True),
        (of("a:a"), of("*"), of(), False),
        (of("a:a"), of(), of("*"), False),
        (of("*"), of("*"), of("a:a", "b:b"), True),
        (BUILT_IN_PERMISSIONS, of("not:built-in"), of("*"), True),
        (Permissions(BUILT_IN_PERMISSIONS.names - {EVERYTHING}), of("*"), of(), False),
        (of(), of(), of(), True),
        (of(), of("a:a"), of(), False),
    ],
)
def test_nobody_rises(own: Permissions, before: Permissions, after: Permissions, allowed: bool) -> None:
    if allowed:
        forbid_escalation(own, before, after)
        return
    with pytest.raises(GrantExceedsOwn):
        forbid_escalation(own, before, after)


def test_a_union_holds_all_parts() -> None:
    assert union([]) == Permissions()
    assert union([of("a:a"), of("b:b"), of("a:a")]) == of("a:a", "b:b")
