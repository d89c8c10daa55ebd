from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from ubr.domain.accounts.email import Email
from ubr.domain.accounts.passwords import PasswordHash
from ubr.domain.accounts.user import User, UserStatus
from ubr.domain.errors import BuiltInRole, TooManyRoles
from ubr.domain.events import (
    AdminTakenOver,
    PasswordChanged,
    RoleAssigned,
    RoleUnassigned,
    UserCreated,
    UserDeleted,
    UserDisabled,
    UserEnabled,
    UserRegistered,
    UserUpdated,
)
from ubr.domain.ids import RoleId, UserId
from ubr.domain.roles.grant import MAX_ROLES, Grant
from ubr.domain.roles.role import ADMIN_ROLE_ID, USER_ROLE_ID

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
ID = UserId(UUID(int=1))
OTHER_ID = UserId(UUID(int=2))
ROLE_ID = RoleId(UUID(int=3))
EMAIL = Email.parse("User1@example.org")
HASH = PasswordHash("hash-1")
NEW_HASH = PasswordHash("hash-2")


@pytest.fixture
def user() -> User:
    made = User.register(id=ID, email=EMAIL, full_name="User One", password_hash=HASH, now=NOW)
    made.events.clear()
    return made


def update(
    user: User, *, email: Email | None = None, full_name: str | None = "User One", status: UserStatus | None = None
) -> None:
    user.update(email=email or user.email, full_name=full_name, status=status or user.status, now=LATER)


def test_a_registered_user_is_active_unverified_and_has_the_role_user() -> None:
    user = User.register(id=ID, email=EMAIL, full_name=None, password_hash=HASH, now=NOW)
    assert (user.status, user.email_verified, user.version, user.security_version) == (UserStatus.ACTIVE, False, 1, 1)
    assert (user.created_at, user.updated_at) == (NOW, NOW)
    assert user.grants == {USER_ROLE_ID: Grant(role_id=USER_ROLE_ID, granted_by=None, granted_at=NOW)}
    assert user.events == [UserRegistered(user_id=ID)]


def test_a_created_user_needs_no_password() -> None:
    user = User.create(id=ID, email=EMAIL, full_name=None, password_hash=None, now=NOW)
    assert user.password_hash is None
    assert user.roles_at(NOW) == {USER_ROLE_ID}
    assert user.events == [UserCreated(user_id=ID)]


def test_an_update_that_changes_nothing_leaves_no_trace(user: User) -> None:
    update(user)
    assert (user.version, user.security_version, user.updated_at, user.events) == (1, 1, NOW, [])


def test_another_name_is_a_new_version(user: User) -> None:
    update(user, full_name=None)
    assert (user.full_name, user.version, user.security_version, user.updated_at) == (None, 2, 1, LATER)
    assert user.events == [UserUpdated(user_id=ID, changed=("full_name",))]


def test_another_email_has_yet_to_be_verified_and_changes_security(user: User) -> None:
    user.email_verified = True
    update(user, email=Email.parse("user2@example.org"))
    assert (user.email_verified, user.version, user.security_version) == (False, 2, 2)
    assert user.events == [UserUpdated(user_id=ID, changed=("email",))]


def test_the_same_email_spelled_otherwise_stays_verified(user: User) -> None:
    user.email_verified = True
    update(user, email=Email.parse("USER1@example.org"))
    assert user.email.address == "USER1@example.org"
    assert (user.email_verified, user.version, user.security_version) == (True, 2, 1)
    assert user.events == [UserUpdated(user_id=ID, changed=("email",))]


def test_disabling_and_enabling_change_security(user: User) -> None:
    update(user, status=UserStatus.DISABLED)
    assert (user.active, user.version, user.security_version) == (False, 2, 2)
    update(user, status=UserStatus.ACTIVE)
    assert (user.active, user.version, user.security_version) == (True, 3, 3)
    assert user.events == [UserDisabled(user_id=ID), UserEnabled(user_id=ID)]


def test_one_update_is_one_version_and_every_field_has_its_event(user: User) -> None:
    update(user, email=Email.parse("user2@example.org"), full_name=None, status=UserStatus.DISABLED)
    assert (user.version, user.security_version) == (2, 3)
    assert user.events == [UserUpdated(user_id=ID, changed=("email", "full_name")), UserDisabled(user_id=ID)]


def test_a_new_password_changes_security(user: User) -> None:
    user.change_password(NEW_HASH, now=LATER)
    assert (user.password_hash, user.version, user.security_version, user.updated_at) == (NEW_HASH, 2, 2, LATER)
    assert user.events == [PasswordChanged(user_id=ID)]


def test_a_costlier_hash_of_the_same_password_is_not_a_change(user: User) -> None:
    user.upgrade_hash(NEW_HASH)
    assert (user.password_hash, user.version, user.security_version, user.updated_at) == (NEW_HASH, 1, 1, NOW)
    assert user.events == []


def test_ending_sessions_changes_security_alone(user: User) -> None:
    user.end_sessions()
    assert (user.version, user.security_version, user.events) == (1, 2, [])


def test_granting_a_role(user: User) -> None:
    user.grant(ROLE_ID, by=OTHER_ID, now=LATER)
    assert user.grants[ROLE_ID] == Grant(role_id=ROLE_ID, granted_by=OTHER_ID, granted_at=LATER)
    assert (user.version, user.security_version, user.updated_at) == (2, 1, LATER)
    assert user.events == [RoleAssigned(user_id=ID, role_id=ROLE_ID, expires_at=None)]


def test_granting_it_again_as_it_is_changes_nothing(user: User) -> None:
    user.grant(ROLE_ID, by=OTHER_ID, now=NOW, expires_at=LATER)
    version, events = user.version, list(user.events)
    user.grant(ROLE_ID, by=None, now=LATER, expires_at=LATER)
    assert (user.version, user.events) == (version, events)
    assert user.grants[ROLE_ID].granted_by == OTHER_ID


def test_granting_it_again_moves_its_end(user: User) -> None:
    user.grant(ROLE_ID, by=OTHER_ID, now=NOW)
    user.grant(ROLE_ID, by=OTHER_ID, now=NOW, expires_at=LATER)
    assert user.grants[ROLE_ID].expires_at == LATER
    assert user.version == 3
    assert [event.data()["expires_at"] for event in user.events] == [None, "2030-01-01T01:00:00+00:00"]


def test_a_grant_holds_until_just_before_its_end(user: User) -> None:
    user.grant(ROLE_ID, by=None, now=NOW, expires_at=LATER)
    assert ROLE_ID in user.roles_at(LATER - timedelta(microseconds=1))
    assert ROLE_ID not in user.roles_at(LATER)
    assert USER_ROLE_ID in user.roles_at(LATER + timedelta(days=36500))


def test_the_number_of_roles_fits_into_a_token(user: User) -> None:
    ids = [RoleId(UUID(int=1000 + number)) for number in range(MAX_ROLES)]
    for role_id in ids[:-1]:
        user.grant(role_id, by=None, now=NOW, expires_at=LATER)
    with pytest.raises(TooManyRoles):
        user.grant(ids[-1], by=None, now=NOW)
    user.grant(ids[0], by=None, now=NOW)  # one that is held only moves its end
    user.grant(ids[-1], by=None, now=LATER)  # what has ended does not count
    assert ids[-1] in user.roles_at(LATER)


def test_giving_what_had_ended_counts_like_anything_that_is_given(user: User) -> None:
    ended, held = ([RoleId(UUID(int=at + number)) for number in range(MAX_ROLES - 1)] for at in (1000, 2000))
    for role_id in ended:
        user.grant(role_id, by=None, now=NOW, expires_at=LATER)
    for role_id in held[:-1]:
        user.grant(role_id, by=None, now=LATER)
    user.grant(ended[0], by=None, now=LATER)
    assert len(user.roles_at(LATER)) == MAX_ROLES
    before = (user.version, list(user.events))
    for role_id in (ended[1], held[-1]):
        with pytest.raises(TooManyRoles):
            user.grant(role_id, by=None, now=LATER)
    assert (user.version, user.events) == before
    assert len(user.roles_at(LATER)) == MAX_ROLES


def test_taking_a_role_away(user: User) -> None:
    user.grant(ROLE_ID, by=None, now=NOW)
    user.events.clear()
    user.ungrant(ROLE_ID, now=LATER)
    assert ROLE_ID not in user.grants
    assert (user.version, user.events) == (3, [RoleUnassigned(user_id=ID, role_id=ROLE_ID)])


def test_taking_a_role_that_is_not_held_changes_nothing(user: User) -> None:
    user.ungrant(ROLE_ID, now=LATER)
    assert (user.version, user.updated_at, user.events) == (1, NOW, [])


def test_everyone_keeps_the_role_user(user: User) -> None:
    with pytest.raises(BuiltInRole):
        user.ungrant(USER_ROLE_ID, now=LATER)
    assert (user.version, user.events) == (1, [])
    assert USER_ROLE_ID in user.grants


@pytest.mark.parametrize(
    ("granted", "expires_at", "status", "lasting"),
    [
        (True, None, UserStatus.ACTIVE, True),
        (True, None, UserStatus.DISABLED, False),
        (True, LATER, UserStatus.ACTIVE, False),
        (False, None, UserStatus.ACTIVE, False),
    ],
)
def test_a_lasting_admin_is_active_and_has_the_role_for_good(
    user: User, granted: bool, expires_at: datetime | None, status: UserStatus, lasting: bool
) -> None:
    if granted:
        user.grant(ADMIN_ROLE_ID, by=None, now=NOW, expires_at=expires_at)
    update(user, status=status)
    assert user.lasting_admin is lasting


def test_a_take_over_yields_an_active_admin_with_the_new_password(user: User) -> None:
    update(user, status=UserStatus.DISABLED)
    user.grant(ADMIN_ROLE_ID, by=OTHER_ID, now=NOW, expires_at=LATER)
    user.events.clear()
    before = user.security_version
    user.take_over(NEW_HASH, now=LATER)
    assert user.lasting_admin
    assert user.password_hash == NEW_HASH
    assert user.security_version > before
    assert user.events == [
        AdminTakenOver(user_id=ID),
        UserEnabled(user_id=ID),
        PasswordChanged(user_id=ID),
        RoleAssigned(user_id=ID, role_id=ADMIN_ROLE_ID, expires_at=None),
    ]


def test_deleting_is_noted(user: User) -> None:
    user.delete()
    assert user.events == [UserDeleted(user_id=ID)]


def test_the_repr_shows_neither_email_nor_hash(user: User) -> None:
    shown = repr(user)
    assert "example.org" not in shown
    assert "hash-1" not in shown
