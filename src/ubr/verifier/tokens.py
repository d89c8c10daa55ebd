"""Access tokens of ubr, parsed as strictly as ubr itself does (RFC 9068, RFC 8725)."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from ubr.domain.keys import base64url
from ubr.domain.keys.access_token import (
    ALGORITHMS,
    MAX_TOKEN_LENGTH,
    P256_HALF_ORDER,
    header_of,
    kid_of,
    read_payload,
    signed_part,
    thumbprint,
)
from ubr.domain.keys.signing_key import LEEWAY
from ubr.domain.roles.permissions import EVERYTHING
from ubr.verifier.errors import PermissionsOmitted, Refused, UnknownKey

_HALF: Final = 32

Check: TypeAlias = Callable[[bytes, bytes], bool]
"""Takes a message and a signature; True if the signature is valid."""


class VerifiedToken(msgspec.Struct, frozen=True, kw_only=True):
    """The user and session of a token. Times are aware, in UTC."""

    user_id: UUID
    session_id: UUID
    token_id: UUID
    roles: frozenset[str]
    """Names of the roles, as of now."""
    auth_time: datetime
    """The time at which the user last gave their password in this session."""
    issued_at: datetime
    expires_at: datetime
    permissions: frozenset[str] | None = frozenset()
    """Names of the permissions, as of now; `*` stands for all. None if they were too long for the token."""

    extra: str = ""
    """The claims of the program that serves ubr, as JSON. `claims` reads it."""

    @property
    def claims(self) -> dict[str, Any]:
        """A new dictionary of the claims that the program which serves ubr added; empty without any."""
        return json.loads(self.extra) if self.extra else {}

    def permits(self, permission: str) -> bool:
        """True if the user holds this permission now.

        Errors: `PermissionsOmitted` if the user has so many that they do not fit into a token.
        """
        if self.permissions is None:
            raise PermissionsOmitted
        return EVERYTHING in self.permissions or permission in self.permissions


class Claims(msgspec.Struct, frozen=True):
    """The content of a token, and the state that it depends on."""

    token: VerifiedToken
    version: int
    epoch: str


class TokenReader:
    """Holds the keys, and the tokens that they are known to have signed."""

    def __init__(self, issuer: str, audience: str, *, cached: int = 10_000) -> None:
        self._issuer = issuer
        self._audience = audience
        self._cached = cached
        self._keys: dict[bytes, Check] = {}
        self._revoked: set[bytes] = set()
        self._read: OrderedDict[bytes, tuple[bytes, Claims]] = OrderedDict()

    def install(self, keys: Iterable[object]) -> None:
        """Replace the keys (RFC 7517). Entries that are not keys of ubr are ignored."""
        read = (_key(key) for key in keys)
        self._keys = {found[0]: found[1] for found in read if found is not None}

    def revoke(self, kid: str) -> None:
        """Reject every token of this key, even if the key is still published."""
        self._revoked.update(header_of(algorithm, kid) for algorithm in ALGORITHMS)

    def read(self, token: str) -> Claims:
        """The claims of a token. The caller checks its times.

        Errors: `UnknownKey`; `Refused` for anything else that is not exactly a token of this issuer.
        """
        # In this order: length, form, key, signature, content. Only text that ubr has signed is parsed.
        if not isinstance(token, str):
            raise Refused("It is not a text")
        if len(token) > MAX_TOKEN_LENGTH or not token.isascii():
            raise Refused("It is too long, or not ASCII")
        text = token.encode()
        digest = hashlib.sha256(text).digest()
        header, claims = self._read.get(digest) or (text.partition(b".")[0], None)
        if header in self._revoked:
            raise Refused("Its key has been revoked")
        check = self._keys.get(header)
        if check is None:
            raise (
                UnknownKey("Its key is not known")
                if kid_of(header) is not None
                else Refused("It is not a token of ubr")
            )
        if claims is None:
            try:
                claims = self._claims(text, check)
            except ValueError:
                raise Refused("It is not in the exact form of a token of ubr") from None
            self._read[digest] = (header, claims)
            while len(self._read) > self._cached:
                self._read.popitem(last=False)
        else:
            self._read.move_to_end(digest)
        return claims

    def _claims(self, token: bytes, check: Check) -> Claims:
        """Errors: `ValueError` for anything but exactly an access token."""
        message, signature, payload = signed_part(token)
        if not check(message, signature):
            raise ValueError("Not its signature")
        claims = read_payload(payload, issuer=self._issuer, audience=self._audience)
        token_of = VerifiedToken(
            user_id=claims.user_id,
            session_id=claims.session_id,
            token_id=UUID(claims.token_id),
            roles=frozenset(claims.roles),
            auth_time=claims.auth_time,
            issued_at=claims.issued_at,
            expires_at=claims.expires_at,
            permissions=None if claims.permissions is None else frozenset(claims.permissions),
            extra=claims.extra,
        )
        return Claims(token_of, version=claims.version, epoch=claims.epoch)


def check_times(token: VerifiedToken, now: datetime) -> None:
    """A token is valid until the second of its `exp`. Errors: `Refused`."""
    if now >= token.expires_at:
        raise Refused("The token has expired")
    if max(token.issued_at, token.auth_time) > now + LEEWAY:
        raise Refused("The token is issued in the future")


# --- keys ------------------------------------------------------------------------------------------------------------


def _key(jwk: Any) -> tuple[bytes, Check] | None:
    """A published key: the one header that names it, and its signature check. None for a key of another kind."""
    try:
        algorithm, check = _ed25519(jwk) if jwk["kty"] == "OKP" else _p256(jwk)
        kid = thumbprint(jwk)
        if (jwk["kid"], jwk["alg"], jwk["use"]) != (kid, algorithm, "sig"):
            return None
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return header_of(algorithm, kid), check


def _ed25519(jwk: dict[str, str]) -> tuple[str, Check]:
    if jwk["crv"] != "Ed25519" or "y" in jwk:
        raise ValueError
    public = Ed25519PublicKey.from_public_bytes(base64url.decode(jwk["x"].encode()))

    def check(message: bytes, signature: bytes) -> bool:
        try:
            public.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    return "EdDSA", check


def _p256(jwk: dict[str, str]) -> tuple[str, Check]:
    if (jwk["kty"], jwk["crv"]) != ("EC", "P-256"):
        raise ValueError
    x, y = (int.from_bytes(base64url.decode(jwk[name].encode()), "big") for name in ("x", "y"))
    public = EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()

    def check(message: bytes, signature: bytes) -> bool:
        r, s = (int.from_bytes(part, "big") for part in (signature[:_HALF], signature[_HALF:]))
        # Two values of s are valid, and would make two texts of one token. ubr uses the lower one.
        if len(signature) != 2 * _HALF or s > P256_HALF_ORDER:
            return False
        try:
            public.verify(encode_dss_signature(r, s), message, ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True

    return "ES256", check
