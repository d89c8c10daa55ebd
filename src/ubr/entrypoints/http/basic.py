"""The credentials of a client in the `Authorization` field (RFC 7617, and RFC 6749, 2.3.1)."""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple
from urllib.parse import unquote_plus

from ubr.domain.errors import InvalidClient
from ubr.entrypoints.http.fields import Fields


class ClientCredentials(NamedTuple):
    """A client's id and its secret. A tuple shows its members: it is never logged."""

    client_id: str
    client_secret: str


def basic_credentials(fields: Fields) -> ClientCredentials | None:
    """The credentials of the single `Authorization` field; None without the field.

    Errors: `InvalidClient` for several fields, another scheme and anything malformed.
    """
    given = fields.get(b"authorization")
    if not given:
        return None
    scheme, _, encoded = given[0].strip().partition(b" ")
    if len(given) > 1 or scheme.lower() != b"basic":
        raise InvalidClient
    try:
        id, colon, secret = base64.b64decode(encoded.strip(b" "), validate=True).decode().partition(":")
        if not colon:
            raise InvalidClient
        return ClientCredentials(unquote_plus(id, errors="strict"), unquote_plus(secret, errors="strict"))
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidClient from None
