"""Access tokens of ubr, read as strictly as ubr itself does (RFC 9068, RFC 8725)."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from ubr.domain.revocation.changes import EPOCH_NAME_LENGTH
from ubr.verifier.errors import Refused, UnknownKey

LEEWAY: Final = timedelta(seconds=30)
"""How far the clock of ubr may be ahead of this one. It counts for `iat` and `auth_time`, never for `exp`."""

_MAX_LENGTH: Final = 8192
_CLAIMS: Final = {"iss", "aud", "sub", "sid", "client_id", "jti", "iat", "exp", "auth_time", "ver", "epoch", "roles"}
_CLIENT_ID: Final = "ubr"
_LATEST: Final = 253402300799  # 9999-12-31T23:59:59Z, the last second a datetime can hold
_LARGEST: Final = 2**63 - 1
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_HALF: Final = 32
_EPOCH: Final = re.compile(f"[0-9a-f]{{{EPOCH_NAME_LENGTH}}}")
_HEADER: Final = re.compile(rb'\{"typ":"at\+jwt","alg":"(?:EdDSA|ES256)","kid":"[A-Za-z0-9_-]{43}"\}')

Check: TypeAlias = Callable[[bytes, bytes], bool]
"""Whether a signature, the second, is one over the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedToken:
    """Whose token it is. Times are aware, in UTC."""

    user_id: UUID
    session_id: UUID
    token_id: UUID
    roles: frozenset[str]
    """By name, as of now."""
    auth_time: datetime
    """When the user last gave their password in this session."""
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says, and what it rests on."""

    token: VerifiedToken
    version: int
    epoch: str


class TokenReader:
    """Knows the keys, and the tokens that they were found to have signed."""

    def __init__(self, issuer: str, audience: str, *, cached: int = 10_000) -> None:
        self._issuer = issuer
        self._audience = audience
        self._cached = cached
        self._keys: dict[bytes, Check] = {}
        self._revoked: set[bytes] = set()
        self._read: OrderedDict[bytes, tuple[bytes, Claims]] = OrderedDict()

    def install(self, keys: Iterable[object]) -> None:
        """Take these keys (RFC 7517) in place of those before. What is no key of ubr's is passed over."""
        read = (_key(key) for key in keys)
        self._keys = {found[0]: found[1] for found in read if found is not None}

    def revoke(self, kid: str) -> None:
        """Nothing that this key has signed is good any more, whatever is published."""
        self._revoked.update(_header(algorithm, kid) for algorithm in ("EdDSA", "ES256"))

    def read(self, token: str) -> Claims:
        """What a token says. Its times are left to be checked.

        Errors: `UnknownKey`; `Refused` for whatever else is not, to the letter, a token of this issuer.
        """
        # In this order: length, form, key, signature, content. Nothing is parsed that ubr has not signed.
        if not isinstance(token, str):
            raise Refused("It is no text")
        if len(token) > _MAX_LENGTH or not token.isascii():
            raise Refused("It is too long, or not ASCII")
        text = token.encode()
        digest = hashlib.sha256(text).digest()
        header, claims = self._read.get(digest) or (text.partition(b".")[0], None)
        if header in self._revoked:
            raise Refused("Its key has been revoked")
        check = self._keys.get(header)
        if check is None:
            raise UnknownKey("Its key is not known") if _names_a_key(header) else Refused("It is no token of ubr")
        if claims is None:
            try:
                claims = self._claims(_signed(text, check))
            except (ValueError, RecursionError):
                raise Refused("It is not a token of ubr, to the letter") from None
            self._read[digest] = (header, claims)
            while len(self._read) > self._cached:
                self._read.popitem(last=False)
        else:
            self._read.move_to_end(digest)
        return claims

    def _claims(self, payload: bytes) -> Claims:
        """What a payload says. Errors: `ValueError` for anything but exactly the claims of an access token.

        A claim that is not known here may be one that restricts the token (`nbf`, `cnf`), so it is refused.
        """
        content = json.loads(payload.decode(), object_pairs_hook=_unique)
        if not isinstance(content, dict) or content.keys() != _CLAIMS:
            raise ValueError("Other claims")
        if (content["iss"], content["aud"], content["client_id"]) != (self._issuer, self._audience, _CLIENT_ID):
            raise ValueError("For somebody else")
        roles = content["roles"]
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise ValueError("Roles that are no strings")
        epoch = content["epoch"]
        if not isinstance(epoch, str) or not _EPOCH.fullmatch(epoch):
            raise ValueError("Not the name of an epoch")
        return Claims(
            VerifiedToken(
                user_id=_uuid(content["sub"]),
                session_id=_uuid(content["sid"]),
                token_id=_uuid(content["jti"]),
                roles=frozenset(roles),
                auth_time=_time(content["auth_time"]),
                issued_at=_time(content["iat"]),
                expires_at=_time(content["exp"]),
            ),
            version=_integer(content["ver"], _LARGEST),
            epoch=epoch,
        )


def check_times(token: VerifiedToken, now: datetime) -> None:
    """A token is good until the second of its `exp`. Errors: `Refused`."""
    if now >= token.expires_at:
        raise Refused("It has expired")
    if max(token.issued_at, token.auth_time) > now + LEEWAY:
        raise Refused("It is of the future")


# --- keys ------------------------------------------------------------------------------------------------------------


def _key(jwk: Any) -> tuple[bytes, Check] | None:
    """A published key: the one header that names it, and its check. None for a key of another kind."""
    try:
        algorithm, check = _ed25519(jwk) if jwk["kty"] == "OKP" else _p256(jwk)
        named = {name: jwk[name] for name in ("crv", "kty", "x", "y") if name in jwk}
        thumbprint = _b64(hashlib.sha256(_json(named)).digest()).decode()  # RFC 7638
        if (jwk["kid"], jwk["alg"], jwk["use"]) != (thumbprint, algorithm, "sig"):
            return None
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return _header(algorithm, thumbprint), check


def _ed25519(jwk: dict[str, str]) -> tuple[str, Check]:
    if jwk["crv"] != "Ed25519" or "y" in jwk:
        raise ValueError
    public = Ed25519PublicKey.from_public_bytes(_unb64(jwk["x"].encode()))

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
    x, y = (int.from_bytes(_unb64(jwk[name].encode()), "big") for name in ("x", "y"))
    public = EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()

    def check(message: bytes, signature: bytes) -> bool:
        r, s = (int.from_bytes(part, "big") for part in (signature[:_HALF], signature[_HALF:]))
        # The other s of the two that verify would be a second text of the same token. ubr makes the lower.
        if len(signature) != 2 * _HALF or s > _P256_ORDER // 2:
            return False
        try:
            public.verify(encode_dss_signature(r, s), message, ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True

    return "ES256", check


def _header(algorithm: str, kid: str) -> bytes:
    return _b64(json.dumps({"typ": "at+jwt", "alg": algorithm, "kid": kid}, separators=(",", ":")).encode())


def _names_a_key(header: bytes) -> bool:
    """Whether a header is one that ubr could have made: no other is worth a question."""
    try:
        return _HEADER.fullmatch(_unb64(header)) is not None
    except ValueError:
        return False


# --- form ------------------------------------------------------------------------------------------------------------


def _signed(token: bytes, check: Check) -> bytes:
    """The payload. A header is looked up as it stands, so there is nothing in it to interpret. Errors: `ValueError`."""
    header, payload, signature = token.split(b".")
    content = _unb64(payload)
    if not check(header + b"." + payload, _unb64(signature)):
        raise ValueError("Not its signature")
    return content


def _b64(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")


def _unb64(text: bytes) -> bytes:
    """Errors: `ValueError` for anything but the one canonical text of some bytes."""
    raw = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    if _b64(raw) != text:
        raise ValueError("Not canonical base64url")
    return raw


def _json(members: dict[str, str]) -> bytes:
    return json.dumps(members, sort_keys=True, separators=(",", ":")).encode()


def _unique(members: list[tuple[str, object]]) -> dict[str, object]:
    content = dict(members)
    if len(content) != len(members):
        raise ValueError("A member twice")
    return content


def _uuid(value: object) -> UUID:
    """Errors: `ValueError` for anything but the canonical text of a UUID."""
    if not isinstance(value, str) or str(found := UUID(value)) != value:
        raise ValueError("Not the canonical text of a UUID")
    return found


def _integer(value: object, largest: int) -> int:
    # Not isinstance: a bool is an int there.
    if type(value) is not int or not 0 <= value <= largest:
        raise ValueError("Not a whole number in its bounds")
    return value


def _time(value: object) -> datetime:
    return datetime.fromtimestamp(_integer(value, _LATEST), UTC)
