"""Access tokens, and settings for other services and pages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from urllib.parse import urlsplit

from ubr.domain.errors import Invalid
from ubr.domain.roles.permissions import BUILT_IN_PERMISSIONS, Permission
from ubr.settings.declaration import derived, setting
from ubr.settings.urls import origin_of, parse_http_url
from ubr.settings.values import duration, items, one_of


def parse_audience(raw: str) -> str:
    if not re.fullmatch(r"[!-~]{1,255}", raw) or "," in raw:
        raise ValueError("must be one name of 1 to 255 ASCII characters, without spaces or commas")
    return raw


def parse_permissions(raw: str) -> tuple[str, ...]:
    names = items(raw)
    for name in names:
        try:
            permission = Permission.parse(name)
        except Invalid:
            raise ValueError("must be a list of names like notes:edit, in lower case, separated by commas") from None
        if permission in BUILT_IN_PERMISSIONS.names:
            raise ValueError(f"must not contain {name}, which is built in")
    return tuple(names)


def parse_origins(raw: str) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(map(_origin, items(raw))))
    except ValueError:
        raise ValueError(
            "must be a list of origins like https://app.example.com, without a path, separated by commas"
        ) from None


def _origin(raw: str) -> str:
    """An origin as browsers send it: in lower case, without a default port."""
    url = urlsplit(parse_http_url(raw))
    if url.path or "*" in (url.hostname or ""):  # it would be a literal origin, which no browser sends
        raise ValueError
    return origin_of(raw)


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class TokenSettings:
    """The settings of access tokens, other services and pages."""

    access_token_lifetime: timedelta = setting(
        duration("1s", "15m"), "10m", "The lifetime of an access token, 15m at most."
    )
    issuer: str = derived(
        parse_http_url,
        "`iss` in access tokens.",
        otherwise="the public URL, else `http://` with host and port",
        shown="url",
    )
    audience: str = setting(parse_audience, "ubr", "`aud` in access tokens.")
    jwt_algorithm: Literal["EdDSA", "ES256"] = setting(
        one_of("EdDSA", "ES256"), "EdDSA", "The algorithm of new signing keys: `EdDSA` or `ES256`."
    )
    permissions: tuple[str, ...] = setting(
        parse_permissions,
        "",
        "Permissions of your own services for use in roles, such as `notes:edit`, separated by commas.",
    )
    cors_origins: tuple[str, ...] = setting(
        parse_origins,
        "",
        "Origins whose pages may call the service, such as `https://app.example.com`, separated by commas.",
        shown="url",
    )
    trusted_origins: tuple[str, ...] = setting(
        parse_origins,
        "",
        "Origins whose pages may also act with the session cookie of a browser, as a page of the service can. They "
        "need not be in `UBR_CORS_ORIGINS`.",
        shown="url",
    )
