"""Access tokens: JWTs as RFC 9068 has them, read to the letter (RFC 8725)."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Final, Literal, TypeAlias
from uuid import UUID

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from ubr.adapters.security import base64url
from ubr.adapters.security.secrets import SecretKeys, Unsealable
from ubr.application.ports.keys import AccessClaims
from ubr.domain.errors import InvalidToken, NoSigningKey, SigningKeyLocked, Unavailable
from ubr.domain.ids import SessionId, UserId
from ubr.domain.keys.signing_key import LEEWAY, SigningKey, newest_first, signer
from ubr.domain.revocation.changes import EPOCH_NAME_LENGTH

Algorithm: TypeAlias = Literal["EdDSA", "ES256"]
PrivateKey: TypeAlias = Ed25519PrivateKey | EllipticCurvePrivateKey

TOKEN_TYPE: Final = "at+jwt"
CLIENT_ID: Final = "ubr"
TOKEN_LENGTH: Final = 8192
"""The most characters a token may have: room for about a hundred roles with the longest names."""

SEALING_PURPOSE: Final = "signing-key"

_CLAIMS: Final = {"iss", "aud", "sub", "sid", "client_id", "jti", "iat", "exp", "auth_time", "ver", "epoch", "roles"}
_EPOCH: Final = re.compile(f"[0-9a-f]{{{EPOCH_NAME_LENGTH}}}")
_LATEST: Final = 253402300799  # 9999-12-31T23:59:59Z, the last second a datetime can hold
_LARGEST: Final = 2**63 - 1
_HEADER_LENGTH: Final = 256
_KID: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class JwtAccessTokens:
    """Signs with the installed key whose time it is, verifies with all of them in theirs.

    RFC 9068 also asks for RS256 (section 2.1). It is left out: Ed25519 and P-256 keys are small and quick to make.

    `secrets` seal the private keys at rest. `cached` tokens that verified are known again by their SHA-256 for as long
    as their key is installed; its times and theirs are checked at every use all the same.

    Time: a token is refused from the second of its `exp` on, without leeway, since a client that is told to refresh
    loses nothing. `leeway` goes one way only, for `iat` and `auth_time` of an issuer whose clock is ahead of ours.
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
        """Errors: `ValueError` for a leeway outside 0 to 30 seconds or an algorithm that is not supported."""
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
        try:
            if self._secrets.newest_opens(SEALING_PURPOSE, key.private, name):
                return key
            content = self._secrets.open(SEALING_PURPOSE, key.private, name)
        except Unsealable:
            raise SigningKeyLocked(key.kid) from None
        return replace(key, private=self._secrets.seal(SEALING_PURPOSE, content, name))

    def check(self, key: SigningKey) -> None:
        if key.kid not in self._ring.by_kid and self._open(key) is None:
            raise SigningKeyLocked(key.kid)

    def install(self, keys: Sequence[SigningKey], now: datetime) -> tuple[str, ...]:
        """Every public key is computed from the sealed private one: what else the store says of it is not trusted."""
        opened, locked = [], []
        for stored in newest_first(key for key in keys if key.accepted_at(now)):
            # A thumbprint names one key: one that is open need not be opened again.
            key = self._ring.by_kid.get(stored.kid) or self._open(stored)
            if key is None:
                locked.append(stored.kid)
            else:
                opened.append(_Installed(key, stored))
        self._ring = _KeySet(tuple(opened), frozenset(key.kid for key in keys))
        self._verified.keep(self._ring.by_header)
        return tuple(locked)

    def _open(self, stored: SigningKey) -> _Key | None:
        """A key made ready for use; None for one that our secrets do not open, or that is not what it is stored as."""
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

        Errors: `NoSigningKey` where none signs at that time; `Unavailable` for so many roles that the token would be
        refused as too long.
        """
        key = self._ring.signer(claims.issued_at)
        if key is None:
            raise NoSigningKey
        payload = {
            "iss": self._issuer,
            "aud": self._audience,
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
        message = key.header + b"." + base64url.encode(_json(payload))
        token = message + b"." + base64url.encode(key.pair.sign(message))
        if len(token) > TOKEN_LENGTH:
            raise Unavailable("The user has more roles than fit into an access token")
        return token.decode()

    def verify(self, token: str, now: datetime) -> AccessClaims:
        # In this order: length, form, key, signature, content. Nothing is parsed that we have not signed.
        if len(token) > TOKEN_LENGTH or not token.isascii():
            raise InvalidToken
        text = token.encode()
        # A header is looked up as it stands. Only its one form made here leads to a key, so there is nothing in it to
        # interpret: no other `alg` or `typ`, no `crit`, `jwk`, `jku`, `x5c` or `x5u`, no member twice.
        header = text.partition(b".")[0]
        installed = self._ring.by_header.get(header)
        if installed is None:
            raise InvalidToken
        digest = hashlib.sha256(text).digest()
        claims = self._verified.recall(digest)
        if claims is None:
            try:
                claims = self._claims(_signed(text, installed.key))
            except (ValueError, RecursionError):
                raise InvalidToken from None
            self._verified.remember(digest, header, claims)
        ahead = now + self._leeway
        if (
            not installed.stored.accepted_at(now)
            or now >= claims.expires_at
            or claims.issued_at > ahead
            or claims.auth_time > ahead
        ):
            raise InvalidToken
        return claims

    def _claims(self, payload: bytes) -> AccessClaims:
        """What a payload says. Errors: `ValueError` for anything but exactly the claims made here.

        A claim that is not known here may be one that restricts the token (`nbf`, `cnf`), so it is refused.
        """
        content = json.loads(payload.decode(), object_pairs_hook=_unique)
        if not isinstance(content, dict) or content.keys() != _CLAIMS:
            raise ValueError("Other claims")
        if (content["iss"], content["aud"], content["client_id"]) != (self._issuer, self._audience, CLIENT_ID):
            raise ValueError("For somebody else")
        roles = content["roles"]
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise ValueError("Roles that are no strings")
        return AccessClaims(
            user_id=UserId(_uuid(content["sub"])),
            session_id=SessionId(_uuid(content["sid"])),
            token_id=str(_uuid(content["jti"])),
            issued_at=_time(content["iat"]),
            expires_at=_time(content["exp"]),
            auth_time=_time(content["auth_time"]),
            version=_integer(content["ver"], _LARGEST),
            epoch=_epoch(content["epoch"]),
            roles=tuple(roles),
        )

    def names_unknown_key(self, token: str) -> bool:
        header = token.partition(".")[0]
        if len(header) > _HEADER_LENGTH or token.count(".") != 2 or not token.isascii():  # noqa: PLR2004
            return False
        try:
            said = json.loads(base64url.decode(header.encode()), object_pairs_hook=_unique)
        except (ValueError, RecursionError):
            return False
        if not isinstance(said, dict) or said.keys() != {"typ", "alg", "kid"}:
            return False
        kid = said["kid"]
        ours = said["typ"] == TOKEN_TYPE and said["alg"] in tuple(_GENERATORS) and isinstance(kid, str)
        return ours and _KID.fullmatch(kid) is not None and kid not in self._ring.heard_of

    def public_keys(self, now: datetime) -> tuple[str, ...]:
        return tuple(each.key.public for each in self._ring.keys if each.stored.accepted_at(now))


# --- keys ------------------------------------------------------------------------------------------------------------


class _EdDsa:
    """Ed25519 (RFC 8037). The library refuses a signature whose S is not below the order, so there is but one."""

    name: ClassVar[Algorithm] = "EdDSA"
    _library: ClassVar = OKPAlgorithm()

    def __init__(self, private: Ed25519PrivateKey) -> None:
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

    Whoever has a signature (r, s) can make (r, n - s), which is good too. Only the one with the lower s is made and
    taken here, so that a token has one text.
    """

    name: ClassVar[Algorithm] = "ES256"
    _library: ClassVar = ECAlgorithm(ECAlgorithm.SHA256, SECP256R1)
    _half: ClassVar = 32  # bytes of r, and of s

    def __init__(self, private: EllipticCurvePrivateKey) -> None:
        self._private = private
        self._public = private.public_key()

    def jwk(self) -> dict[str, str]:
        return self._library.to_jwk(self._public, as_dict=True)

    def sign(self, message: bytes) -> bytes:
        signature = self._library.sign(message, self._private)
        s = int.from_bytes(signature[self._half :], "big")
        return signature[: self._half] + min(s, _P256_ORDER - s).to_bytes(self._half, "big")

    def verify(self, message: bytes, signature: bytes) -> bool:
        if len(signature) != 2 * self._half or int.from_bytes(signature[self._half :], "big") > _P256_ORDER // 2:
            return False
        return self._library.verify(message, self._public, signature)


_GENERATORS: Final[dict[Algorithm, Callable[[], PrivateKey]]] = {
    "EdDSA": Ed25519PrivateKey.generate,
    "ES256": lambda: generate_private_key(SECP256R1()),
}


class _Key:
    """A key ready for use, its one algorithm bound to it (RFC 8725, 3.1)."""

    __slots__ = ("algorithm", "header", "kid", "pair", "public")

    def __init__(self, private: PrivateKey) -> None:
        self.pair = _EdDsa(private) if isinstance(private, Ed25519PrivateKey) else _Es256(private)
        jwk = self.pair.jwk()
        self.algorithm: Algorithm = self.pair.name
        self.kid = _thumbprint(jwk)
        self.public = _json({**jwk, "use": "sig", "alg": self.algorithm, "kid": self.kid}).decode()
        self.header = base64url.encode(_json({"typ": TOKEN_TYPE, "alg": self.algorithm, "kid": self.kid}))


def _thumbprint(jwk: dict[str, str]) -> str:
    """The name of a public key (RFC 7638): what it consists of, sorted, without white space, as SHA-256."""
    required = ("crv", "kty", "x") if jwk["kty"] == "OKP" else ("crv", "kty", "x", "y")
    text = json.dumps({name: jwk[name] for name in required}, sort_keys=True, separators=(",", ":"))
    return base64url.encode(hashlib.sha256(text.encode()).digest()).decode()


@dataclass(frozen=True, slots=True)
class _Installed:
    """A key ready for use, and its times as they are stored."""

    key: _Key
    stored: SigningKey


class _KeySet:
    """Keys that are installed together, newest first, and the names of all that there are."""

    def __init__(self, keys: tuple[_Installed, ...], heard_of: frozenset[str]) -> None:
        self.keys = keys
        self.heard_of = heard_of
        self.by_header = {each.key.header: each for each in keys}
        self.by_kid = {each.key.kid: each.key for each in keys}

    def signer(self, now: datetime) -> _Key | None:
        found = signer((each.stored for each in self.keys), now)
        return None if found is None else self.by_kid[found.kid]


class _Verified:
    """Tokens whose signature is known to be good, the least recently used forgotten first.

    What is recalled is worth nothing without its key: that is looked up in the ring at every use.
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
        """Forget the tokens of every key but these."""
        with self._lock:
            for digest in [digest for digest, (header, _) in self._known.items() if header not in headers]:
                del self._known[digest]


# --- form ------------------------------------------------------------------------------------------------------------


def _signed(token: bytes, key: _Key) -> bytes:
    """The payload of a token that a key has signed. Errors: `ValueError`."""
    header, payload, signature = token.split(b".")
    content = base64url.decode(payload)
    if not key.pair.verify(header + b"." + payload, base64url.decode(signature)):
        raise ValueError("Not our signature")
    return content


def _json(members: Mapping[str, object]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()


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


def _epoch(value: object) -> str:
    if not isinstance(value, str) or not _EPOCH.fullmatch(value):
        raise ValueError("Not the name of an epoch")
    return value


def _integer(value: object, largest: int) -> int:
    # Not isinstance: a bool is an int there.
    if type(value) is not int or not 0 <= value <= largest:
        raise ValueError("Not a whole number in its bounds")
    return value


def _time(value: object) -> datetime:
    return datetime.fromtimestamp(_integer(value, _LATEST), UTC)
