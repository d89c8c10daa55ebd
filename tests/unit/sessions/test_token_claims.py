"""Claims of the host in access tokens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping

import pytest

from tests.support.papers import program
from ubr import (
    SYSTEM,
    Application,
    CreateUserCommand,
    Extensions,
    ListSessionsCommand,
    RefreshSessionCommand,
    TokenSubject,
    errors,
)
from ubr.application.kernel import hooks
from ubr.application.sessions.log_in import LogInCommand
from ubr.testing import in_memory
from ubr.verifier.tokens import TokenReader, VerifiedToken

EMAIL, PASSWORD = "reader@example.org", "correct horse battery staple 8"
LOG_IN = LogInCommand(email=EMAIL, password=PASSWORD)

Claims = Callable[[TokenSubject], Awaitable[Mapping[str, object]]]


async def registered(ubr: Application) -> None:
    await ubr.create_user(CreateUserCommand(email=EMAIL, password=PASSWORD), actor=SYSTEM)


async def read(ubr: Application, token: str) -> VerifiedToken:
    """The token as another service reads it."""
    reader = TokenReader("http://127.0.0.1:8000", "ubr")
    reader.install([json.loads(key) for key in await ubr.get_public_keys()])
    return reader.read(token).token


def with_claims(token_claims: Claims) -> Extensions:
    return Extensions(token_claims=token_claims)


async def test_each_token_has_the_claims_of_its_moment() -> None:
    plans, subjects = ["free", "paid", "paid"], list[TokenSubject]()

    async def claims(subject: TokenSubject) -> Mapping[str, object]:
        subjects.append(subject)
        return {"plan": plans.pop(0), "seats": 3}

    async with in_memory(extensions=with_claims(claims)) as (ubr, clock):
        await registered(ubr)
        first = await ubr.log_in(LOG_IN)
        assert (await read(ubr, first.access_token)).claims == {"plan": "free", "seats": 3}
        clock.move(minutes=1)
        second = await ubr.refresh_session(RefreshSessionCommand(refresh_token=first.refresh_token))
        assert (await read(ubr, second.access_token)).claims == {"plan": "paid", "seats": 3}
        assert (await read(ubr, first.access_token)).claims == {"plan": "free", "seats": 3}
        # A retry of the refresh is another token.
        await ubr.refresh_session(RefreshSessionCommand(refresh_token=first.refresh_token))
        assert (await ubr.authenticate(second.access_token)).session_id == first.session_id
    assert plans == []
    assert {(subject.user.email, subject.session_id, subject.scope) for subject in subjects} == {
        (EMAIL, first.session_id, None)
    }


async def test_no_claims_leave_the_token_as_it_was() -> None:
    async def claims(_: TokenSubject) -> Mapping[str, object]:
        return {}

    async with in_memory(extensions=with_claims(claims)) as (ubr, _):
        await registered(ubr)
        tokens = await ubr.log_in(LOG_IN)
        assert (await read(ubr, tokens.access_token)).extra == ""


async def test_claims_cannot_replace_those_of_ubr() -> None:
    async def claims(_: TokenSubject) -> Mapping[str, object]:
        return {"sub": "another", "exp": 2**40, "permissions": ["*"], "roles": ["admin"]}

    async with in_memory(extensions=with_claims(claims)) as (ubr, _):
        await registered(ubr)
        token = await read(ubr, (await ubr.log_in(LOG_IN)).access_token)
    assert token.permissions == frozenset()
    assert token.roles == {"user"}


@pytest.mark.parametrize("bad", [{"a": "x" * 3000}, {"a": object()}, {1: "a"}])
async def test_claims_that_a_token_cannot_hold_open_no_session(bad: Mapping[str, object]) -> None:
    answers: list[Mapping[str, object]] = [bad, {}]

    async def claims(_: TokenSubject) -> Mapping[str, object]:
        return answers.pop(0)

    async with in_memory(extensions=with_claims(claims)) as (ubr, _):
        await registered(ubr)
        with pytest.raises(ValueError, match="The claims of the host"):
            await ubr.log_in(LOG_IN)
        actor = await ubr.authenticate((await ubr.log_in(LOG_IN)).access_token)
        assert len((await ubr.list_sessions(ListSessionsCommand(user_id=actor.user_id), actor=actor)).items) == 1


async def test_an_error_of_the_host_refuses_the_token() -> None:
    async def claims(_: TokenSubject) -> Mapping[str, object]:
        raise errors.Forbidden("No plan")

    async with in_memory(extensions=with_claims(claims)) as (ubr, _):
        await registered(ubr)
        with pytest.raises(errors.Forbidden, match="No plan"):
            await ubr.log_in(LOG_IN)


async def test_claims_that_take_too_long_refuse_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "HOOK_TIMEOUT", 0.05)

    async def claims(_: TokenSubject) -> Mapping[str, object]:
        await asyncio.Event().wait()
        return {}

    async with in_memory(extensions=with_claims(claims)) as (ubr, _):
        await registered(ubr)
        with pytest.raises(errors.Unavailable, match="took too long"):
            await ubr.log_in(LOG_IN)


async def test_the_claims_of_the_page() -> None:
    names = program("docs/extending.md", "async def team_of")
    async with in_memory(extensions=names["extensions"]) as (ubr, _):
        await registered(ubr)
        assert (await read(ubr, (await ubr.log_in(LOG_IN)).access_token)).claims == {"team": "readers"}
