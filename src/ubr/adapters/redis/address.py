"""The URL of a Redis, and the connections of the library to it."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from redis.asyncio.connection import ConnectionPool
from redis.credentials import CredentialProvider
from redis.maint_notifications import MaintNotificationsConfig

_OWN: Final = ("auth", "cache")
"""The options that the library does not know: AWS IAM issues the passwords for this cache."""


class IssuedPasswords(CredentialProvider):
    """Passwords that AWS IAM issues, one for each connection."""

    def __init__(self, cache: str, user: str) -> None:
        self._cache, self._user = cache, user

    def get_credentials(self) -> tuple[str, str]:
        raise NotImplementedError("connections here are asynchronous")

    async def get_credentials_async(self) -> tuple[str, str]:
        """Errors: `NoCredentials`."""
        from ubr.adapters.aws.passwords import cache_password  # noqa: PLC0415 - not needed elsewhere

        return self._user, await cache_password(self._cache, self._user)


def library_pool(url: str, **more: Any) -> ConnectionPool:
    """The library's pool, which makes connections. Errors: any of the library, which may quote the URL."""
    parts = urlsplit(url)
    options = parse_qs(parts.query)
    if "auth" in options:
        more["credential_provider"] = IssuedPasswords(options["cache"][0], unquote(parts.username or ""))
        rest = {name: values for name, values in options.items() if name not in _OWN}
        place = parts.netloc.rpartition("@")[2]
        url = parts._replace(netloc=place, query=urlencode(rest, doseq=True)).geturl()
    return ConnectionPool.from_url(
        url,
        protocol=3,
        # The default (on) puts connections with unread data into use.
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        # Sending the library's name to the server takes two more commands, and the permission for them.
        driver_info=None,
        **more,
    )
