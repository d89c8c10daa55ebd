"""The form of an access token (RFC 9068), for the signer and for verifiers. Other modules check signatures."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from ubr.domain.ids import SessionId, UserId
from ubr.domain.keys import base64url
from ubr.domain.keys.signing_key import LEEWAY, MAX_ACCESS_TOKEN_LIFETIME
from ubr.domain.revocation.changes import EPOCH_NAME_LENGTH

TOKEN_TYPE: Final = "at+jwt"
CLIENT_ID: Final = "ubr"
ALGORITHMS: Final = ("EdDSA", "ES256")
MAX_TOKEN_LENGTH: Final = 8192
"""Characters: room for about a hundred roles with the longest names."""

P256_HALF_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551 // 2
"""Both (r, s) and (r, n - s) verify. Only the lower s is made and accepted, so that a token has one text."""

MAX_UNIT_DURATION: Final = timedelta(seconds=60)
"""Maximum duration of a unit of work."""

HORIZON: Final = MAX_ACCESS_TOKEN_LIFETIME + LEEWAY + MAX_UNIT_DURATION
"""How long a change matters to tokens that were issued before it."""

_CLAIMS: Final = {"iss", "aud", "sub", "sid", "client_id", "jti", "iat", "exp", "auth_time", "ver", "epoch", "roles"}
_PERMISSIONS: Final = "permissions"
_EXTRA: Final = "ext"
_OPTIONAL: Final = {_PERMISSIONS, _EXTRA}
MAX_EXTRA: Final = 2048
"""Bytes of the claims of a host as compact JSON."""
_MAX_EXTRA_DEPTH: Final = 8
_MAX_SAFE_INTEGER: Final = 2**53 - 1
"""The largest integer that every reader of JSON reads alike (RFC 8259, 6)."""
_MAX_PAYLOAD: Final = (MAX_TOKEN_LENGTH - 256) * 3 // 4
"""Bytes that fit into a token with its header and its signature."""
_EPOCH: Final = re.compile(f"[0-9a-f]{{{EPOCH_NAME_LENGTH}}}")
_HEADER: Final = re.compile(rb'\{"typ":"at\+jwt","alg":"(?:EdDSA|ES256)","kid":"(?P<kid>[A-Za-z0-9_-]{43})"\}')
_MAX_HEADER_LENGTH: Final = 256
_MAX_TIME: Final = 253402300799  # 9999-12-31T23:59:59Z, the last second a datetime can hold
_MAX_VERSION: Final = 2**63 - 1


class AccessClaims(msgspec.Struct, frozen=True, kw_only=True):
    """The claims of an access token (RFC 9068, 2.2). Times are whole seconds once they are in a token."""

    user_id: UserId
    session_id: SessionId
    token_id: str
    """The canonical text of a UUID."""
    issued_at: datetime
    expires_at: datetime
    auth_time: datetime
    version: int
    """The position of the feed before the content of the token was read."""
    epoch: str
    """The name of the epoch of the feed."""
    roles: tuple[str, ...]
    permissions: tuple[str, ...] | None = ()
    """Names of permissions, `*` alone for all; None if they do not fit into the token."""
    extra: str = ""
    """The claims of the host, the members of `ext`: a JSON object, made by `extra_claims`. Empty without any."""

    def in_time(self, now: datetime, leeway: timedelta = LEEWAY) -> bool:
        """True before the second of `exp`. There is no leeway, because a client can refresh at no loss.

        The leeway is for an issuer whose clock is ahead of this one, in `iat` and `auth_time`.
        """
        return now < self.expires_at and max(self.issued_at, self.auth_time) <= now + leeway


def header_of(algorithm: str, kid: str) -> bytes:
    """The one header of the tokens of a key, encoded. A token with any other header is rejected unread."""
    return base64url.encode(compact_json({"typ": TOKEN_TYPE, "alg": algorithm, "kid": kid}))


def kid_of(header: bytes) -> str | None:
    """The key that an encoded header names; None if no signer of ubr makes this header."""
    if len(header) > _MAX_HEADER_LENGTH:
        return None
    try:
        found = _HEADER.fullmatch(base64url.decode(header))
    except ValueError:
        return None
    return None if found is None else found["kid"].decode()


def thumbprint(jwk: Mapping[str, str]) -> str:
    """The name of a public key (RFC 7638): its required members, sorted, without white space, as SHA-256."""
    required = ("crv", "kty", "x") if jwk["kty"] == "OKP" else ("crv", "kty", "x", "y")
    text = json.dumps({name: jwk[name] for name in required}, sort_keys=True, separators=(",", ":"))
    return base64url.encode(hashlib.sha256(text.encode()).digest()).decode()


def payload_of(claims: AccessClaims, *, issuer: str, audience: str) -> bytes:
    """The claims as JSON. A token of a user without permissions has no claim about them; null stands for too many."""
    members: dict[str, object] = {
        "iss": issuer,
        "aud": audience,
        "sub": str(claims.user_id),
        "sid": str(claims.session_id),
        "client_id": CLIENT_ID,
        "jti": str(_uuid(claims.token_id)),
        "iat": int(claims.issued_at.timestamp()),
        "exp": int(claims.expires_at.timestamp()),
        "auth_time": int(claims.auth_time.timestamp()),
        "ver": claims.version,
        "epoch": claims.epoch,
        "roles": claims.roles,
    }
    if claims.extra:
        members[_EXTRA] = json.loads(claims.extra)
    if claims.permissions == ():
        return compact_json(members)
    payload = compact_json({**members, _PERMISSIONS: claims.permissions})
    return payload if len(payload) <= _MAX_PAYLOAD else compact_json({**members, _PERMISSIONS: None})


def read_payload(payload: bytes, *, issuer: str, audience: str) -> AccessClaims:
    """The claims of a payload with a valid signature.

    Errors: `ValueError` for anything but exactly the claims of `payload_of`. An unknown claim may be one that restricts
    the token (`nbf`, `cnf`), so it is refused.
    """
    try:
        content = json.loads(payload.decode(), object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("Nested too deep") from None
    if not isinstance(content, dict) or content.keys() - _OPTIONAL != _CLAIMS:
        raise ValueError("Other claims")
    if (content["iss"], content["aud"], content["client_id"]) != (issuer, audience, CLIENT_ID):
        raise ValueError("Wrong audience or issuer")
    return AccessClaims(
        user_id=UserId(_uuid(content["sub"])),
        session_id=SessionId(_uuid(content["sid"])),
        token_id=str(_uuid(content["jti"])),
        issued_at=_time(content["iat"]),
        expires_at=_time(content["exp"]),
        auth_time=_time(content["auth_time"]),
        version=_integer(content["ver"], _MAX_VERSION),
        epoch=_epoch(content["epoch"]),
        roles=_strings(content["roles"]),
        permissions=_permissions(content),
        extra=_extra(content),
    )


def extra_claims(claims: Mapping[str, object], *, most: int = MAX_EXTRA) -> str:
    """The claims of a host as `AccessClaims.extra`.

    Errors: `ValueError` if they are not JSON: objects with texts as names, lists, texts, finite numbers, whole ones
    below 2**53, booleans and None; or nested deeper than 8 levels, or longer than `most` bytes.
    """
    members = dict(claims)
    if not members:
        return ""
    _check_json(members, _MAX_EXTRA_DEPTH)
    text = compact_json(members)
    if len(text) > most:
        raise ValueError(f"The claims of the host have {len(text)} bytes, and {most} at most are allowed")
    return text.decode()


def _is_encodable(text: str) -> bool:
    """False for a text with a lone surrogate, which some readers of JSON refuse."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _check_json(value: object, depth: int) -> None:
    """Errors: `ValueError`. It shows no value."""
    if depth == 0:
        raise ValueError("The claims of the host are nested too deep")
    match value:
        case None | bool():
            return
        case str() if _is_encodable(value):
            return
        case int() if abs(value) <= _MAX_SAFE_INTEGER:
            return
        case float() if math.isfinite(value):
            return
        case list() | tuple():
            for each in value:
                _check_json(each, depth - 1)
        case dict():
            for name, each in value.items():
                if not isinstance(name, str) or not _is_encodable(name):
                    raise ValueError("The claims of the host have a name that is not a text")
                _check_json(each, depth - 1)
        case _:
            raise ValueError(f"The claims of the host have a {type(value).__name__} that JSON cannot hold")


def signed_part(token: bytes) -> tuple[bytes, bytes, bytes]:
    """The text that is signed, the signature, and the payload of a token. Errors: `ValueError` for another form."""
    header, payload, signature = token.split(b".")
    return header + b"." + payload, base64url.decode(signature), base64url.decode(payload)


def compact_json(members: Mapping[str, object]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()


def _unique(members: list[tuple[str, object]]) -> dict[str, object]:
    content = dict(members)
    if len(content) != len(members):
        raise ValueError("A duplicate member")
    return content


def _uuid(value: object) -> UUID:
    """Errors: `ValueError` for anything but the canonical text of a UUID."""
    if not isinstance(value, str) or str(found := UUID(value)) != value:
        raise ValueError("Not the canonical text of a UUID")
    return found


def _epoch(value: object) -> str:
    if not isinstance(value, str) or not _EPOCH.fullmatch(value):
        raise ValueError("Not the name of an epoch")
    return value


def _permissions(content: Mapping[str, object]) -> tuple[str, ...] | None:
    if _PERMISSIONS not in content:
        return ()
    found = None if content[_PERMISSIONS] is None else _strings(content[_PERMISSIONS])
    if found == ():
        raise ValueError("An empty list instead of no claim")
    return found


def _extra(content: Mapping[str, object]) -> str:
    if _EXTRA not in content:
        return ""
    found = content[_EXTRA]
    if not isinstance(found, dict) or not found:
        raise ValueError("Not an object with members")
    return extra_claims(found)


def _strings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError("Not a list of strings")
    return tuple(value)


def _integer(value: object, largest: int) -> int:
    # Not isinstance: a bool is an int there.
    if type(value) is not int or not 0 <= value <= largest:
        raise ValueError("Not a whole number in its bounds")
    return value


def _time(value: object) -> datetime:
    return datetime.fromtimestamp(_integer(value, _MAX_TIME), UTC)
