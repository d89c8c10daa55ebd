"""The addresses to which a page may lead: paths of its own origin, and listed origins. No other, in any disguise."""

from __future__ import annotations

import pytest

from ubr.entrypoints.http.pages.return_to import checked, is_own, origin_of

LISTED = ("https://app.example.org", "https://b.example.org:8443")


@pytest.mark.parametrize(
    "address",
    [
        "/",
        "/account/sessions",
        "/somewhere?a=b&c=%2F%2Fd#e",
        "/%2F/x",
        "/a//b",
        "/a:b",
        "https://app.example.org",
        "https://app.example.org/",
        "https://app.example.org/a?b=c#d",
        "https://app.example.org?next=https://evil.example",
        "https://b.example.org:8443/x",
    ],
)
def test_taken(address: str) -> None:
    assert checked(address, LISTED) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "//evil.example",
        "///evil.example",
        "////evil.example",
        "/\\evil.example",
        "\\/evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "\t//evil.example",
        "/\n/evil.example",
        "/\r\nset-cookie: a=b",
        "/\x00/evil.example",
        " //evil.example",
        "/ /evil.example",
        "/\u2028/evil.example",
        "/ä",
        "account",
        "evil.example",
        ".//evil.example",
        "javascript:alert(1)",
        "JAVASCRIPT:alert(1)",
        "data:text/html,x",
        "http://app.example.org/",
        "HTTPS://app.example.org/",
        "https:app.example.org",
        "https:/app.example.org",
        "https:\\\\app.example.org",
        "https://app.example.org.evil.example/",
        "https://app.example.orgevil.example/",
        "https://app.example.org@evil.example/",
        "https://app.example.org:443@evil.example/",
        "https://app.example.org:443/",
        "https://app.example.org\\@evil.example/",
        "https://user@app.example.org/",
        "https://evil.example/https://app.example.org/",
        "https://evil.example?https://app.example.org/",
        "https://evil.example",
        "https://b.example.org/",
        "https://b.example.org:84433/",
        "https://app%2Eexample.org/",
        "https://\u0430pp.example.org/",
        "//app.example.org/",
        "/@evil.example",
        "/[::1]",
        "/" + "a" * 2048,
    ],
)
def test_refused(address: str) -> None:
    assert checked(address, LISTED) is None


def test_without_an_address_there_is_none() -> None:
    assert checked(None, LISTED) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/account", True),
        ("/account/sessions", True),
        ("/console/users?q=a", True),
        ("/accounting", False),
        ("/account:evil", False),
        ("/account/../x", False),
        ("/account/x:y", False),
        ("/else", False),
    ],
)
def test_pages_of_the_service_are_known(path: str, expected: bool) -> None:
    assert is_own(path) is expected


def test_the_origin_of_an_address() -> None:
    assert origin_of("/account", LISTED) is None
    assert origin_of("https://b.example.org:8443/x", LISTED) == LISTED[1]


def test_an_origin_may_begin_with_another_one() -> None:
    origins = ("http://localhost", "http://localhost:3000")
    assert [origin_of(f"{each}/start", origins) for each in origins] == list(origins)
    assert checked("http://localhost:3000/start", origins) == "http://localhost:3000/start"
    assert checked("http://localhost:30/start", origins) is None
