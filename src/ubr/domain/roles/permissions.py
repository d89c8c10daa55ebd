"""Permissions, and the rule against escalation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final

import msgspec

from ubr.domain.error_kinds import Invalid
from ubr.domain.roles.errors import GrantExceedsOwn

PERMISSION_PATTERN: Final = r"\*|[a-z][a-z0-9_-]{0,49}:[a-z][a-z0-9_-]{0,49}"

_PERMISSION = re.compile(PERMISSION_PATTERN)


class Permission(str):
    """`resource:verb`, or `*` for all permissions."""

    __slots__ = ()

    @classmethod
    def parse(cls, raw: str, pointer: str = "/permissions") -> Permission:
        """Errors: `Invalid`."""
        if not _PERMISSION.fullmatch(raw):
            raise Invalid.at(pointer, "must be of the form resource:verb, in lower case")
        return cls(raw)


EVERYTHING: Final = Permission("*")


class Permissions(msgspec.Struct, frozen=True):
    """A set of permissions. `*` stands for every permission, future ones included."""

    names: frozenset[Permission] = frozenset()

    @classmethod
    def of(cls, names: Iterable[Permission]) -> Permissions:
        return cls(frozenset(names))

    def allow(self, permission: Permission) -> bool:
        return EVERYTHING in self.names or permission in self.names

    def cover(self, other: Permissions) -> bool:
        """True if these include every one of `other`."""
        return EVERYTHING in self.names or other.names <= self.names

    def names_to_show(self) -> list[str]:
        """The names, sorted; `*` alone if it is one of them, because it includes the rest."""
        return [str(EVERYTHING)] if EVERYTHING in self.names else [str(name) for name in self]

    def within(self, scope: Permissions) -> Permissions:
        """The permissions that both sets allow."""
        if EVERYTHING in scope.names:
            return self
        return scope if EVERYTHING in self.names else Permissions(self.names & scope.names)

    def __or__(self, other: Permissions) -> Permissions:
        return Permissions(self.names | other.names)

    def __iter__(self) -> Iterator[Permission]:
        return iter(sorted(self.names))


USERS_READ: Final = Permission("users:read")

USERS_WRITE: Final = Permission("users:write")

USERS_DELETE: Final = Permission("users:delete")

USERS_ERASE: Final = Permission("users:erase")

ROLES_READ: Final = Permission("roles:read")

ROLES_WRITE: Final = Permission("roles:write")

ROLES_ASSIGN: Final = Permission("roles:assign")

SESSIONS_READ: Final = Permission("sessions:read")

SESSIONS_REVOKE: Final = Permission("sessions:revoke")

LOGS_READ: Final = Permission("logs:read")

REVOCATIONS_READ: Final = Permission("revocations:read")

MACHINES_READ: Final = Permission("machines:read")

MACHINES_WRITE: Final = Permission("machines:write")

METRICS_READ: Final = Permission("metrics:read")

MEANINGS: Final[Mapping[Permission, str]] = {
    EVERYTHING: "Everything, permissions of later versions and of `UBR_PERMISSIONS` included. The role `admin` has it.",
    USERS_READ: "Read every user, list and search them, and read their roles.",
    USERS_WRITE: "Create users, change their e-mail and full name, disable, enable and unlock them.",
    USERS_DELETE: "Delete users.",
    USERS_ERASE: "Erase users: delete them, and their client IPs from the audit log.",
    ROLES_READ: "Read and list roles.",
    ROLES_WRITE: "Create, change and delete roles.",
    ROLES_ASSIGN: "Assign roles to users and take them away.",
    SESSIONS_READ: "List the sessions of every user.",
    SESSIONS_REVOKE: "End the sessions of every user.",
    LOGS_READ: "Read the audit log, its checkpoints and its proofs.",
    REVOCATIONS_READ: "Follow revocations, as services that verify tokens do.",
    MACHINES_READ: "Read every machine and its keys. No answer contains the text of a key.",
    MACHINES_WRITE: "Create, change and delete machines; create, rotate and revoke their keys.",
    METRICS_READ: "Read `/metrics` with an access token, as Prometheus does with the key of a machine.",
}
"""The built-in permissions, each with what it allows. The rule against escalation limits most of them further."""

BUILT_IN_PERMISSIONS: Final = Permissions.of(MEANINGS)


@lru_cache(maxsize=1024)
def read_scope(scope: str) -> Permissions:
    """The permissions of a stored scope: their names, separated by spaces (RFC 6749, 3.3)."""
    return Permissions.of(map(Permission, scope.split()))


def forbid_escalation(own: Permissions, *of_target: Permissions) -> None:
    """Require that an actor holds every permission that the target has before and would have after the change.

    Errors: `GrantExceedsOwn`.
    """
    if not all(map(own.cover, of_target)):
        raise GrantExceedsOwn


def union(parts: Iterable[Permissions]) -> Permissions:
    """The union of several sets of permissions."""
    return Permissions(frozenset().union(*(part.names for part in parts)))
