"""Settings that are valid and unsafe: the secret, addresses, proxies and rate limits."""

from __future__ import annotations

import re
from dataclasses import fields
from itertools import pairwise
from typing import Final
from urllib.parse import urlsplit

from ubr.bootstrap import check_files
from ubr.entrypoints.addresses import unclear_addresses
from ubr.entrypoints.cli.doctor.addresses import host_of, is_this_machine
from ubr.entrypoints.findings import Finding, error, ok, or_ok, warning
from ubr.extras import MissingExtra
from ubr.settings import LoginRateLimit, RateLimit, Settings, WrongSetting, check_embedded_files

_TYPED: Final = re.compile(r"secret|password|change|example|default|replace|insert|your[-_ ]", re.IGNORECASE)
"""Parts of a text that a person has typed. Random characters hardly ever contain one."""
_MANY: Final = 256
"""Addresses in a network of proxies that is not suspicious."""


def check_settings(settings: Settings) -> list[Finding]:
    """The settings that refer to files."""
    found = []
    for check in (check_embedded_files, check_files):
        try:
            check(settings)
        except WrongSetting as wrong:
            found += [error("settings", sentence) for sentence in wrong.sentences]
        except MissingExtra as missing:
            found.append(error("settings", f"{missing}."))
    return or_ok(found, "settings", "All settings can be used.")


def check_secret(settings: Settings) -> list[Finding]:
    if not settings.secret_keys:
        return [ok("secret", "The first start generates one.")]
    patterns = [number for number, secret in enumerate(settings.secret_keys, start=1) if _is_pattern(secret)]
    found = [
        error(
            "secret",
            f"Secret {number} of UBR_SECRET_KEY looks like an example or a pattern, which an attacker can guess: put "
            "the output of `openssl rand -hex 32` in front of the list, run `ubr keys rewrap`, and remove the others "
            "later, as docs/keys.md describes.",
        )
        for number in patterns
    ]
    return or_ok(found, "secret", "The secret looks random.")


def _is_pattern(secret: bytes) -> bool:
    text = secret.decode(errors="replace")
    if _TYPED.search(text):
        return True
    period = next(size for size in range(1, len(secret) + 1) if secret == (secret[:size] * len(secret))[: len(secret)])
    steps = [abs(second - first) for first, second in pairwise(secret)]
    return period <= len(secret) // 2 or steps.count(1) + steps.count(0) > len(steps) // 2


def check_addresses(settings: Settings) -> list[Finding]:
    named = {
        "UBR_PUBLIC_URL": settings.public_url,
        "UBR_ISSUER": None if settings.issuer == settings.public_url else settings.issuer,
        "UBR_RETURN_URL": settings.return_url,
    }
    found = [
        warning("addresses", f"{name} is {url}: passwords and tokens would cross the network in the clear. Use https.")
        for name, url in named.items()
        if url is not None and _is_plain(url)
    ]
    found += [
        warning("addresses", f"{name} contains {origin}, whose pages anyone on the way can change. Use https.")
        for name, origins in (
            ("UBR_CORS_ORIGINS", settings.cors_origins),
            ("UBR_RETURN_ORIGINS", settings.return_origins),
        )
        for origin in origins
        if _is_plain(origin)
    ]
    found += [warning("addresses", sentence) for sentence in unclear_addresses(settings)]
    return or_ok(found, "addresses", f"The issuer of tokens is {settings.issuer}.")


def _is_plain(url: str) -> bool:
    return urlsplit(url).scheme == "http" and not is_this_machine(host_of(url))


def check_proxies(settings: Settings) -> list[Finding]:
    proxies = settings.trusted_proxies
    if isinstance(proxies, int):
        return [ok("proxies", f"The last {proxies} addresses of X-Forwarded-For are trusted.")]
    found = [
        warning(
            "proxies",
            f"UBR_TRUSTED_PROXIES contains the public network {network}: every machine in it can claim any client IP, "
            "and escape the rate limits. Name only your proxies.",
        )
        for network in proxies
        if not network.is_private and network.num_addresses > _MANY
    ]
    return or_ok(found, "proxies", "Trusted proxies are in small or private networks." if proxies else "None is set.")


def check_rate_limits(settings: Settings) -> list[Finding]:
    if settings.login_rate_limit == LoginRateLimit(None, None):
        return [
            error(
                "rate limits",
                "UBR_LOGIN_RATE_LIMIT is off, which disables every limit: anyone can try passwords without end. Unset "
                "it outside of benchmarks.",
            )
        ]
    found = []
    for each in fields(settings):
        value = getattr(settings, each.name)
        if value == RateLimit(None) or (
            isinstance(value, LoginRateLimit) and None in {value.per_account, value.per_ip}
        ):
            name = f"UBR_{each.name.upper()}"
            found.append(warning("rate limits", f"{name} is {value}: a client can repeat these requests without end."))
    return or_ok(found, "rate limits", "Every limit is on.")
