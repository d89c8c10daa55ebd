"""Errors about roles."""

from __future__ import annotations

from ubr.domain.error_kinds import Conflict, Forbidden, NotFound


class GrantExceedsOwn(Forbidden):
    """Forbids escalation: the target has, or would have, a permission that the actor does not hold."""

    code = "grant-exceeds-own"
    title = "The target holds, or would hold, more than you do"


class RoleNotFound(NotFound):
    code = "role-not-found"
    title = "There is no such role"


class RoleNameTaken(Conflict):
    code = "role-name-taken"
    title = "Another role has this name"


class BuiltInRole(Conflict):
    code = "built-in-role"
    title = "A built-in role does not change in this way"


class TooManyRoles(Conflict):
    """Each access token names all roles of its user, and has to stay short enough to be sent."""

    code = "too-many-roles"
    title = "The user holds as many roles as one can"


class LastAdmin(Conflict):
    """Someone stays: this user is the last active one with an unlimited grant of the admin role."""

    code = "last-admin"
    title = "The last administrator has to stay"
