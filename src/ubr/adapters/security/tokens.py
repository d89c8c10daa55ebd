"""Access tokens: JWTs according to RFC 9068, parsed strictly (RFC 8725)."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Final, Literal, TypeAlias

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from msgspec.structs import replace

from ubr.adapters.security.secrets import SecretKeys, Unsealable
from ubr.domain.errors import InvalidToken, NoSigningKey, SigningKeyLocked, Unavailable
from ubr.domain.keys import base64url
from ubr.domain.keys.access_token import (
    MAX_TOKEN_LENGTH,
    P256_HALF_ORDER,
    AccessClaims,
    compact_json,
    header_of,
    kid_of,
    payload_of,
    read_payload,
    signed_part,
    thumbprint,
)
from ubr.domain.keys.signing_key import LEEWAY, SigningKey, newest_first, signer

if TYPE_CHECKING:
    from jwt.algorithms import ECAlgorithm, OKPAlgorithm

# PyJWT is loaded with the first key: its import takes as long as that of all other libraries of the core but asyncio.
# ruff: noqa: PLC0415

Algorithm: TypeAlias = Literal["EdDSA", "ES256"]
PrivateKey: TypeAlias = Ed25519PrivateKey | EllipticCurvePrivateKey

SEALING_PURPOSE: Final = "signing-key"
REVOKED_PURPOSE: Final = "revoked-signing-key"
"""A revoked key has no private half any more: it is replaced with the encrypted fact that the key is revoked."""

_log: Final = logging.getLogger("ubr.keys")


class JwtAccessTokens:
    """Signs with the installed key that is due, verifies with all keys within their times.

    RFC 9068 also asks for RS256 (section 2.1). It is left out: Ed25519 and P-256 keys are small and quick to make.

    `secrets` encrypt the stored private keys. The result of verifying a token is cached by its SHA-256 while its key is
    installed, for `cached` tokens at most. The times of the key and of the token are checked at every use.

    A token is rejected from the second of its `exp` on. There is no leeway, because a client can refresh at no loss.
    `leeway` applies only to `iat` and `auth_time`, in case the issuer's clock is ahead of ours.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        secrets: SecretKeys,
        *,
        algorithm: Algorithm = "EdDSA",
        leeway: timedelta = LEEWAY,
        cached: int = 10_000,
    ) -> None:
        """Errors: `ValueError` for a leeway outside 0 to 30 seconds or an unsupported algorithm."""
        if not timedelta(0) <= leeway <= LEEWAY:
            raise ValueError("The leeway must be between 0 and 30 seconds")
        if algorithm not in _GENERATORS:
            raise ValueError("The algorithm must be EdDSA or ES256")
        self._issuer = issuer
        self._audience = audience
        self._secrets = secrets
        self._algorithm = algorithm
        self._leeway = leeway
        self._verified = _Verified(cached)
        self._ring = _KeySet((), frozenset())

    def generate(self, now: datetime, *, signs_from: datetime | None = None) -> SigningKey:
        private = _GENERATORS[self._algorithm]()
        key = _Key(private)
        return SigningKey(
            kid=key.kid,
            algorithm=key.algorithm,
            public=key.public,
            private=self._secrets.seal(
                SEALING_PURPOSE,
                private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
                key.kid.encode(),
            ),
            created_at=now,
            signs_from=signs_from or now,
        )

    def reseal(self, key: SigningKey) -> SigningKey:
        name = key.kid.encode()
        purpose = REVOKED_PURPOSE if self._sealed_as_revoked(key) else SEALING_PURPOSE
        try:
            content = self._secrets.open(purpose, key.private, name)
        except Unsealable:
            raise SigningKeyLocked(key.kid) from None
        if key.revoked and purpose == SEALING_PURPOSE:
            return replace(key, private=self._revoked(key))
        if self._secrets.newest_opens(purpose, key.private, name):
            return key
        return replace(key, private=self._secrets.seal(purpose, content, name))

    def revoke(self, key: SigningKey, now: datetime) -> SigningKey:
        return replace(key, revoked_at=now, private=self._revoked(key))

    def check(self, key: SigningKey) -> None:
        if key.kid not in self._ring.by_kid and self._open(key) is None and not self._sealed_as_revoked(key):
            raise SigningKeyLocked(key.kid)

    def _revoked(self, key: SigningKey) -> bytes:
        return self._secrets.seal(REVOKED_PURPOSE, b"", key.kid.encode())

    def _sealed_as_revoked(self, key: SigningKey) -> bool:
        try:
            self._secrets.open(REVOKED_PURPOSE, key.private, key.kid.encode())
        except Unsealable:
            return False
        return True

    def install(self, keys: Sequence[SigningKey], now: datetime) -> tuple[str, ...]:
        """Every public key is computed from the encrypted private one; other stored data about it is not trusted."""
        opened, locked = [], []
        for stored in newest_first(key for key in keys if key.accepted_at(now)):
            if self._sealed_as_revoked(stored):
                _log.error(
                    "Signing key %s was revoked, and the database denies it: its tokens stay refused", stored.kid
                )
                continue
            # A thumbprint identifies one key: an installed key need not be decrypted again.
            key = self._ring.by_kid.get(stored.kid) or self._open(stored)
            if key is None:
                locked.append(stored.kid)
            else:
                opened.append(_Installed(key, stored))
        self._ring = _KeySet(tuple(opened), frozenset(key.kid for key in keys))
        self._verified.keep(self._ring.by_header)
        return tuple(locked)

    def _open(self, stored: SigningKey) -> _Key | None:
        """A key ready for use; None if our secrets do not decrypt it, or it does not match its stored data."""
        try:
            private = load_der_private_key(
                self._secrets.open(SEALING_PURPOSE, stored.private, stored.kid.encode()), password=None
            )
        except (Unsealable, UnsupportedAlgorithm, ValueError, TypeError):
            return None
        if not (
            isinstance(private, Ed25519PrivateKey)
            or (isinstance(private, EllipticCurvePrivateKey) and isinstance(private.curve, SECP256R1))
        ):
            return None
        key = _Key(private)
        return key if (key.kid, key.algorithm) == (stored.kid, stored.algorithm) else None

    def signs_at(self, now: datetime) -> bool:
        return self._ring.signer(now) is not None

    def issue(self, claims: AccessClaims) -> str:
        """`token_id` is the canonical text of a UUID.

        Errors: `NoSigningKey` if no key signs at that time; `Unavailable` for so many roles that the token would be
        rejected as too long.
        """
        key = self._ring.signer(claims.issued_at)
        if key is None:
            raise NoSigningKey
        payload = payload_of(claims, issuer=self._issuer, audience=self._audience)
        message = key.header + b"." + base64url.encode(payload)
        token = message + b"." + base64url.encode(key.pair.sign(message))
        if len(token) > MAX_TOKEN_LENGTH:
            raise Unavailable("The user's roles do not fit into an access token")
        return token.decode()

    def verify(self, token: str, now: datetime) -> AccessClaims:
        # In this order: length, form, key, signature, content. Only text that we have signed is parsed.
        if len(token) > MAX_TOKEN_LENGTH or not token.isascii():
            raise InvalidToken
        text = token.encode()
        # A header is looked up unparsed. Only the one form made here leads to a key, so its content is not interpreted:
        # no other `alg` or `typ`, no `crit`, `jwk`, `jku`, `x5c` or `x5u`, no duplicate member.
        header = text.partition(b".")[0]
        installed = self._ring.by_header.get(header)
        if installed is None:
            raise InvalidToken
        digest = hashlib.sha256(text).digest()
        claims = self._verified.recall(digest)
        if claims is None:
            try:
                payload = _signed(text, installed.key)
                claims = read_payload(payload, issuer=self._issuer, audience=self._audience)
            except ValueError:
                raise InvalidToken from None
            self._verified.remember(digest, header, claims)
        if not installed.stored.accepted_at(now) or not claims.in_time(now, self._leeway):
            raise InvalidToken
        return claims

    def names_unknown_key(self, token: str) -> bool:
        if token.count(".") != 2 or not token.isascii():  # noqa: PLR2004
            return False
        kid = kid_of(token.partition(".")[0].encode())
        return kid is not None and kid not in self._ring.heard_of

    def public_keys(self, now: datetime) -> tuple[str, ...]:
        return tuple(each.key.public for each in self._ring.keys if each.stored.accepted_at(now))


# --- keys ------------------------------------------------------------------------------------------------------------


@cache
def _ed25519() -> OKPAlgorithm:
    from jwt.algorithms import OKPAlgorithm

    return OKPAlgorithm()


@cache
def _p256() -> ECAlgorithm:
    from jwt.algorithms import ECAlgorithm

    return ECAlgorithm(ECAlgorithm.SHA256, SECP256R1)


class _EdDsa:
    """Ed25519 (RFC 8037). The library rejects a signature whose S is not below the order, so there is only one."""

    name: ClassVar[Algorithm] = "EdDSA"

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._library = _ed25519()
        self._private = private
        self._public = private.public_key()

    def jwk(self) -> dict[str, str]:
        return self._library.to_jwk(self._public, as_dict=True)

    def sign(self, message: bytes) -> bytes:
        return self._library.sign(message, self._private)

    def verify(self, message: bytes, signature: bytes) -> bool:
        return self._library.verify(message, self._public, signature)


class _Es256:
    """ECDSA with P-256 and SHA-256 (RFC 7518, 3.4).

    From a signature (r, s) anybody can make (r, n - s), which is valid too. Only the one with the lower s is made and
    accepted here, so that a token has one text.
    """

    name: ClassVar[Algorithm] = "ES256"
    _half: ClassVar = 32  # bytes of r, and of s

    def __init__(self, private: EllipticCurvePrivateKey) -> None:
        self._library = _p256()
        self._private = private
        self._public = private.public_key()

    def jwk(self) -> dict[str, str]:
        return self._library.to_jwk(self._public, as_dict=True)

    def sign(self, message: bytes) -> bytes:
        signature = self._library.sign(message, self._private)
        s = int.from_bytes(signature[self._half :], "big")
        return signature[: self._half] + min(s, 2 * P256_HALF_ORDER + 1 - s).to_bytes(self._half, "big")

    def verify(self, message: bytes, signature: bytes) -> bool:
        if len(signature) != 2 * self._half or int.from_bytes(signature[self._half :], "big") > P256_HALF_ORDER:
            return False
        return self._library.verify(message, self._public, signature)


_GENERATORS: Final[dict[Algorithm, Callable[[], PrivateKey]]] = {
    "EdDSA": Ed25519PrivateKey.generate,
    "ES256": lambda: generate_private_key(SECP256R1()),
}


class _Key:
    """A key ready for use, bound to its one algorithm (RFC 8725, 3.1)."""

    __slots__ = ("algorithm", "header", "kid", "pair", "public")

    def __init__(self, private: PrivateKey) -> None:
        self.pair = _EdDsa(private) if isinstance(private, Ed25519PrivateKey) else _Es256(private)
        jwk = self.pair.jwk()
        self.algorithm: Algorithm = self.pair.name
        self.kid = thumbprint(jwk)
        self.public = compact_json({**jwk, "use": "sig", "alg": self.algorithm, "kid": self.kid}).decode()
        self.header = header_of(self.algorithm, self.kid)


class _Installed(msgspec.Struct, frozen=True):
    """A key ready for use, with its stored times."""

    key: _Key
    stored: SigningKey


class _KeySet:
    """Keys that are installed together, newest first, and the names of all existing keys."""

    def __init__(self, keys: tuple[_Installed, ...], heard_of: frozenset[str]) -> None:
        self.keys = keys
        self.heard_of = heard_of
        self.by_header = {each.key.header: each for each in keys}
        self.by_kid = {each.key.kid: each.key for each in keys}

    def signer(self, now: datetime) -> _Key | None:
        found = signer((each.stored for each in self.keys), now)
        return None if found is None else self.by_kid[found.kid]


class _Verified:
    """Tokens with a verified signature; the least recently used are forgotten first.

    A remembered token is worth nothing without its key, which is looked up in the ring at every use.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._known: OrderedDict[bytes, tuple[bytes, AccessClaims]] = OrderedDict()
        self._lock = threading.Lock()

    def recall(self, digest: bytes) -> AccessClaims | None:
        with self._lock:
            found = self._known.get(digest)
            if found is None:
                return None
            self._known.move_to_end(digest)
            return found[1]

    def remember(self, digest: bytes, header: bytes, claims: AccessClaims) -> None:
        with self._lock:
            self._known[digest] = header, claims
            while len(self._known) > self._capacity:
                self._known.popitem(last=False)

    def keep(self, headers: Collection[bytes]) -> None:
        """Forget the tokens of every other key."""
        with self._lock:
            for digest in [digest for digest, (header, _) in self._known.items() if header not in headers]:
                del self._known[digest]


def _signed(token: bytes, key: _Key) -> bytes:
    """The payload of a token that a key has signed. Errors: `ValueError`."""
    message, signature, payload = signed_part(token)
    if not key.pair.verify(message, signature):
        raise ValueError("Not our signature")
    return payload
