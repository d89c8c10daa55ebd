"""The adapters that hash, sign and encrypt: the same in every environment."""

from __future__ import annotations

from ubr.adapters.security.bound_passwords import BoundPasswordHasher
from ubr.adapters.security.link_tokens import OpaqueLinkTokens
from ubr.adapters.security.log_signing import Ed25519LogSigning
from ubr.adapters.security.machine_keys import SealedMachineKeys
from ubr.adapters.security.password_strength import is_guessable
from ubr.adapters.security.passwords import Argon2PasswordHasher
from ubr.adapters.security.refresh_tokens import OpaqueRefreshTokens
from ubr.adapters.security.secrets import HmacSigner, SecretKeys
from ubr.adapters.security.session_cookies import SignedSessionCookies
from ubr.adapters.security.system import random_bytes
from ubr.adapters.security.tokens import JwtAccessTokens
from ubr.application.ports.metrics import Metrics
from ubr.bootstrap.decisions import common_of, hashing_threads
from ubr.bootstrap.ports import SecurityPorts
from ubr.settings import Settings


def hasher_of(settings: Settings, metrics: Metrics) -> Argon2PasswordHasher:
    """It has its own threads, and must be closed."""
    return Argon2PasswordHasher(
        settings.argon2_memory_kib,
        settings.argon2_time,
        settings.argon2_parallelism,
        workers=hashing_threads(settings),
        metrics=metrics,
    )


def security_of(settings: Settings, hasher: Argon2PasswordHasher) -> SecurityPorts:
    """Errors: `WrongSetting` if the operator's list of passwords cannot be used."""
    secret_keys = SecretKeys(settings.secret_keys)
    signer = HmacSigner(secret_keys)
    return SecurityPorts(
        signer=signer,
        hasher=BoundPasswordHasher(hasher, secret_keys),
        is_common=common_of(settings),
        is_guessable=is_guessable,
        access_tokens=JwtAccessTokens(
            settings.issuer, settings.audience, secret_keys, algorithm=settings.jwt_algorithm
        ),
        refresh_tokens=OpaqueRefreshTokens(secret_keys),
        session_cookies=SignedSessionCookies(signer),
        link_tokens=OpaqueLinkTokens(),
        machine_keys=SealedMachineKeys(secret_keys),
        log_signing=Ed25519LogSigning(secret_keys, settings.issuer, random_bytes),
    )
