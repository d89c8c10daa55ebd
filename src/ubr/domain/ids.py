"""Ids, each with its own type."""

from __future__ import annotations

from typing import NewType
from uuid import UUID

UserId = NewType("UserId", UUID)

RoleId = NewType("RoleId", UUID)

SessionId = NewType("SessionId", UUID)

LogEntryId = NewType("LogEntryId", UUID)

TokenDigest = NewType("TokenDigest", bytes)
"""SHA-256 of a refresh token. The token itself is never stored."""
