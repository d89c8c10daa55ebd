"""Conversion of settings to the operator's decisions."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Final

from ubr.adapters.security.common_passwords import common_and_listed, is_common
from ubr.adapters.security.passwords import cores
from ubr.application.access.session_cache import CacheTimes
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.ports.accounts import CommonPasswords
from ubr.application.ports.protection import Quota
from ubr.application.protection.rate_limits import Quotas
from ubr.bootstrap.ports import OperatorDecisions
from ubr.domain.keys.access_token import MAX_UNIT_DURATION
from ubr.domain.keys.signing_key import LEEWAY
from ubr.domain.roles.permissions import Permission, Permissions
from ubr.domain.sessions.session import SessionLimits
from ubr.settings import Limit, LoginRateLimit, RateLimit, Settings, WrongSetting

_REFRESHES: Final = 120


def decisions_of(settings: Settings) -> OperatorDecisions:
    return OperatorDecisions(
        policy=policy_of(settings),
        quotas=quotas_of(settings),
        times=times_of(settings),
        cached_sessions=settings.session_cache_size,
    )


def policy_of(settings: Settings) -> OperatorPolicy:
    """The operator's policy for the use cases."""
    return OperatorPolicy(
        registration=settings.registration,
        password_min_length=settings.password_min_length,
        access_token_lifetime=settings.access_token_lifetime,
        sessions=SessionLimits(
            idle=settings.session_idle, lifetime=settings.session_lifetime, per_user=settings.sessions_per_user
        ),
        refresh_retry_window=settings.refresh_retry_window,
        log_all_refreshes=settings.audit_refreshes == "all",
        verifiers_per_user=settings.verifiers_per_user,
        machine_key_max_lifetime=settings.machine_key_max_lifetime,
        own_permissions=Permissions.of(Permission(name) for name in settings.permissions),
    )


def common_of(settings: Settings) -> CommonPasswords:
    """The passwords that are not allowed. Errors: `WrongSetting` if the operator's list cannot be used."""
    path = settings.password_block_list
    if path is None:
        return is_common
    try:
        return common_and_listed(path)
    except ValueError as error:
        raise WrongSetting(f"UBR_PASSWORD_BLOCK_LIST names {path}, which {error}.") from None


def quotas_of(settings: Settings) -> Quotas:
    """The quotas. If the operator turns off both limits, all other quotas are off too."""
    chosen = settings.login_rate_limit
    if chosen == LoginRateLimit(None, None):
        return Quotas.off()
    return Quotas(
        account=_quota(chosen.per_account),
        log_in=_quota(chosen.per_ip),
        sessions=_quota(settings.session_rate_limit.limit),
        client_sessions=_quota(settings.client_session_rate_limit.limit),
        refreshes=_quota((settings.refresh_rate_limit or _usual_refreshes(settings)).limit),
        own_changes=_quota(settings.own_change_rate_limit.limit),
        verifiers=_quota(settings.verifier_rate_limit.limit),
        registrations=_quota(settings.registration_rate_limit.limit),
        mails=_quota(settings.mail_rate_limit.limit),
        mails_to_one=_quota(settings.recipient_rate_limit.limit),
        machine_logins=_quota(settings.machine_rate_limit.limit),
        bad_keys=_quota(settings.invalid_key_rate_limit.limit),
        bad_refreshes=_quota(settings.invalid_refresh_rate_limit.limit),
        bad_links=_quota(settings.invalid_link_rate_limit.limit),
    )


def _usual_refreshes(settings: Settings) -> RateLimit:
    """A client refreshes once per access token, or somewhat more often if its clock or its network is bad."""
    hour = timedelta(hours=1)
    return RateLimit(Limit(max(_REFRESHES, math.ceil(4 * hour / settings.access_token_lifetime)), hour))


def _quota(limit: Limit | None) -> Quota | None:
    return None if limit is None else Quota(limit=limit.count, per=limit.per)


def hashing_threads(settings: Settings) -> int:
    """One thread per core, shared among the workers of a service: more would only slow each one down."""
    return max(1, cores() // settings.workers)


def times_of(settings: Settings) -> CacheTimes:
    """The poll interval of the feed, and the maximum delay of an end."""
    return CacheTimes(
        poll=settings.revocation_poll.total_seconds(),
        bound=settings.revocation_bound.total_seconds(),
        horizon=(settings.access_token_lifetime + LEEWAY + MAX_UNIT_DURATION).total_seconds(),
    )
