"""The device of a session, in the words of a person: a guess from its user agent."""

from __future__ import annotations

from typing import Final

# The first match counts: most browsers also name those that they descend from.
_PROGRAMS: Final = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
)
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)
_MAX_LENGTH: Final = 40


def device(user_agent: str | None) -> tuple[str | None, str | None]:
    """The program and the system; None for each that is not known. An unknown program has its own name."""
    if user_agent is None:
        return None, None
    program = next((name for mark, name in _PROGRAMS if mark in user_agent), None)
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), None)
    return program or user_agent.partition("/")[0].partition(" ")[0][:_MAX_LENGTH] or None, system
