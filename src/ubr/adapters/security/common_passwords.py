"""The passwords that everybody tries first, out of a list that comes along: nobody outside is asked."""

from __future__ import annotations

from functools import cache


def is_common(password: str) -> bool:
    return password in _listed()


@cache
def _listed() -> frozenset[str]:
    """30,000 from leaks, in lower case."""
    # A twentieth of a second and 16 MB: for processes in which somebody sets a password.
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # noqa: PLC0415

    return frozenset(FREQUENCY_LISTS["passwords"])
