"""The change feed: changes to identities and permissions, numbered in commit order."""

from __future__ import annotations

import hashlib
from typing import Final, Literal, TypeAlias

import msgspec

ChangeKind: TypeAlias = Literal["session", "user", "role", "key"]


class Change(msgspec.Struct, frozen=True):
    """A session ended, a user's row or grants changed, a role changed, or a signing key was added or revoked."""

    kind: ChangeKind
    id: str


KEYS_CHANGED: Final = Change("key", "*")
"""A signing key was added, none was revoked. No key has this name, so a reader that treats every change record as an
end ends nothing."""


class ChangeRecord(msgspec.Struct, frozen=True):
    """A change with its number. Numbers rise with each commit, and never skip a number."""

    number: int
    change: Change


EPOCH_NAME_LENGTH: Final = 16


def epoch_name(epoch: str) -> str:
    """The public name of an epoch: in access tokens, and for verifiers. It reveals nothing about the database."""
    return hashlib.sha256(epoch.encode()).hexdigest()[:EPOCH_NAME_LENGTH]
