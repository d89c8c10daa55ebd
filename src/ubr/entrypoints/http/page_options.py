"""The operator's settings for pages."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from ubr.settings import Settings, WrongSetting

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


def page_options(settings: Settings) -> PageOptions:
    """The operator's settings for pages. Errors: `WrongSetting` if a file for them cannot be used."""
    options = PageOptions(
        scope=settings.pages,
        service=settings.service_name or urlsplit(settings.public_url or settings.address).netloc,
        logo=None if settings.pages_logo is None else Path(settings.pages_logo),
        folder=None if settings.pages_folder is None else Path(settings.pages_folder),
        return_origins=settings.return_origins,
    )
    if options.scope != "off" and (options.folder is not None or options.logo is not None):
        from ubr.entrypoints.http.pages.rendering import BrokenPages, check  # noqa: PLC0415 - only with such files

        try:
            check(options)
        except BrokenPages as error:
            raise WrongSetting(f"UBR_PAGES_FOLDER and UBR_PAGES_LOGO name files for pages: {error}.") from None
    return options
