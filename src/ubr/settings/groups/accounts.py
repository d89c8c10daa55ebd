"""Accounts and their passwords."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ubr.domain.accounts.passwords import (
    PASSWORD_MIN_LENGTH_CEILING,
    PASSWORD_MIN_LENGTH_DEFAULT,
    PASSWORD_MIN_LENGTH_FLOOR,
)
from ubr.settings.declaration import setting
from ubr.settings.rate_limit import LoginRateLimit, parse_login_rate_limit
from ubr.settings.values import one_of, parse_file, whole


@dataclass(frozen=True, kw_only=True)
class AccountSettings:
    registration: Literal["open", "verified", "closed"] = setting(
        one_of("open", "verified", "closed"),
        "open",
        "Whether anyone may make an account: `open`, `verified` (with a link that is mailed) or `closed`.",
    )
    login_rate_limit: LoginRateLimit = setting(
        parse_login_rate_limit,
        "10/minute,100/minute",
        "How many logins may fail, per account and per client IP, in a `second`, `minute`, `hour` or `day`; `off` in "
        "place of one of them. A single `off` is for benchmarks: it switches off every limit of `docs/limits.md`.",
    )
    password_min_length: int = setting(
        whole(PASSWORD_MIN_LENGTH_FLOOR, PASSWORD_MIN_LENGTH_CEILING),
        str(PASSWORD_MIN_LENGTH_DEFAULT),
        f"The fewest characters of a new password, {PASSWORD_MIN_LENGTH_FLOOR} to {PASSWORD_MIN_LENGTH_CEILING}. "
        "Common passwords are refused, however long.",
    )
    password_block_list: str | None = setting(
        parse_file,
        None,
        "A file with passwords that nobody may set, beside the common ones: UTF-8, one a line, no comments, 1,000,000 "
        "lines at most. Read at start; one that cannot be read stops it.",
    )
    # The most that Argon2 may cost is what the hasher takes. A test holds the two together: neither imports the other.
    argon2_memory_kib: int = setting(
        whole(19456, 262144),
        "19456",
        "The memory that hashing a password takes, in KiB. The default is the least, 262144 the most.",
    )
    argon2_time: int = setting(whole(2, 16), "2", "The passes over that memory. The default is the least, 16 the most.")
    argon2_parallelism: int = setting(whole(1, 16), "1", "The lanes in that memory, 16 at most.")
