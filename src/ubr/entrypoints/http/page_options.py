"""The operator's settings for pages."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

Scope: TypeAlias = Literal["off", "account", "all"]


class PageOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`scope` says which pages there are. `service` is the name of the service for people.

    `folder` has templates, words and a style that replace or extend the built-in ones. `return_origins` are the origins
    that an address in `return_to` may have, beside that of `HttpOptions.return_url`.
    """

    scope: Scope = "all"
    service: str = "ubr"
    logo: Path | None = None
    folder: Path | None = None
    return_origins: tuple[str, ...] = ()
