"""Ids, each with its own type."""

from __future__ import annotations

from typing import NewType
from uuid import UUID

UserId = NewType("UserId", UUID)

RoleId = NewType("RoleId", UUID)

SessionId = NewType("SessionId", UUID)

MachineKeyId = NewType("MachineKeyId", UUID)

LogEntryId = NewType("LogEntryId", UUID)

TokenDigest = NewType("TokenDigest", bytes)
"""The digest of a refresh token, a link token or a cookie. The token itself is never stored."""
