"""A program with Django knows its users, in synchronous and asynchronous views."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path

from tests.integration.http.kit import PASSWORD, memory_settings, problem
from tests.support.papers import program as program_of
from ubr import SYSTEM, Actor, Application, ListLogsCommand, LogInCommand, RegisterUserCommand
from ubr.application.kernel.home_loop import WrongEventLoop
from ubr.contrib.django import DjangoAuth, Library
from ubr.domain.errors import Conflict
from ubr.testing import Double

LONG = 30.0

auth = DjangoAuth(Library())


@auth.actor
def read(request: HttpRequest, actor: Actor) -> JsonResponse:
    me = auth.users.get_me(actor=actor)
    return JsonResponse({"reader": str(me.id)})


@auth.actor
async def read_asynchronously(request: HttpRequest, actor: Actor) -> JsonResponse:
    me = await auth.call(lambda ubr: ubr.get_me(actor=actor))
    return JsonResponse({"reader": str(me.id)})


@auth.require("notes:edit")
def write(request: HttpRequest, actor: Actor) -> JsonResponse:
    return JsonResponse({"writer": str(actor.user_id)})


@auth.require("notes:edit")
async def write_asynchronously(request: HttpRequest, actor: Actor) -> JsonResponse:
    return JsonResponse({"writer": str(actor.user_id)})


@auth.optional_actor
def public(request: HttpRequest, actor: Actor | None) -> JsonResponse:
    return JsonResponse({"reader": None if actor is None else str(actor.user_id)})


@auth.optional_actor
def failing(request: HttpRequest, _: Actor | None) -> JsonResponse:
    raise Conflict("The note has changed")


@auth.optional_actor
def register(request: HttpRequest, _: Actor | None) -> JsonResponse:
    command = RegisterUserCommand(email="new@example.org", password=PASSWORD)
    auth.users.register_user(command)
    return JsonResponse({})


urlpatterns = [
    path("read", read),
    path("read-asynchronously", read_asynchronously),
    path("write", write),
    path("write-asynchronously", write_asynchronously),
    path("public", public),
    path("failing", failing),
    path("register", register),
]


@dataclass
class Program:
    double: Double
    asynchronous: bool

    async def get(self, where: str, headers: dict[str, str] | None = None) -> Any:
        """Under ASGI the asynchronous handler of Django calls the view, else the one of WSGI."""
        if self.asynchronous:
            return await AsyncClient().get(where, headers=headers or {})
        return await asyncio.to_thread(Client().get, where, headers=headers or {})


@pytest.fixture(scope="module", autouse=True)
def configured() -> None:
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"], SECRET_KEY="for tests", USE_TZ=True)


@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def program(request: pytest.FixtureRequest) -> Iterator[Program]:
    with Double(permissions=["notes:edit"]) as double, auth.using(double.ubr):
        yield Program(double, request.param == "asgi")


@pytest.mark.parametrize("view", ["/read", "/read-asynchronously"])
async def test_a_view_that_needs_a_user(program: Program, view: str) -> None:
    reader = program.double.a_user()
    answer = await program.get(view, reader.headers)
    assert (answer.status_code, answer.json()) == (200, {"reader": str(reader.id)})
    assert answer.headers["X-Request-ID"]
    stranger = await program.get(view)
    assert stranger.json() == problem(401, "unauthenticated", view)
    assert stranger.headers["WWW-Authenticate"] == "Bearer"
    assert stranger.headers["Content-Type"] == "application/problem+json"
    assert stranger.headers["X-Request-ID"] == stranger.json()["request_id"]
    forged = await program.get(view, {"Authorization": "Bearer forged"})
    assert forged.json() == problem(401, "invalid-token", view)


@pytest.mark.parametrize("view", ["/write", "/write-asynchronously"])
async def test_a_view_that_needs_a_permission(program: Program, view: str) -> None:
    denied = await program.get(view, program.double.a_user().headers)
    assert denied.json() == problem(403, "forbidden", view)
    editor = program.double.a_user(permissions=["notes:edit"])
    assert (await program.get(view, editor.headers)).json() == {"writer": str(editor.id)}


async def test_a_view_for_everyone(program: Program) -> None:
    reader = program.double.a_user()
    assert (await program.get("/public")).json() == {"reader": None}
    assert (await program.get("/public", reader.headers)).json() == {"reader": str(reader.id)}
    assert (await program.get("/public", {"Authorization": "Bearer forged"})).status_code == 401


async def test_an_error_of_the_view_is_answered_as_ubr_does(program: Program) -> None:
    answer = await program.get("/failing")
    assert answer.json() == problem(409, "conflict", "/failing")


async def test_use_cases_know_the_client(program: Program) -> None:
    await program.get("/register", {"X-Request-ID": "the-registration"})
    page = await auth.call(lambda ubr: ubr.list_logs(ListLogsCommand(limit=50), actor=SYSTEM))
    [entry] = [entry for entry in page.items if entry.action == "user.registered" and entry.request_id]
    assert (entry.ip, entry.request_id) == ("127.0.0.1", "the-registration")


async def test_the_views_of_the_page() -> None:
    names = program_of("docs/frameworks.md", "DjangoAuth(")
    with Double(permissions=["notes:edit"]) as double, names["auth"].using(double.ubr):
        editor = double.a_user(permissions=["notes:edit"])
        request = RequestFactory().get("/notes", headers=editor.headers)
        answer = await asyncio.to_thread(names["read_notes"], request)
        assert json.loads(answer.content) == {"reader": editor.email}
        answer = await names["write_note"](request)
        assert json.loads(answer.content) == {"writer": editor.email}
        assert (await names["write_note"](RequestFactory().get("/notes"))).status_code == 401


def test_the_source_opens_with_the_first_call() -> None:
    own = DjangoAuth(Library(memory_settings()))
    command = RegisterUserCommand(email="reader@example.org", password=PASSWORD)
    user = own.users.register_user(command, actor=SYSTEM)
    tokens = own.users.log_in(LogInCommand(email=command.email, password=PASSWORD))
    actor = own.users.authenticate(tokens.access_token)
    assert own.users.get_me(actor=actor).id == user.id
    own.users.close()
    own.users.close()


async def test_a_blocking_call_in_an_event_loop_is_refused(program: Program) -> None:
    async def call_in_its_own_loop(_: Application) -> None:
        auth.users.check_health()

    with pytest.raises(WrongEventLoop, match="`call` of DjangoAuth"):
        auth.users.check_health()
    with pytest.raises(WrongEventLoop):
        await auth.call(call_in_its_own_loop)


async def test_a_cancelled_request_cancels_its_call(program: Program, caplog: pytest.LogCaptureFixture) -> None:
    began, ended = threading.Event(), threading.Event()

    async def wait(_: Application) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    call = asyncio.ensure_future(auth.call(wait))
    await asyncio.to_thread(began.wait)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await asyncio.to_thread(ended.wait, LONG)
    await auth.call(_nothing)
    gc.collect()
    assert caplog.records == []


async def _nothing(_: Application) -> None:
    pass


@pytest.mark.system
def test_a_fork_opens_a_source_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", FORKING], check=False, capture_output=True, text=True, timeout=LONG)  # noqa: S603
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


FORKING = """
import os, sys
from django.conf import settings
settings.configure()
from ubr import Settings
from ubr.contrib.django import DjangoAuth, Library
auth = DjangoAuth(Library(Settings.memory()))
auth.users.check_health()
auth._loop._starting.acquire()  # as another thread may have done at the fork
child = os.fork()
if child == 0:
    auth.users.check_health()
    sys.exit(7)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 7, status
auth._loop._starting.release()
auth.users.check_health()
print("ok")
"""


def test_a_source_that_cannot_be_opened_says_why_each_time() -> None:
    class Broken(Library):
        def open(self) -> Any:
            raise ValueError("no settings")

    own = DjangoAuth(Broken(memory_settings()))
    for _ in range(2):
        with pytest.raises(ValueError, match="no settings"):
            own.users.check_health()
