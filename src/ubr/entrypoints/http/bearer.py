"""The access token of a request."""

from __future__ import annotations

from ubr.domain.errors import InvalidToken, Unauthenticated
from ubr.entrypoints.http.fields import Fields


def bearer_token(fields: Fields) -> str:
    """The token of the single `Authorization` field (RFC 6750, 2.1).

    Errors: `Unauthenticated` if there is no token; `InvalidToken` for several fields and for a malformed token.
    """
    given = fields.get(b"authorization")
    if not given:
        raise Unauthenticated
    if len(given) > 1:
        raise InvalidToken("There is more than one Authorization field")
    scheme, _, token = given[0].strip().partition(b" ")
    if scheme.lower() != b"bearer" or not (token := token.strip(b" ")):
        raise Unauthenticated
    if not token.isascii():
        raise InvalidToken
    return token.decode()
