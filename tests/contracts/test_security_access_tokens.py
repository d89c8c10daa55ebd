"""The AccessTokens port: what it issues, and that it takes nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm

from tests.support.values import replace
from ubr.adapters.security.secrets import SecretKeys
from ubr.adapters.security.tokens import SEALING_PURPOSE, JwtAccessTokens
from ubr.application.ports.keys import AccessTokens
from ubr.domain.errors import InvalidToken, SigningKeyLocked, Unavailable
from ubr.domain.ids import SessionId, UserId
from ubr.domain.keys.access_token import MAX_TOKEN_LENGTH, AccessClaims, extra_claims
from ubr.domain.keys.signing_key import OVERLAP, SigningKey
from ubr.verifier.errors import PermissionsOmitted, Refused
from ubr.verifier.tokens import Claims, TokenReader, check_times

ISSUER, AUDIENCE = "https://ubr.example", "ubr"
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
T = int(NOW.timestamp())
SECRET = hashlib.sha256(b"secret").digest()
USER = UserId(UUID("01954ed6-7400-7000-8000-000000000001"))
SESSION = SessionId(UUID("01954ed6-7400-7000-8000-000000000002"))
TOKEN_ID = "01954ed6-7400-7000-8000-000000000003"
CLAIMS = AccessClaims(
    user_id=USER,
    session_id=SESSION,
    token_id=TOKEN_ID,
    issued_at=NOW,
    expires_at=NOW + timedelta(minutes=10),
    auth_time=NOW - timedelta(days=3),
    version=7,
    epoch="0123456789abcdef",
    roles=("user", "editor"),
    permissions=("notes:edit", "users:read"),
)
P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED25519_ORDER: Final = 2**252 + 27742317777372353535851937790883648493

Algorithm = Literal["EdDSA", "ES256"]
ALGORITHMS: tuple[Algorithm, ...] = ("EdDSA", "ES256")


_TICK: Final = timedelta(microseconds=1)


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Installation:
    """One installation with one signing key, and what somebody could do who stole that key."""

    def __init__(self, algorithm: Algorithm) -> None:
        self.algorithm = algorithm
        self.secrets = SecretKeys([SECRET])
        self.tokens = self.another()
        self.key = self.tokens.generate(NOW)
        self.tokens.install([self.key], NOW)
        self.elsewhere = TokenReader(ISSUER, AUDIENCE)
        self.elsewhere.install([json.loads(self.key.public)])
        self.token = self.tokens.issue(CLAIMS)
        self.header, self.payload = (json.loads(unb64(part)) for part in self.token.split(".")[:2])
        self.private = load_der_private_key(
            self.secrets.open(SEALING_PURPOSE, self.key.private, self.key.kid.encode()), None
        )

    def another(self, **options: Any) -> JwtAccessTokens:
        return JwtAccessTokens(ISSUER, AUDIENCE, self.secrets, algorithm=self.algorithm, **options)

    def sign(self, message: str) -> bytes:
        if isinstance(self.private, Ed25519PrivateKey):
            return self.private.sign(message.encode())
        assert isinstance(self.private, EllipticCurvePrivateKey)
        signature = ECAlgorithm(ECAlgorithm.SHA256).sign(message.encode(), self.private)
        s = int.from_bytes(signature[32:], "big")
        return signature[:32] + min(s, P256_ORDER - s).to_bytes(32, "big")

    def forge_text(self, header: str, payload: bytes) -> str:
        """A token with our signature over anything."""
        message = f"{header}.{b64(payload)}"
        return f"{message}.{b64(self.sign(message))}"

    def forge(self, header: object = None, payload: object = None) -> str:
        texts = [
            json.dumps(part, separators=(",", ":")).encode()
            for part in (self.header if header is None else header, self.payload if payload is None else payload)
        ]
        return self.forge_text(b64(texts[0]), texts[1])

    def refuses(self, token: str, now: datetime = NOW) -> bool:
        """Whether it is refused as it has to be, and again when it comes a second time."""
        for _ in range(2):
            with pytest.raises(InvalidToken):
                self.tokens.verify(token, now)
            with pytest.raises(Refused):
                self.verify_elsewhere(token, now)
        return True

    def verify_elsewhere(self, token: str, now: datetime) -> Claims:
        """The same in another service, which knows the public key alone. Errors: `Refused`."""
        claims = self.elsewhere.read(token)
        check_times(claims.token, now)
        return claims


INSTALLATIONS: Final[dict[Algorithm, Installation]] = {algorithm: Installation(algorithm) for algorithm in ALGORITHMS}


@pytest.fixture(params=ALGORITHMS)
def service(request: pytest.FixtureRequest) -> Installation:
    return INSTALLATIONS[request.param]


@pytest.fixture
def port(service: Installation) -> AccessTokens:
    return service.tokens


# --- what is issued --------------------------------------------------------------------------------------------------


def test_a_token_has_its_claims(port: AccessTokens) -> None:
    assert port.verify(port.issue(CLAIMS), NOW) == CLAIMS


def test_times_become_whole_seconds_and_none_later(port: AccessTokens) -> None:
    almost = timedelta(microseconds=999_999)
    uneven = replace(
        CLAIMS,
        issued_at=CLAIMS.issued_at + almost,
        expires_at=CLAIMS.expires_at + almost,
        auth_time=CLAIMS.auth_time + almost,
    )
    assert port.verify(port.issue(uneven), NOW) == CLAIMS


def test_a_token_has_the_header_and_claims_of_rfc_9068(service: Installation) -> None:
    assert service.header == {"typ": "at+jwt", "alg": service.algorithm, "kid": service.key.kid}
    assert service.payload == {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(USER),
        "sid": str(SESSION),
        "client_id": "ubr",
        "jti": TOKEN_ID,
        "iat": T,
        "exp": T + 600,
        "auth_time": T - 3 * 86400,
        "ver": 7,
        "epoch": "0123456789abcdef",
        "roles": ["user", "editor"],
        "permissions": ["notes:edit", "users:read"],
    }


def test_a_user_without_permissions_has_no_claim_about_them(service: Installation) -> None:
    claims = replace(CLAIMS, permissions=())
    token = service.tokens.issue(claims)
    assert "permissions" not in json.loads(unb64(token.split(".")[1]))
    assert service.tokens.verify(token, NOW) == claims
    verified = service.verify_elsewhere(token, NOW).token
    assert verified.permissions == frozenset()
    assert not verified.permits("notes:edit")


def test_a_verifier_answers_what_a_user_may_do(service: Installation) -> None:
    verified = service.verify_elsewhere(service.token, NOW).token
    assert [verified.permits(name) for name in ("notes:edit", "users:read", "notes:read", "*")] == [1, 1, 0, 0]
    everything = service.verify_elsewhere(service.tokens.issue(replace(CLAIMS, permissions=("*",))), NOW).token
    assert everything.permits("notes:edit")
    assert everything.permits("*")


def test_permissions_that_do_not_fit_are_omitted_and_said_to_be(service: Installation) -> None:
    many = tuple(f"r{number:049}:edit" for number in range(150))
    token = service.tokens.issue(replace(CLAIMS, permissions=many))
    assert len(token) <= MAX_TOKEN_LENGTH
    assert service.tokens.verify(token, NOW) == replace(CLAIMS, permissions=None)
    verified = service.verify_elsewhere(token, NOW).token
    assert verified.permissions is None
    with pytest.raises(PermissionsOmitted):
        verified.permits("notes:edit")
    fitting = replace(CLAIMS, permissions=many[:90])
    assert service.tokens.verify(service.tokens.issue(fitting), NOW) == fitting


def test_claims_of_the_host_are_read_by_every_verifier(service: Installation) -> None:
    given = {"team": "süd", "seats": 3, "share": 0.5, "trial": False, "parent": None, "tags": ["a", {"b": []}]}
    claims = replace(CLAIMS, extra=extra_claims(given))
    token = service.tokens.issue(claims)
    assert json.loads(unb64(token.split(".")[1]))["ext"] == given
    assert service.tokens.verify(token, NOW) == claims
    elsewhere = service.verify_elsewhere(token, NOW).token
    assert elsewhere.claims == given
    elsewhere.claims["team"] = "changed"
    assert service.verify_elsewhere(token, NOW).token.claims == given
    assert service.verify_elsewhere(service.token, NOW).token.claims == {}
    assert "ext" not in service.payload


def test_permissions_make_room_for_claims_of_the_host(service: Installation) -> None:
    many = tuple(f"notes:{number:040}" for number in range(100))
    token = service.tokens.issue(replace(CLAIMS, permissions=many, extra=extra_claims({"a": "x" * 2000})))
    assert service.tokens.verify(token, NOW).permissions is None
    assert service.verify_elsewhere(token, NOW).token.claims == {"a": "x" * 2000}


@pytest.mark.parametrize(
    "claims",
    [
        {"a": "x" * 2048},
        {"a": float("nan")},
        {"a": float("-inf")},
        {"a": 2**53},
        {"a": b"x"},
        {"a": NOW},
        {"a": {1}},
        {"a": {1: "x"}},
        {1: "x"},
        {"a": [[[[[[[[]]]]]]]]},
        {"a": "\ud800"},
        {"\ud800": 1},
    ],
    ids=[
        "long",
        "nan",
        "infinity",
        "integer",
        "bytes",
        "time",
        "set",
        "inner name",
        "name",
        "deep",
        "text",
        "odd name",
    ],
)
def test_claims_of_the_host_that_json_cannot_hold_are_refused(claims: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"^The claims of the host") as refused:
        extra_claims(claims)
    assert "xx" not in str(refused.value)


def test_any_library_verifies_with_the_public_key_alone(service: Installation) -> None:
    token = service.tokens.issue(replace(CLAIMS, issued_at=NOW, expires_at=NOW + timedelta(days=36500)))
    jwks = jwt.PyJWKSet.from_json(f'{{"keys": [{",".join(service.tokens.public_keys(NOW))}]}}')
    kid = jwt.get_unverified_header(token)["kid"]
    read = jwt.decode(
        token,
        jwks[kid],
        algorithms=[service.algorithm],
        audience=AUDIENCE,
        issuer=ISSUER,
        options={"require": ["exp", "iat", "sub", "jti"], "verify_iat": False},
    )
    assert read["sub"] == str(USER)


def test_more_roles_than_a_token_holds_are_refused_when_it_is_made(port: AccessTokens) -> None:
    fitting = replace(CLAIMS, roles=tuple(f"r{number:049}" for number in range(100)), permissions=())
    assert port.verify(port.issue(fitting), NOW) == fitting
    with pytest.raises(Unavailable):
        port.issue(replace(CLAIMS, roles=tuple(f"r{number:049}" for number in range(120))))


def test_a_token_id_that_could_not_be_verified_is_not_issued(port: AccessTokens) -> None:
    with pytest.raises(ValueError, match="UUID"):
        port.issue(replace(CLAIMS, token_id="7"))


# --- keys ------------------------------------------------------------------------------------------------------------


def test_a_key_is_named_by_its_thumbprint() -> None:
    """The example of RFC 8037, A.1 to A.3."""
    raw = unb64("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
    der = Ed25519PrivateKey.from_private_bytes(raw).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    kid = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    tokens = INSTALLATIONS["EdDSA"].another()
    sealed = INSTALLATIONS["EdDSA"].secrets.seal(SEALING_PURPOSE, der, kid.encode())
    key = SigningKey(kid=kid, algorithm="EdDSA", public="", private=sealed, created_at=NOW, signs_from=NOW)
    assert tokens.install([key], NOW) == ()
    assert json.loads(tokens.public_keys(NOW)[0]) == {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "use": "sig",
        "alg": "EdDSA",
        "kid": kid,
    }


def test_a_thumbprint_is_that_of_the_published_members(service: Installation) -> None:
    jwk = json.loads(service.key.public)
    required = {name: jwk[name] for name in sorted(jwk) if name in {"crv", "kty", "x", "y"}}
    digest = hashlib.sha256(json.dumps(required, separators=(",", ":")).encode()).digest()
    assert service.key.kid == jwk["kid"] == b64(digest)


def test_published_keys_are_public(service: Installation) -> None:
    (text,) = service.tokens.public_keys(NOW)
    assert text == service.key.public
    jwk = json.loads(text)
    coordinates = {"x"} if service.algorithm == "EdDSA" else {"x", "y"}
    assert jwk.keys() == {"kty", "crv", "use", "alg", "kid"} | coordinates
    assert (jwk["use"], jwk["alg"]) == ("sig", service.algorithm)


def test_keys_differ_and_their_private_part_is_sealed(service: Installation) -> None:
    one, other = service.tokens.generate(NOW), service.tokens.generate(NOW)
    assert one.kid != other.kid
    assert one.algorithm == service.algorithm
    assert one.created_at == NOW
    der = service.secrets.open(SEALING_PURPOSE, one.private, one.kid.encode())
    assert der[-32:] not in one.private
    assert repr(one.private) not in repr(one)


def test_a_key_is_not_used_before_it_is_installed(service: Installation) -> None:
    tokens = service.another()
    tokens.generate(NOW)
    assert tokens.public_keys(NOW) == ()
    with pytest.raises(Unavailable):
        tokens.issue(CLAIMS)
    with pytest.raises(InvalidToken):
        tokens.verify(service.token, NOW)


def test_the_newest_key_signs_and_all_verify_until_they_are_gone(service: Installation) -> None:
    tokens = service.another()
    old, new = tokens.generate(NOW - timedelta(days=1)), tokens.generate(NOW)
    tokens.install([old], NOW)
    before = after = tokens.issue(CLAIMS)
    for order in ([old, new], [new, old]):
        tokens.install(order, NOW)
        after = tokens.issue(CLAIMS)
        assert jwt.get_unverified_header(after)["kid"] == new.kid
        assert tokens.verify(before, NOW) == tokens.verify(after, NOW) == CLAIMS
        assert tokens.public_keys(NOW) == (new.public, old.public)
    tokens.install([new], NOW)
    assert tokens.verify(after, NOW) == CLAIMS
    with pytest.raises(InvalidToken):
        tokens.verify(before, NOW)
    tokens.install([], NOW)
    with pytest.raises(InvalidToken):
        tokens.verify(after, NOW)
    assert tokens.public_keys(NOW) == ()


# --- the times of keys -----------------------------------------------------------------------------------------------


def test_a_key_signs_when_its_time_has_come_and_is_published_and_accepted_before(service: Installation) -> None:
    tokens, other = service.another(), service.another()
    begins = NOW + timedelta(minutes=6)
    old = replace(tokens.generate(NOW - timedelta(days=1)), retired_at=begins + OVERLAP)
    new = tokens.generate(NOW, signs_from=begins)
    assert (new.created_at, new.signs_from) == (NOW, begins)
    for each in (tokens, other):
        assert each.install([new, old], NOW) == ()
    assert other.public_keys(NOW) == (new.public, old.public)
    for late, signing in ((timedelta(0), old), (begins - NOW - _TICK, old), (begins - NOW, new), (OVERLAP, new)):
        claims = replace(CLAIMS, issued_at=NOW + late, expires_at=NOW + late + timedelta(minutes=10))
        token = tokens.issue(claims)
        assert jwt.get_unverified_header(token)["kid"] == signing.kid
        assert other.verify(token, NOW + late).session_id == SESSION


@pytest.mark.parametrize("seen_before", [False, True])
def test_a_key_that_has_retired_is_neither_accepted_nor_published(service: Installation, seen_before: bool) -> None:
    tokens = service.another()
    tokens.install([replace(service.key, retired_at=NOW + timedelta(minutes=5))], NOW)
    if seen_before:
        tokens.verify(service.token, NOW)
    last = NOW + timedelta(minutes=5) - _TICK
    assert tokens.verify(service.token, last) == CLAIMS
    assert tokens.public_keys(last) == (service.key.public,)
    with pytest.raises(InvalidToken):
        tokens.verify(service.token, last + _TICK)
    assert tokens.public_keys(last + _TICK) == ()


@pytest.mark.parametrize("seen_before", [False, True])
def test_a_token_of_a_key_that_was_revoked_is_refused_though_it_was_known(
    service: Installation, seen_before: bool
) -> None:
    tokens = service.another()
    other = tokens.generate(NOW - timedelta(days=1))
    tokens.install([service.key, other], NOW)
    if seen_before:
        tokens.verify(service.token, NOW)
    tokens.install([replace(service.key, revoked_at=NOW), other], NOW)
    with pytest.raises(InvalidToken):
        tokens.verify(service.token, NOW)
    assert tokens.public_keys(NOW) == (other.public,)
    assert jwt.get_unverified_header(tokens.issue(CLAIMS))["kid"] == other.kid


def test_a_clock_that_was_set_back_is_no_reason_to_sign_nothing(service: Installation) -> None:
    tokens = service.another()
    tokens.install([service.key], NOW)
    earlier = replace(CLAIMS, issued_at=NOW - timedelta(hours=1))
    assert jwt.get_unverified_header(tokens.issue(earlier))["kid"] == service.key.kid


def test_it_is_known_which_token_may_be_of_a_key_made_since(service: Installation) -> None:
    tokens = service.another()
    assert tokens.names_unknown_key(service.token)
    for known in (service.key, replace(service.key, revoked_at=NOW), replace(service.key, retired_at=NOW)):
        tokens.install([known], NOW)
        assert not tokens.names_unknown_key(service.token)
    tokens.install([], NOW)
    _, payload, signature = service.token.split(".")
    ours = {"typ": "at+jwt", "alg": service.algorithm, "kid": service.key.kid}
    other: list[object] = [
        *({**ours, "kid": kid} for kid in ("", "x" * 44, "é" * 43, None, 7, ["x"], ours)),
        *({**ours, "alg": algorithm} for algorithm in ("none", "HS256", "RS256", None, ["EdDSA"])),
        *({**ours, "typ": kind} for kind in ("JWT", "AT+JWT", None)),
        *({key: value for key, value in ours.items() if key != left_out} for left_out in ours),
        {**ours, "jku": "https://keys.example"},
        [ours],
        "text",
        None,
        7,
    ]
    for said in other:
        header = b64(json.dumps(said).encode())
        assert not tokens.names_unknown_key(f"{header}.{payload}.{signature}")
    header = service.token.split(".")[0]
    for text in ("", ".", "..", "...", header, f"{header}.{payload}", f"{service.token}.", f"{header}=.a.b", "é.a.b"):
        assert not tokens.names_unknown_key(text)
    for raw in (b"[" * 150, b"\xff\xfe", b'{"typ":"at+jwt","typ":"at+jwt"}', b"x" * 10_000):
        assert not tokens.names_unknown_key(f"{b64(raw)}.a.b")


def test_keys_of_both_algorithms_serve_side_by_side() -> None:
    one, other = INSTALLATIONS["EdDSA"], INSTALLATIONS["ES256"]
    tokens = one.another()
    tokens.install([one.key, other.key], NOW)
    assert tokens.verify(one.token, NOW) == tokens.verify(other.token, NOW) == CLAIMS


def test_another_installation_takes_nothing_of_ours(service: Installation) -> None:
    tokens = service.another()
    tokens.install([tokens.generate(NOW)], NOW)
    with pytest.raises(InvalidToken):
        tokens.verify(service.token, NOW)


def test_a_key_that_no_secret_opens_is_left_out_and_named(service: Installation) -> None:
    stranger = JwtAccessTokens(ISSUER, AUDIENCE, SecretKeys([b"x" * 32]), algorithm=service.algorithm)
    foreign = stranger.generate(NOW + timedelta(seconds=1))
    tokens = service.another()
    assert tokens.install([service.key, foreign], NOW) == (foreign.kid,)
    assert tokens.verify(service.token, NOW) == CLAIMS
    assert tokens.public_keys(NOW) == (service.key.public,)
    assert jwt.get_unverified_header(tokens.issue(CLAIMS))["kid"] == service.key.kid
    assert stranger.install([service.key], NOW) == (service.key.kid,)
    for key in (replace(service.key, revoked_at=NOW), replace(service.key, retired_at=NOW)):
        assert stranger.install([key], NOW) == ()


def test_a_key_that_is_open_stays_so_however_it_is_sealed_now(service: Installation) -> None:
    """An instance that still has the old secret alone goes on, while another one rewraps."""
    rewrapping = JwtAccessTokens(ISSUER, AUDIENCE, SecretKeys([b"x" * 32, SECRET]), algorithm=service.algorithm)
    sealed = rewrapping.reseal(service.key)
    tokens = service.another()
    assert tokens.install([sealed], NOW) == (service.key.kid,)
    tokens.install([service.key], NOW)
    assert tokens.install([sealed], NOW) == ()
    assert tokens.verify(service.token, NOW) == CLAIMS


def test_resealing_makes_the_old_secret_needless(service: Installation) -> None:
    both = JwtAccessTokens(ISSUER, AUDIENCE, SecretKeys([b"x" * 32, SECRET]), algorithm=service.algorithm)
    new = JwtAccessTokens(ISSUER, AUDIENCE, SecretKeys([b"x" * 32]), algorithm=service.algorithm)
    sealed = both.reseal(service.key)
    assert sealed == replace(service.key, private=sealed.private)
    assert new.install([sealed], NOW) == ()
    assert new.verify(service.token, NOW) == CLAIMS
    assert both.reseal(sealed) is sealed
    for locked in (service.key, replace(sealed, kid="another")):
        with pytest.raises(SigningKeyLocked) as failure:
            new.reseal(locked)
        assert failure.value.kids == (locked.kid,)


def test_a_secret_that_was_replaced_still_opens_keys(service: Installation) -> None:
    tokens = JwtAccessTokens(ISSUER, AUDIENCE, SecretKeys([b"x" * 32, SECRET]))
    tokens.install([service.key], NOW)
    assert tokens.verify(service.token, NOW) == CLAIMS


def test_nothing_but_the_sealed_key_is_trusted(service: Installation) -> None:
    """Somebody who can write to the store has no key of ours, and cannot put in one of their own."""
    mine = JwtAccessTokens(ISSUER, AUDIENCE, SecretKeys([b"x" * 32]), algorithm=service.algorithm)
    foreign = mine.generate(NOW)
    other = service.tokens.generate(NOW)
    algorithm = "ES256" if service.algorithm == "EdDSA" else "EdDSA"
    tokens = service.another()
    for key in (
        replace(service.key, private=foreign.private),
        replace(service.key, private=other.private),
        replace(service.key, private=b""),
        replace(service.key, kid=foreign.kid),
        replace(service.key, kid=other.kid),
        replace(service.key, algorithm=algorithm),
        replace(service.key, algorithm="none"),
    ):
        assert tokens.install([key], NOW) == (key.kid,)
        assert tokens.public_keys(NOW) == ()
        with pytest.raises(Unavailable):
            tokens.issue(CLAIMS)
    tokens.install([replace(service.key, public=foreign.public)], NOW)
    assert tokens.public_keys(NOW) == (service.key.public,)


@pytest.mark.parametrize("kind", ["rsa", "p-384", "ed448", "another of the same kind", "rubbish"])
def test_another_key_under_our_name_is_not_installed(service: Installation, kind: str) -> None:
    """Not even where it was sealed with our secret."""
    der = b"rubbish"
    if kind == "another of the same kind":
        other = service.tokens.generate(NOW)
        der = service.secrets.open(SEALING_PURPOSE, other.private, other.kid.encode())
    elif kind != "rubbish":
        generators: dict[str, Callable[[], Any]] = {
            "rsa": lambda: generate_rsa_key(65537, 2048),
            "p-384": lambda: generate_ec_key(SECP384R1()),
            "ed448": Ed448PrivateKey.generate,
        }
        private = generators[kind]()
        der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    key = replace(service.key, private=service.secrets.seal(SEALING_PURPOSE, der, service.key.kid.encode()))
    assert service.another().install([key], NOW) == (key.kid,)


def test_a_key_of_another_curve_is_not_installed_under_its_own_name() -> None:
    service = INSTALLATIONS["ES256"]
    private = generate_ec_key(SECP384R1())
    jwk = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
    kid = b64(hashlib.sha256(json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()).digest())
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    sealed = service.secrets.seal(SEALING_PURPOSE, der, kid.encode())
    assert service.another().install([replace(service.key, kid=kid, private=sealed)], NOW) == (kid,)


def test_a_revoked_key_stays_revoked_if_the_store_denies_it(
    service: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = service.another()
    revoked = tokens.revoke(service.key, NOW)
    assert (revoked.revoked_at, revoked.kid) == (NOW, service.key.kid)
    assert tokens.install([replace(revoked, revoked_at=None)], NOW) == ()
    assert not tokens.signs_at(NOW)
    assert tokens.public_keys(NOW) == ()
    assert f"Signing key {service.key.kid} was revoked" in caplog.text
    with pytest.raises(InvalidToken):
        tokens.verify(service.token, NOW)
    tokens.check(revoked)  # its seal proves the secret


def test_a_revoked_key_is_encrypted_again_and_stays_revoked(service: Installation) -> None:
    both = JwtAccessTokens(ISSUER, AUDIENCE, SecretKeys([b"n" * 32, SECRET]))
    alone = JwtAccessTokens(ISSUER, AUDIENCE, SecretKeys([b"n" * 32]))
    for key in (service.tokens.revoke(service.key, NOW), replace(service.key, revoked_at=NOW)):
        resealed = both.reseal(key)
        assert both.reseal(resealed) is resealed
        assert alone.install([replace(resealed, revoked_at=None)], NOW) == ()
        assert not alone.signs_at(NOW)


def test_their_repr_shows_nothing(service: Installation) -> None:
    shown = repr(service.tokens) + repr(vars(service.tokens)) + repr(service.key)
    assert repr(SECRET) not in shown
    assert repr(service.key.private) not in shown


def test_a_setting_that_cannot_work_is_refused_at_the_start(service: Installation) -> None:
    for leeway in (timedelta(seconds=31), timedelta(seconds=-1)):
        with pytest.raises(ValueError, match="leeway"):
            service.another(leeway=leeway)
    with pytest.raises(ValueError, match="algorithm"):
        JwtAccessTokens(ISSUER, AUDIENCE, service.secrets, algorithm="HS256")  # type: ignore[arg-type]


# --- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "good"),
    [(0, True), (599, True), (599.999999, True), (600, False), (601, False), (10**6, False), (-30, True), (-31, False)],
)
@pytest.mark.parametrize("seen_before", [False, True])
def test_a_token_is_good_from_30_seconds_before_it_was_issued_until_it_expires(
    service: Installation, seconds: float, good: bool, seen_before: bool
) -> None:
    tokens = service.another()
    tokens.install([service.key], NOW)
    if seen_before:
        tokens.verify(service.token, NOW)
    if good:
        assert tokens.verify(service.token, NOW + timedelta(seconds=seconds)) == CLAIMS
    else:
        with pytest.raises(InvalidToken):
            tokens.verify(service.token, NOW + timedelta(seconds=seconds))


def test_without_leeway_a_token_is_good_from_its_second_on(service: Installation) -> None:
    tokens = service.another(leeway=timedelta(0))
    tokens.install([service.key], NOW)
    assert tokens.verify(service.token, NOW) == CLAIMS
    with pytest.raises(InvalidToken):
        tokens.verify(service.token, NOW - timedelta(microseconds=1))


def test_a_sign_in_that_lies_ahead_is_refused(service: Installation) -> None:
    assert service.refuses(service.forge(payload=service.payload | {"auth_time": T + 31}))


def test_the_time_counts_in_whatever_zone_it_is_given(service: Installation) -> None:
    elsewhere = datetime.fromisoformat("2026-03-01T17:39:00+05:30")  # 12:09 UTC
    assert service.tokens.verify(service.token, elsewhere) == CLAIMS
    assert service.refuses(service.token, elsewhere + timedelta(minutes=1))


@pytest.mark.parametrize("cached", [0, 1, 2, 10])
def test_tokens_that_are_known_and_tokens_that_were_forgotten_verify_alike(service: Installation, cached: int) -> None:
    tokens = service.another(cached=cached)
    tokens.install([service.key], NOW)
    several = [replace(CLAIMS, version=number) for number in range(5)]
    texts = [tokens.issue(claims) for claims in several]
    for _ in range(3):
        assert [tokens.verify(text, NOW) for text in texts] == several


def test_installing_the_same_keys_again_changes_nothing(service: Installation) -> None:
    service.tokens.install([service.key], NOW)
    assert service.tokens.verify(service.token, NOW) == CLAIMS


# --- elsewhere -------------------------------------------------------------------------------------------------------


def test_another_service_reads_the_same(service: Installation) -> None:
    claims = service.verify_elsewhere(service.token, NOW)
    assert (claims.version, claims.epoch) == (CLAIMS.version, CLAIMS.epoch)
    assert (claims.token.user_id, claims.token.session_id) == (USER, SESSION)
    assert claims.token.roles == set(CLAIMS.roles)
    assert claims.token.permissions == frozenset({"notes:edit", "users:read"})
    assert (claims.token.issued_at, claims.token.expires_at) == (CLAIMS.issued_at, CLAIMS.expires_at)
    assert (claims.token.auth_time, str(claims.token.token_id)) == (CLAIMS.auth_time, TOKEN_ID)
    forged = service.forge_text(service.token.split(".")[0], json.dumps(service.payload, indent=1).encode())
    assert service.verify_elsewhere(forged, NOW) == claims


def test_another_service_takes_no_other_key_under_our_name(service: Installation) -> None:
    jwk: dict[str, Any] = json.loads(service.key.public)
    other: dict[str, Any] = json.loads(service.tokens.generate(NOW).public)
    strange: list[object] = [None, 1, "", "x", [], "A" * 43]
    odd: list[object] = [None, 1, "x", [], {}, jwk | {"kid": other["kid"]}, other | {"kid": jwk["kid"]}]
    odd += [jwk | {name: value} for name in jwk for value in strange]
    odd += [{k: v for k, v in jwk.items() if k != name} for name in jwk]
    reader = TokenReader(ISSUER, AUDIENCE)
    reader.install(odd)
    with pytest.raises(Refused):
        reader.read(service.token)
    reader.install([*odd, jwk])
    assert reader.read(service.token) == service.elsewhere.read(service.token)
    reader.revoke(service.key.kid)
    with pytest.raises(Refused):
        reader.read(service.token)
    reader.install([jwk])
    with pytest.raises(Refused):
        reader.read(service.token)


# --- what is refused: texts ------------------------------------------------------------------------------------------


def _shapes(token: str) -> dict[str, str]:
    header, payload, signature = token.split(".")
    return {
        "nothing": "",
        "a dot": ".",
        "two dots": "..",
        "three dots": "...",
        "one part": header,
        "two parts": f"{header}.{payload}",
        "no signature": f"{header}.{payload}.",
        "no payload": f"{header}..{signature}",
        "no header": f".{payload}.{signature}",
        "four parts": f"{token}.{signature}",
        "a dot before": f".{token}",
        "a dot behind": f"{token}.",
        "five parts, as of a JWE": f"{header}.{payload}.{signature}.{signature}.{signature}",
        "white space before": f" {token}",
        "white space behind": f"{token} ",
        "a line break behind": f"{token}\n",
        "a line break within": f"{header}.{payload[:40]}\n{payload[40:]}.{signature}",
        "nul behind": f"{token}\0",
        "the scheme before": f"Bearer {token}",
        "one padding": f"{token}=",
        "two paddings": f"{token}==",
        "four paddings": f"{token}====",
        "a padded header": f"{header}=.{payload}.{signature}",
        "a padded payload": f"{header}.{payload}=.{signature}",
        "padding within": f"{header}.{payload[:40]}={payload[40:]}.{signature}",
        "plain base64": token.replace("-", "+").replace("_", "/") + "+",
        "parts in another order": f"{payload}.{header}.{signature}",
        "in capitals": token.upper(),
        "ten more": f"{token}AAAAAAAAAA",
        "one less": token[:-1],
        "letters of another script": token[:-1] + "\N{CYRILLIC SMALL LETTER A}",
        "a full-width dot": f"{header}\N{FULLWIDTH FULL STOP}{payload}.{signature}",
        "a lone surrogate": token[:-1] + "\ud800",
        "the JSON form": json.dumps({"protected": header, "payload": payload, "signature": signature}),
        "a megabyte of it": token * 2000,
        "a megabyte of dots": "." * 1_000_000,
        "a megabyte of a payload": f"{header}.{'A' * 1_000_000}.{signature}",
        "a megabyte behind": token + "A" * 1_000_000,
    }


@pytest.mark.parametrize("shape", _shapes("a.b.c"))
def test_a_text_of_another_shape_is_refused(service: Installation, shape: str) -> None:
    assert service.refuses(_shapes(service.token)[shape])


def test_no_other_text_of_the_same_bytes_is_taken(service: Installation) -> None:
    """The last character of a part has bits that a lenient decoder drops."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    parts = service.token.split(".")
    for place, part in enumerate(parts):
        for last in alphabet.replace(part[-1], ""):
            assert service.refuses(".".join([*parts[:place], part[:-1] + last, *parts[place + 1 :]]))


@pytest.mark.parametrize("version", [1, 22, 333])
def test_no_bit_can_be_turned(service: Installation, version: int) -> None:
    tokens = service.another()
    tokens.install([service.key], NOW)
    text = tokens.issue(replace(CLAIMS, version=version)).encode()
    for place in range(len(text)):
        for bit in range(8):
            turned = text[:place] + bytes([text[place] ^ 1 << bit]) + text[place + 1 :]
            with pytest.raises(InvalidToken):
                tokens.verify(turned.decode("latin-1"), NOW)


@settings(deadline=None)
@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_refused_as_an_invalid_token(text: str) -> None:
    for service in INSTALLATIONS.values():
        for candidate in (text, f"{text}.{text}.{text}", ".".join([service.token.split(".")[0], text, text])):
            with pytest.raises(InvalidToken):
                service.tokens.verify(candidate, NOW)


@settings(deadline=None)
@given(st.data())
def test_any_change_to_a_token_is_refused(data: st.DataObject) -> None:
    service = INSTALLATIONS[data.draw(st.sampled_from(ALGORITHMS))]
    token = service.token
    start = data.draw(st.integers(0, len(token)))
    end = data.draw(st.integers(start, min(len(token), start + 20)))
    changed = token[:start] + data.draw(st.text(max_size=20)) + token[end:]
    if changed != token:
        with pytest.raises(InvalidToken):
            service.tokens.verify(changed, NOW)


# --- what is refused: signatures -------------------------------------------------------------------------------------


def _with(signature: bytes) -> Callable[[Installation], str]:
    return lambda service: service.token.rpartition(".")[0] + "." + b64(signature)


SIGNATURES: dict[str, Callable[[Installation], str]] = {
    "of no bytes": _with(b""),
    "of one byte": _with(b"\0"),
    "all zeros": _with(bytes(64)),
    "all ones": _with(b"\xff" * 64),
    "r = 1, s = 1": _with((1).to_bytes(32, "big") * 2),
    "r = 1, s = 0": _with((1).to_bytes(32, "big") + bytes(32)),
    "r = 0, s = 1": _with(bytes(32) + (1).to_bytes(32, "big")),
    "r = n, s = 1": _with(P256_ORDER.to_bytes(32, "big") + (1).to_bytes(32, "big")),
    "r = n, s = n": _with(P256_ORDER.to_bytes(32, "big") * 2),
    "63 zeros": _with(bytes(63)),
    "65 zeros": _with(bytes(65)),
    "96 zeros": _with(bytes(96)),
    "128 zeros": _with(bytes(128)),
    "zeros in DER": _with(bytes.fromhex("3006020100020100")),
    "the point of order one": _with(b"\x01" + bytes(63)),
    "zeros before it": lambda s: _with(b"\0" + unb64(s.token.rpartition(".")[2]))(s),
    "zeros behind it": lambda s: _with(unb64(s.token.rpartition(".")[2]) + b"\0")(s),
    "half of it": lambda s: _with(unb64(s.token.rpartition(".")[2])[:32])(s),
    "of another token": lambda s: _with(unb64(s.tokens.issue(replace(CLAIMS, version=8)).rpartition(".")[2]))(s),
    "of the header alone": lambda s: _with(s.sign(s.token.split(".")[0]))(s),
    "of the payload alone": lambda s: _with(s.sign(s.token.split(".")[1]))(s),
}


@pytest.mark.parametrize("which", SIGNATURES)
def test_an_invalid_signature_is_refused(service: Installation, which: str) -> None:
    assert service.refuses(SIGNATURES[which](service))


def test_the_other_signature_of_es256_is_refused() -> None:
    """(r, n - s) is as good as (r, s) to the mathematics, and would be a second text of the same token."""
    service = INSTALLATIONS["ES256"]
    message, _, signature = service.token.rpartition(".")
    raw = unb64(signature)
    other = raw[:32] + (P256_ORDER - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    assert ECAlgorithm(ECAlgorithm.SHA256).verify(message.encode(), _public(service), other)
    assert service.refuses(f"{message}.{b64(other)}")


def test_the_der_form_of_es256_is_refused() -> None:
    service = INSTALLATIONS["ES256"]
    message, _, signature = service.token.rpartition(".")
    raw = unb64(signature)

    def integer(value: bytes) -> bytes:
        value = value.lstrip(b"\0")
        value = (b"\0" if value[0] & 0x80 else b"") + value
        return b"\x02" + bytes([len(value)]) + value

    inner = integer(raw[:32]) + integer(raw[32:])
    assert service.refuses(f"{message}.{b64(bytes([0x30, len(inner)]) + inner)}")


def test_the_other_signature_of_ed25519_is_refused() -> None:
    service = INSTALLATIONS["EdDSA"]
    message, _, signature = service.token.rpartition(".")
    raw = unb64(signature)
    other = raw[:32] + (int.from_bytes(raw[32:], "little") + ED25519_ORDER).to_bytes(32, "little")
    assert service.refuses(f"{message}.{b64(other)}")


def _public(service: Installation) -> Any:
    return service.private.public_key()


def _public_forms(service: Installation) -> dict[str, bytes]:
    """Our public key in every form that a careless verifier may use as a password (CVE-2022-29217)."""
    public = _public(service)
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    jwk = json.loads(service.key.public)
    raw = {
        "EdDSA": (Encoding.Raw, PublicFormat.Raw),
        "ES256": (Encoding.X962, PublicFormat.UncompressedPoint),
    }[service.algorithm]
    return {
        "pem": pem,
        "pem without its last line break": pem.rstrip(),
        "der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "raw": public.public_bytes(*raw),
        "ssh": public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        "jwk": service.key.public.encode(),
        "jwk, sorted": json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode(),
        "jwk, spaced": json.dumps(jwk).encode(),
        "jwk, bare": json.dumps({k: v for k, v in jwk.items() if k in {"kty", "crv", "x", "y"}}).encode(),
        "x": jwk["x"].encode(),
        "kid": service.key.kid.encode(),
        "nothing": b"",
    }


@pytest.mark.parametrize("form", _public_forms(INSTALLATIONS["EdDSA"]))
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_the_public_key_is_not_accepted_as_a_secret(service: Installation, form: str, algorithm: str) -> None:
    secret = _public_forms(service)[form]
    for header in (service.header | {"alg": algorithm}, service.header, {"typ": "at+jwt", "alg": algorithm}):
        message = f"{b64(json.dumps(header, separators=(',', ':')).encode())}.{service.token.split('.')[1]}"
        tag = hmac.digest(secret, message.encode(), f"sha{algorithm[2:]}")
        assert service.refuses(f"{message}.{b64(tag)}")


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 0, [], {}], ids=repr)
def test_no_algorithm_is_no_algorithm(service: Installation, algorithm: object) -> None:
    signature = service.token.rpartition(".")[2]
    for header in (service.header | {"alg": algorithm}, {"typ": "at+jwt", "alg": algorithm}, {"alg": algorithm}):
        message = f"{b64(json.dumps(header).encode())}.{service.token.split('.')[1]}"
        assert service.refuses(f"{message}.")
        assert service.refuses(f"{message}.{signature}")


def test_a_foreign_key_is_refused_under_our_name(service: Installation) -> None:
    stranger = Installation(service.algorithm)
    forged = stranger.forge(header=service.header)
    assert service.refuses(forged)
    assert service.refuses(stranger.token)


def test_an_algorithm_belongs_to_its_key() -> None:
    """With both kinds installed, neither is good under the name of the other."""
    one, other = INSTALLATIONS["EdDSA"], INSTALLATIONS["ES256"]
    tokens = one.another()
    tokens.install([one.key, other.key], NOW)
    for signer, named in ((one, other), (other, one)):
        for header in (
            named.header,
            {"typ": "at+jwt", "alg": signer.algorithm, "kid": named.key.kid},
            {"typ": "at+jwt", "alg": named.algorithm, "kid": signer.key.kid},
        ):
            with pytest.raises(InvalidToken):
                tokens.verify(signer.forge(header=header), NOW)


# --- what is refused although our key signed it ----------------------------------------------------------------------


def test_the_forger_of_these_tests_makes_good_tokens(service: Installation) -> None:
    """Else everything below would be refused for the wrong reason."""
    tokens = service.another()
    tokens.install([service.key], NOW)
    assert tokens.verify(service.forge(), NOW) == CLAIMS


HEADERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "no typ": lambda header: {k: v for k, v in header.items() if k != "typ"},
    "typ JWT": lambda header: header | {"typ": "JWT"},
    "typ jwt": lambda header: header | {"typ": "jwt"},
    "typ in capitals": lambda header: header | {"typ": "AT+JWT"},
    "typ as a media type": lambda header: header | {"typ": "application/at+jwt"},
    "typ of a refresh token": lambda header: header | {"typ": "rt+jwt"},
    "typ null": lambda header: header | {"typ": None},
    "typ a list": lambda header: header | {"typ": ["at+jwt"]},
    "no alg": lambda header: {k: v for k, v in header.items() if k != "alg"},
    "alg in lower case": lambda header: header | {"alg": header["alg"].lower()},
    "alg a list": lambda header: header | {"alg": [header["alg"]]},
    "alg by its new name": lambda header: header | {"alg": "Ed25519"},
    "alg RS256": lambda header: header | {"alg": "RS256"},
    "alg ES384": lambda header: header | {"alg": "ES384"},
    "no kid": lambda header: {k: v for k, v in header.items() if k != "kid"},
    "an unknown kid": lambda header: header | {"kid": "A" * 43},
    "a kid like a path": lambda header: header | {"kid": "../../../dev/null"},
    "a kid like SQL": lambda header: header | {"kid": "' OR 1=1 --"},
    "kid null": lambda header: header | {"kid": None},
    "kid a number": lambda header: header | {"kid": 0},
    "kid a list": lambda header: header | {"kid": [header["kid"]]},
    "crit of nothing": lambda header: header | {"crit": []},
    "crit of something unknown": lambda header: header | {"crit": ["x"], "x": 1},
    "crit of b64": lambda header: header | {"crit": ["b64"], "b64": True},
    "crit of b64, not encoded": lambda header: header | {"crit": ["b64"], "b64": False},
    "crit null": lambda header: header | {"crit": None},
    "jku": lambda header: header | {"jku": "https://attacker.example/jwks.json"},
    "jku of ours": lambda header: header | {"jku": ISSUER + "/.well-known/jwks.json"},
    "x5u": lambda header: header | {"x5u": "file:///etc/passwd"},
    "x5c": lambda header: header | {"x5c": ["MIIB"]},
    "x5t": lambda header: header | {"x5t": "x"},
    "x5t#S256": lambda header: header | {"x5t#S256": "x"},
    "jwk": lambda header: header | {"jwk": {"kty": "oct", "k": "AAAA"}},
    "zip": lambda header: header | {"zip": "DEF"},
    "enc": lambda header: header | {"enc": "A128GCM"},
    "cty": lambda header: header | {"cty": "JWT"},
    "a member of no meaning": lambda header: header | {"x": 1},
    "nothing": lambda _: {},
    "a list": lambda header: [header],
    "a string": lambda header: header["kid"],
    "a number": lambda _: 1,
}


@pytest.mark.parametrize("which", HEADERS)
def test_another_header_is_refused(service: Installation, which: str) -> None:
    assert service.refuses(service.forge(header=HEADERS[which](dict(service.header))))


@pytest.mark.parametrize(
    "text",
    [
        '{"typ":"at+jwt","alg":"none","alg":"ALG","kid":"KID"}',
        '{"typ":"at+jwt","alg":"ALG","alg":"none","kid":"KID"}',
        '{"typ":"JWT","typ":"at+jwt","alg":"ALG","kid":"KID"}',
        '{"typ":"at+jwt","alg":"ALG","kid":"KID","kid":"KID"}',
        '{"typ":"at+jwt","alg":"ALG","kid":"KID"} ',
        '{"typ":"at+jwt","alg":"ALG","kid":"KID"}{}',
        '\ufeff{"typ":"at+jwt","alg":"ALG","kid":"KID"}',
        '{"typ":"at+jwt","alg":"ALG","kid":"KID"',
        "",
        "[" * 5000,
    ],
)
def test_another_text_of_a_header_is_refused(service: Installation, text: str) -> None:
    text = text.replace("ALG", service.algorithm).replace("KID", service.key.kid)
    assert service.refuses(service.forge_text(b64(text.encode()), json.dumps(service.payload).encode()))


NO_NUMBERS: list[Any] = [None, True, False, -1, 1.5, "", "x", "0", [], {}, [[]], "\ud800", "\0"]
ODD: list[Any] = [*NO_NUMBERS, 0, 1]
OTHER_VALUES: dict[str, list[Any]] = {
    "iss": [*ODD, ISSUER + "/", ISSUER.upper(), "http://ubr.example", [ISSUER], "https://attacker.example"],
    "aud": [*ODD, [AUDIENCE], [AUDIENCE, "other"], "UBR", "ubr "],
    "client_id": [*ODD, "UBR", ["ubr"], "other"],
    "sub": [*ODD, str(USER).upper(), USER.hex, f"{{{USER}}}", f"urn:uuid:{USER}", f" {USER}", f"{USER}\n", [str(USER)]],
    "sid": [*ODD, str(SESSION).upper(), SESSION.hex, f"{{{SESSION}}}", f"urn:uuid:{SESSION}", str(SESSION)[:-1] + "٢"],
    "jti": [*ODD, TOKEN_ID.upper(), TOKEN_ID.replace("-", ""), 10**30],
    "iat": [*NO_NUMBERS, str(T), float(T), T + 31, 2**63, 10**400, -(10**400), [T]],
    "exp": [*ODD, str(T + 600), float(T + 600), T, T - 1, 253402300800, 2**63, 2**64, 10**400, -(10**400), [T + 600]],
    "auth_time": [*NO_NUMBERS, str(T), float(T), T + 31, 2**63, 10**400],
    "ver": [*NO_NUMBERS, "7", 7.0, 2**63, 10**400],
    "epoch": [*ODD, "0123456789ABCDEF", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeg", [7]],
    "roles": [None, True, 0, 1.5, "", "user", {}, {"user": True}, [1], [None], [["user"]], ["user", True]],
    "permissions": [True, 0, 1.5, "", "*", "notes:edit", [], {}, {"*": True}, [1], [None], [["*"]], ["*", True]],
    "ext": [*NO_NUMBERS, 0, 1, "{}", ["a"], {"a": "x" * 2048}, {"a": [[[[[[[[]]]]]]]]}, {"a": 2**53}, {"a": "\ud800"}],
}


@pytest.mark.parametrize("claim", OTHER_VALUES)
def test_another_value_of_a_claim_is_refused(service: Installation, claim: str) -> None:
    for value in OTHER_VALUES[claim]:
        assert service.refuses(service.forge(payload=service.payload | {claim: value})), value


@pytest.mark.parametrize("claim", sorted(OTHER_VALUES.keys() - {"permissions", "ext"}))
def test_a_missing_claim_is_refused(service: Installation, claim: str) -> None:
    assert service.refuses(service.forge(payload={k: v for k, v in service.payload.items() if k != claim}))


@pytest.mark.parametrize("claim", [{"nbf": T}, {"nbf": T + 10**6}, {"cnf": {"jkt": "x"}}, {"scope": "x"}, {"Exp": 1}])
def test_a_claim_that_is_not_known_is_refused(service: Installation, claim: dict[str, Any]) -> None:
    assert service.refuses(service.forge(payload=service.payload | claim))


def test_a_payload_of_another_form_is_refused(service: Installation) -> None:
    header = service.token.split(".")[0]
    good = json.dumps(service.payload)
    for payload in (
        good[:-1] + f', "exp": {T + 10**6}}}',
        f'{{"sub": "{SESSION}", ' + good[1:],
        good.replace(str(T + 600), f"{T + 600}.0"),
        good.replace(str(T + 600), f"{T + 600}e0"),
        good.replace(str(T + 600), "NaN"),
        good.replace(str(T + 600), "Infinity"),
        good.replace(str(T + 600), "9" * 5000),
        good.replace(str(T + 600), f"0{T + 600}"),
        good.replace('["user", "editor"]', "[" * 2500 + "]" * 2500),
        good.replace('["user", "editor"]', "[" * 5000),
        good + "x",
        good + good,
        "\ufeff" + good,
        good[:-1],
        "null",
        "true",
        "0",
        '""',
        "[]",
        "{}",
        f"[{good}]",
        "[" * 5000,
        '{"a":' * 1000,
        "",
    ):
        assert service.refuses(service.forge_text(header, payload.encode())), payload[:100]
    for raw in (good.encode("utf-16"), good.encode("utf-32-le"), b"\xff" + good.encode(), b"\x80" * 100, bytes(100)):
        assert service.refuses(service.forge_text(header, raw))


def test_white_space_in_a_payload_that_we_signed_does_no_harm(service: Installation) -> None:
    forged = service.forge_text(service.token.split(".")[0], json.dumps(service.payload, indent=1).encode())
    assert service.tokens.verify(forged, NOW) == CLAIMS


def test_a_token_longer_than_the_bound_is_refused_even_if_good(service: Installation) -> None:
    longer = service.payload | {"roles": [f"r{number:049}" for number in range(120)]}
    forged = service.forge(payload=longer)
    assert len(forged) > MAX_TOKEN_LENGTH
    assert service.refuses(forged)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([T, T + 600, ISSUER]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.sampled_from(ALGORITHMS), st.dictionaries(st.sampled_from(sorted(OTHER_VALUES)), JSON, max_size=3))
def test_every_signed_text_is_valid_claims_or_an_invalid_token(algorithm: Algorithm, changed: dict[str, Any]) -> None:
    service = INSTALLATIONS[algorithm]
    try:
        claims = service.tokens.verify(service.forge(payload=service.payload | changed), NOW)
    except InvalidToken:
        return
    assert service.tokens.verify(service.tokens.issue(claims), NOW) == claims


@settings(deadline=None)
@given(st.sampled_from(ALGORITHMS), st.binary(), st.binary())
def test_signed_random_bytes_are_refused(algorithm: Algorithm, header: bytes, payload: bytes) -> None:
    service = INSTALLATIONS[algorithm]
    for text in (b64(header), service.token.split(".")[0]):
        with pytest.raises(InvalidToken):
            service.tokens.verify(service.forge_text(text, payload), NOW)
