"""Time and ids."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

Clock: TypeAlias = Callable[[], datetime]
"""The present moment, aware, in UTC."""

NewId: TypeAlias = Callable[[], UUID]
"""A UUIDv7 (RFC 9562, 5.7), greater than every one before it of this process."""

RandomBytes: TypeAlias = Callable[[int], bytes]
"""So many bytes from a generator fit for secrets."""
