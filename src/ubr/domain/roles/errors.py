"""Errors about roles."""

from __future__ import annotations

from ubr.domain.error_kinds import Conflict, Forbidden, NotFound


class GrantExceedsOwn(Forbidden):
    """No escalation: the target has, or would have, a permission that the actor does not hold."""

    code = "grant-exceeds-own"
    title = "The target has, or would have, permissions that you do not hold"


class RoleNotFound(NotFound):
    code = "role-not-found"
    title = "Role not found"


class RoleNameTaken(Conflict):
    code = "role-name-taken"
    title = "Another role has this name"


class BuiltInRole(Conflict):
    code = "built-in-role"
    title = "A built-in role cannot be changed in this way"


class TooManyRoles(Conflict):
    """Access tokens list all of a user's roles and have to stay short enough to be sent."""

    code = "too-many-roles"
    title = "The user already has the maximum number of roles"


class LastAdmin(Conflict):
    """One administrator must remain: this is the last active user with an unlimited grant of the admin role."""

    code = "last-admin"
    title = "The last administrator cannot be removed"
