"""The end of the service, as its routes see it."""

from __future__ import annotations

from typing import Final

STOPPING: Final = "stopping"
"""The name in the state of the application: true from the moment at which it should get no more requests."""
