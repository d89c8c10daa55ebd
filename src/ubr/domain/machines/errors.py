"""Errors about machines and their keys."""

from __future__ import annotations

from ubr.domain.accounts.errors import UserNotFound
from ubr.domain.error_kinds import Conflict, Invalid, NotFound, Unauthenticated


class MachineNotFound(UserNotFound):
    """No machine has this id. The account of a machine is a user, so no user has it, or a person has."""

    code = "machine-not-found"
    title = "Machine not found"


class MachineNameTaken(Conflict):
    code = "machine-name-taken"
    title = "Another machine has this name"


class MachineKeyNotFound(NotFound):
    code = "machine-key-not-found"
    title = "The machine does not have this key"


class MachineKeyEnded(Conflict):
    """A key that was revoked or has expired cannot be rotated."""

    code = "machine-key-ended"
    title = "The key has ended"


class TooManyMachineKeys(Conflict):
    code = "too-many-machine-keys"
    title = "The machine already has the maximum number of keys"


class InvalidClient(Unauthenticated):
    """An unknown, wrong, revoked or expired key, or a disabled machine: deliberately indistinguishable.

    RFC 6749 (5.2) names it `invalid_client`.
    """

    code = "invalid-client"
    title = "The key is not valid"


class InvalidScope(Invalid):
    """A scope that is malformed, or wider than the key or the permissions of its machine (RFC 6749, 5.2)."""

    code = "invalid-scope"
    title = "The scope is not valid"


class UnsupportedGrantType(Invalid):
    """A grant of RFC 6749 that ubr does not offer at this address."""

    code = "unsupported-grant-type"
    title = "The grant type is not supported"
