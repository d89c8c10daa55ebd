"""The device of a session, from its user agent."""

from __future__ import annotations

import pytest

from ubr.entrypoints.http.pages.devices import device

WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile Safari/604.1"
ANDROID = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537"


@pytest.mark.parametrize(
    ("user_agent", "expected"),
    [
        (WINDOWS, ("Chrome", "Windows")),
        (f"{WINDOWS} Edg/140.0", ("Edge", "Windows")),
        (f"{WINDOWS} OPR/120.0", ("Opera", "Windows")),
        (MAC, ("Safari", "macOS")),
        (PHONE, ("Safari", "iPhone")),
        (ANDROID, ("Chrome", "Android")),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", ("Firefox", "Linux")),
        ("curl/8.5.0", ("curl", None)),
        ("notes-service/1.2 (+https://example.org)", ("notes-service", None)),
        ("x" * 100, ("x" * 40, None)),
        ("", (None, None)),
        (None, (None, None)),
    ],
)
def test_a_device_is_named(user_agent: str | None, expected: tuple[str | None, str | None]) -> None:
    assert device(user_agent) == expected
