"""All inputs of the application in one value: adapters, and decisions of the operator."""

from __future__ import annotations

import msgspec

from ubr.application.access.session_cache import CAPACITY, CacheTimes
from ubr.application.kernel.home_loop import HomeLoop
from ubr.application.kernel.hooks import Hooks
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.ports.accounts import CommonPasswords, GuessablePasswords, LinkTokenMint, PasswordHasher
from ubr.application.ports.audit import LogSigning
from ubr.application.ports.hosting import Hosting
from ubr.application.ports.keys import AccessTokens
from ubr.application.ports.machines import MachineKeyMint
from ubr.application.ports.mail import Mailer, MailRenderer
from ubr.application.ports.metrics import Metrics
from ubr.application.ports.protection import RateLimitStore
from ubr.application.ports.revocation import ChangeFeed, ChangeNotifier, Elapsed
from ubr.application.ports.secrets import Signer
from ubr.application.ports.sessions import RefreshTokenMint, SessionCookieMint
from ubr.application.ports.system import Clock, NewId
from ubr.application.ports.unit_of_work import Store, UnitOfWork
from ubr.application.protection.rate_limits import Quotas
from ubr.application.sessions.token_issuer import TokenClaims
from ubr.domain.accounts.user_fields import NO_FIELDS, UserFields


class SecurityPorts(msgspec.Struct, frozen=True, kw_only=True):
    """Hashing, signing and encryption: the same in every environment."""

    signer: Signer
    hasher: PasswordHasher
    is_common: CommonPasswords
    is_guessable: GuessablePasswords
    access_tokens: AccessTokens
    refresh_tokens: RefreshTokenMint
    session_cookies: SessionCookieMint
    link_tokens: LinkTokenMint
    machine_keys: MachineKeyMint
    log_signing: LogSigning


class OperatorDecisions(msgspec.Struct, frozen=True, kw_only=True):
    """Decisions of the operator."""

    policy: OperatorPolicy
    quotas: Quotas
    times: CacheTimes
    cached_sessions: int = CAPACITY
    """Maximum number of sessions that a worker keeps in memory."""


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Provided by an environment. `background_…` adapters have separate connections, which requests cannot take.

    If background jobs shared connections with requests, a storm of requests would make the session cache stale, and
    with it every request that needs no database.
    """

    clock: Clock
    elapsed: Elapsed
    home: HomeLoop
    new_id: NewId

    store: Store
    unit_of_work: UnitOfWork
    hosting: Hosting
    background_unit_of_work: UnitOfWork
    feed: ChangeFeed
    background_feed: ChangeFeed
    notifier: ChangeNotifier
    rate_limit_store: RateLimitStore

    mailer: Mailer
    renderer: MailRenderer

    metrics: Metrics
    hooks: Hooks
    token_claims: TokenClaims | None = None
    user_fields: UserFields = NO_FIELDS
    security: SecurityPorts
    decisions: OperatorDecisions
