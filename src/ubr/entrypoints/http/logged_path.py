"""The path of a request in the form that the log may hold."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

HIDDEN: Final = "*"
"""Stands for a part of a path that may be anything, for example a token that a client put there by mistake."""

_ID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_MAX_PARTS: Final = 12
_MORE: Final = "…"


class LoggedPaths:
    """Keeps of a path the ids, which are UUIDs, and the words that the templates of the routes contain."""

    def __init__(self, templates: Iterable[str]) -> None:
        self._words = {part for template in templates for part in template.split("/") if "{" not in part}

    def shown(self, path: str, template: str | None) -> str:
        """The path, without its unknown parts. `template` is that of its route; None if it has no route."""
        if template is not None and "{" not in template:
            return template
        parts = path.split("/")
        if template is not None:
            # An application that is mounted below a path gets the whole path.
            parts = ["", *parts[-template.count("/") :]]
        words = self._words
        shown = [part if part in words or _ID.fullmatch(part) else HIDDEN for part in parts[:_MAX_PARTS]]
        return "/".join(shown if len(parts) <= _MAX_PARTS else [*shown, _MORE])
