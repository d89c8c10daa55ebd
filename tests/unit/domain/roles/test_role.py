from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from ubr.domain.errors import BuiltInRole
from ubr.domain.events import RoleCreated, RoleDeleted, RoleUpdated
from ubr.domain.ids import RoleId
from ubr.domain.roles.permissions import EVERYTHING, Permission, Permissions
from ubr.domain.roles.role import ADMIN_ROLE_ID, USER_ROLE_ID, Role, RoleName, built_in_roles

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
ID = RoleId(UUID(int=3))
READ = Permission("users:read")
WRITE = Permission("users:write")


def update(
    role: Role, *, name: str | None = None, description: str | None = "Reads", permissions: Permissions | None = None
) -> None:
    role.update(
        name=RoleName(name or role.name),
        description=description,
        permissions=role.permissions if permissions is None else permissions,
        now=LATER,
    )


@pytest.fixture
def role() -> Role:
    made = Role.create(id=ID, name=RoleName("reader"), description="Reads", permissions=Permissions.of([READ]), now=NOW)
    made.events.clear()
    return made


def test_a_new_role() -> None:
    role = Role.create(
        id=ID, name=RoleName("writer"), description=None, permissions=Permissions.of([WRITE, READ]), now=NOW
    )
    assert (role.version, role.created_at, role.updated_at, role.built_in) == (1, NOW, NOW, False)
    assert role.events == [RoleCreated(role_id=ID, name="writer", permissions=(READ, WRITE))]


def test_an_update_that_changes_nothing_leaves_no_trace(role: Role) -> None:
    update(role)
    assert (role.version, role.updated_at, role.events) == (1, NOW, [])


def test_an_update_tells_before_and_after(role: Role) -> None:
    update(role, name="writer", permissions=Permissions.of([READ, WRITE]))
    assert (role.version, role.updated_at) == (2, LATER)
    [event] = role.events
    assert isinstance(event, RoleUpdated)
    assert event.data() == {
        "before": {"name": "reader", "permissions": ["users:read"]},
        "after": {"name": "writer", "permissions": ["users:read", "users:write"]},
    }


def test_another_description_is_a_new_version(role: Role) -> None:
    update(role, description=None)
    assert (role.description, role.version, role.updated_at) == (None, 2, LATER)
    assert len(role.events) == 1


def test_deleting_is_noted(role: Role) -> None:
    role.delete()
    assert role.events == [RoleDeleted(role_id=ID, name="reader")]


def test_the_built_in_roles() -> None:
    admin, user = built_in_roles(NOW)
    assert (admin.id, admin.name, admin.permissions) == (ADMIN_ROLE_ID, "admin", Permissions.of([EVERYTHING]))
    assert (user.id, user.name, user.permissions) == (USER_ROLE_ID, "user", Permissions())
    assert admin.built_in
    assert user.built_in
    assert admin.events == user.events == []


def test_the_ids_of_the_built_in_roles_never_change() -> None:
    assert str(ADMIN_ROLE_ID) == "00000000-0000-7000-8000-000000000001"
    assert str(USER_ROLE_ID) == "00000000-0000-7000-8000-000000000002"


@pytest.mark.parametrize("at", [0, 1])
def test_a_built_in_role_keeps_its_name_and_stays(at: int) -> None:
    role = built_in_roles(NOW)[at]
    before = (role.name, role.permissions, role.version)
    with pytest.raises(BuiltInRole):
        update(role, name="other")
    with pytest.raises(BuiltInRole):
        update(role, name="other", permissions=Permissions.of([READ]))
    with pytest.raises(BuiltInRole):
        role.delete()
    assert (role.name, role.permissions, role.version) == before
    assert role.events == []


@pytest.mark.parametrize("permissions", [Permissions(), Permissions.of([READ]), Permissions.of([EVERYTHING, READ])])
def test_admin_keeps_its_permissions(permissions: Permissions) -> None:
    admin, _ = built_in_roles(NOW)
    with pytest.raises(BuiltInRole):
        update(admin, permissions=permissions)
    assert (admin.permissions, admin.version, admin.events) == (Permissions.of([EVERYTHING]), 1, [])


def test_the_permissions_of_the_role_user_can_be_changed() -> None:
    _, user = built_in_roles(NOW)
    update(user, permissions=Permissions.of([READ]))
    assert (user.permissions, user.version, user.updated_at) == (Permissions.of([READ]), 2, LATER)
    [event] = user.events
    assert event.data() == {
        "before": {"name": "user", "permissions": []},
        "after": {"name": "user", "permissions": ["users:read"]},
    }


@pytest.mark.parametrize("at", [0, 1])
def test_a_built_in_role_may_be_described_otherwise(at: int) -> None:
    role = built_in_roles(NOW)[at]
    update(role, description="For us")
    assert (role.description, role.version) == ("For us", 2)
