"""Time, ids and randomness."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

Clock: TypeAlias = Callable[[], datetime]
"""The current time, aware, in UTC."""

NewId: TypeAlias = Callable[[], UUID]
"""A UUIDv7 (RFC 9562, 5.7), greater than every earlier one of this process."""

RandomBytes: TypeAlias = Callable[[int], bytes]
"""The given number of bytes from a cryptographically secure generator."""
