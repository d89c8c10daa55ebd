"""Pages for people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ubr.settings.declaration import setting
from ubr.settings.groups.tokens import parse_origins
from ubr.settings.values import one_of, parse_folder

_MAX_NAME_LENGTH = 64


def parse_service_name(raw: str) -> str:
    if not raw.strip() or len(raw) > _MAX_NAME_LENGTH:
        raise ValueError(f"must have 1 to {_MAX_NAME_LENGTH} characters")
    return raw.strip()


def parse_logo(raw: str) -> str:
    if Path(raw).suffix.lower() not in {".png", ".svg"} or not Path(raw).is_file():
        raise ValueError("must name an existing file that ends in .svg or .png")
    return raw


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class PageSettings:
    """The settings of pages for people."""

    pages: Literal["off", "account", "all"] = setting(
        one_of("off", "account", "all"),
        "all",
        "Pages for people: `all`; `account` for login, registration, the links in mails and one's own account; or "
        "`off`. With `off` the links in mails lead to pages of yours.",
    )
    pages_folder: str | None = setting(
        parse_folder,
        None,
        "A folder with your own templates, words and style for the pages: see `docs/pages.md`.",
    )
    service_name: str | None = setting(
        parse_service_name,
        None,
        "The name of the service on its pages.",
        otherwise="the host of the public URL",
    )
    pages_logo: str | None = setting(parse_logo, None, "A file with a logo for the pages, `.svg` or `.png`.")
    return_origins: tuple[str, ...] = setting(
        parse_origins,
        "",
        "Origins to which a page may lead after a login, as `return_to` in its address asks, such as "
        "`https://app.example.com`, separated by commas. That of `UBR_RETURN_URL` always is one of them.",
        shown="url",
    )
