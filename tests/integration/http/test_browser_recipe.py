"""The program of docs/browsers.md, run unchanged in a browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.chromium import Tab, chromium
from tests.support.papers import blocks_of
from tests.support.service import ADMIN, ADMIN_EMAIL, ADMIN_PASSWORD, serving


@pytest.mark.long
async def test_tabs_refresh_once_and_end_together(tmp_path: Path) -> None:
    (block,) = blocks_of("docs/browsers.md", "js")
    async with chromium(tmp_path) as tab:
        with serving(tmp_path, ADMIN) as service:
            await tab.call("Page.navigate", url=f"{service.url}/reset-password")
            await tab.until("document.readyState === 'complete' && document.querySelector('#message')")
            await tab.value(block.text.replace("const KEY", "globalThis.KEY").replace("export ", "") + "\n0")
            # Two tabs share storage and locks, and nothing else; so do two of these.
            await tab.value("globalThis.one = session(''); globalThis.two = session(''); 0")
            login = f"one.logIn({ADMIN_EMAIL!r}, {ADMIN_PASSWORD!r})"
            assert await tab.value("one.call('/api/users/me')") is None
            assert await tab.value(login) is True
            both = "Promise.all([one, two, one, two].map(async (each) => (await each.call('/api/users/me')).status))"
            assert await tab.value(both) == [200] * 4
            assert refreshes(tab) == 0

            # Both slept for longer than an access token lasts.
            change = "{{ const now = JSON.parse(localStorage[KEY]); {0}; localStorage[KEY] = JSON.stringify(now); }} 0"
            await tab.value(change.format("now.until = 0"))
            assert await tab.value(both) == [200] * 4
            assert refreshes(tab) == 1

            # ubr accepts the access token no more, before it expires.
            await tab.value(change.format("now.access_token += 'x'"))
            assert await tab.value(both) == [200] * 4
            assert refreshes(tab) == 2

            # The session ends elsewhere.
            await tab.value("one.call('/api/auth/logout', { method: 'POST' }).then((answer) => answer.status)")
            ended = "Promise.all([one, two].map((each) => each.call('/api/users/me')))"
            assert await tab.value(ended) == [None, None]
            assert refreshes(tab) == 3
            assert await tab.value("localStorage[KEY] === undefined")


def refreshes(tab: Tab) -> int:
    return sum(url.endswith("/api/auth/refresh") for url in tab.requests)
