"""Accounts and their passwords."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from ubr.domain.accounts.passwords import (
    PASSWORD_MIN_LENGTH_CEILING,
    PASSWORD_MIN_LENGTH_DEFAULT,
    PASSWORD_MIN_LENGTH_FLOOR,
)
from ubr.settings.declaration import setting
from ubr.settings.rate_limit import LoginRateLimit, RateLimit, parse_login_rate_limit, parse_rate_limit
from ubr.settings.values import duration, one_of, parse_file, whole


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class AccountSettings:
    """The settings of accounts and their passwords."""

    registration: Literal["open", "verified", "closed"] = setting(
        one_of("open", "verified", "closed"),
        "open",
        "Self-registration: `open`, `verified` (with a mailed link) or `closed`.",
    )
    login_rate_limit: LoginRateLimit = setting(
        parse_login_rate_limit,
        "10/minute,100/minute",
        "Maximum number of failed logins, per account and per client IP, in a `second`, `minute`, `hour` or `day`; "
        "`off` disables one of them. A single `off` is for benchmarks: it disables every limit of `docs/limits.md`.",
    )
    session_rate_limit: RateLimit = setting(
        parse_rate_limit, "100/hour", "Maximum number of successful logins per account, or `off`."
    )
    client_session_rate_limit: RateLimit = setting(
        parse_rate_limit, "1000/hour", "Maximum number of successful logins per client IP, or `off`."
    )
    refresh_rate_limit: RateLimit | None = setting(
        parse_rate_limit,
        None,
        "Maximum number of refreshes per session, or `off`.",
        otherwise="`120/hour`, or four refreshes per `UBR_ACCESS_TOKEN_LIFETIME` if that is more",
    )
    own_change_rate_limit: RateLimit = setting(
        parse_rate_limit,
        "100/hour",
        "Maximum number of changes that a user makes to their own account (full name, e-mail, password), and of "
        "exports of their own data, or `off`.",
    )
    verifier_rate_limit: RateLimit = setting(
        parse_rate_limit, "200/hour", "Maximum number of verifiers that a user registers, or `off`."
    )
    registration_rate_limit: RateLimit = setting(
        parse_rate_limit, "60/hour", "Maximum number of registrations per client IP, or `off`."
    )
    mail_rate_limit: RateLimit = setting(
        parse_rate_limit, "30/hour", "Maximum number of requested mails per client IP, or `off`."
    )
    recipient_rate_limit: RateLimit = setting(
        parse_rate_limit, "5/hour", "Maximum number of requested mails of one kind per e-mail, or `off`."
    )
    machine_rate_limit: RateLimit = setting(
        parse_rate_limit, "1000/hour", "Maximum number of logins of machines per key, or `off`."
    )
    invalid_key_rate_limit: RateLimit = setting(
        parse_rate_limit, "100/minute", "Maximum number of refused logins of machines per client IP, or `off`."
    )
    machine_key_max_lifetime: timedelta | None = setting(
        duration("1h", "3650d"),
        None,
        "The longest life of a new key of a machine. A key that is created without an end gets this one.",
        otherwise="no limit",
    )
    invalid_refresh_rate_limit: RateLimit = setting(
        parse_rate_limit, "100/minute", "Maximum number of invalid refresh tokens per client IP, or `off`."
    )
    invalid_link_rate_limit: RateLimit = setting(
        parse_rate_limit, "30/minute", "Maximum number of invalid one-time links per client IP, or `off`."
    )
    password_min_length: int = setting(
        whole(PASSWORD_MIN_LENGTH_FLOOR, PASSWORD_MIN_LENGTH_CEILING),
        str(PASSWORD_MIN_LENGTH_DEFAULT),
        f"Minimum length of a new password, {PASSWORD_MIN_LENGTH_FLOOR} to {PASSWORD_MIN_LENGTH_CEILING}. "
        "Common passwords of any length are rejected.",
    )
    password_block_list: str | None = setting(
        parse_file,
        None,
        "A file with further forbidden passwords, in addition to the common ones: UTF-8, one per line, no comments, at "
        "most 1,000,000 lines. Read at start; an unreadable file prevents the start.",
    )
    user_fields_file: str | None = setting(
        parse_file,
        None,
        "A JSON file that declares further fields of users: see `docs/fields.md`. Read at start; a file that cannot be "
        "used prevents the start.",
    )
    # The maximum costs of Argon2 are those of the hasher. A test compares them, because no module imports the other.
    argon2_memory_kib: int = setting(
        whole(19456, 262144),
        "19456",
        "Memory for hashing a password, in KiB. The default is the minimum, 262144 the maximum.",
    )
    argon2_time: int = setting(
        whole(2, 16), "2", "Number of passes over that memory. The default is the minimum, 16 the maximum."
    )
    argon2_parallelism: int = setting(whole(1, 16), "1", "Number of lanes in that memory, 16 at most.")
