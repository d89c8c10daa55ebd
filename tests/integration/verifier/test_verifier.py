"""A verifier accepts what is good, and nothing of before an end, whatever happens to it, to ubr or in between."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.integration.http.kit import PASSWORD, Service, bearer
from tests.integration.verifier.kit import (
    Beside,
    Ticks,
    Way,
    grant,
    make_follower,
    make_machine,
    make_verifier,
    running_beside,
    until,
)
from tests.support.values import replace
from ubr.application.keys.revoke_signing_key import RevokeSigningKeyCommand
from ubr.application.machines.list_machine_keys import ListMachineKeysCommand
from ubr.application.machines.revoke_machine_key import RevokeMachineKeyCommand
from ubr.application.machines.update_machine import MachineChanges, UpdateMachineCommand
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.application.roles.delete_role import DeleteRoleCommand
from ubr.application.roles.unassign_role import UnassignRoleCommand
from ubr.application.roles.update_role import RoleChanges, UpdateRoleCommand
from ubr.application.sessions.list_sessions import ListSessionsCommand
from ubr.application.sessions.revoke_session import RevokeSessionCommand
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM
from ubr.domain.revocation.changes import epoch_name
from ubr.verifier import Credentials, NotFresh, Refused, Verifier
from ubr.verifier import source as source_module
from ubr.verifier import verifier as verifier_module
from ubr.verifier.source import Source, Unreachable


async def test_it_tells_whose_token_it_is(here: Beside) -> None:
    tokens = await here.signed_in()
    found = await here.verifier.verify(tokens["access_token"])
    assert found.user_id == UUID(tokens["user"]["id"])
    assert found.session_id == UUID(tokens["session_id"])
    assert found.roles == {"user"}
    assert found.expires_at - found.issued_at == timedelta(minutes=10)
    assert found.auth_time == found.issued_at


async def test_known_tokens_and_a_fresh_view_need_no_question(here: Beside) -> None:
    tokens = await here.signed_in()
    assert await here.accepts(tokens)
    here.way.open.clear()
    for _ in range(100):
        assert await here.accepts(tokens)


BOUND = 30.0  # that of `unhurried`


# --- ends ------------------------------------------------------------------------------------------------------------


async def test_what_has_ended_is_refused_after_the_answer_and_nothing_else(unhurried: Service) -> None:
    async with running_beside(unhurried) as here:
        one, other = await here.signed_in(), await here.signed_in()
        third = await here.signed_in("third@example.org")
        assert [await here.accepts(each) for each in (one, other, third)] == [True, True, True]
        began = time.monotonic()
        assert (await here.service.client.post("/api/auth/logout", headers=bearer(one))).status_code == 204
        assert time.monotonic() - began < BOUND, "the verifier has acknowledged: nobody waits for the bound"
        assert [await here.accepts(each) for each in (one, other, third)] == [False, True, True]


async def test_a_changed_user_refreshes_and_continues(here: Beside) -> None:
    tokens = await here.signed_in()
    await here.ubr.create_role(CreateRoleCommand(name="editor"), actor=SYSTEM)
    await grant(here.ubr, UUID(tokens["user"]["id"]), "editor")
    assert not await here.accepts(tokens)
    answer = await here.service.client.post("/api/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert (await here.verifier.verify(answer.json()["access_token"])).roles == {"editor", "user"}

    command = UnassignRoleCommand(user_id=UUID(tokens["user"]["id"]), role="editor")
    await here.ubr.unassign_role(command, actor=SYSTEM)
    assert not await here.accepts(answer.json())


async def test_an_end_that_comes_nearer_is_told_to_those_who_verify_tokens(here: Beside) -> None:
    """A token made under a later end, or under none, would outlive the one there is now."""
    await here.ubr.create_role(CreateRoleCommand(name="editor"), actor=SYSTEM)
    tokens = await here.signed_in()
    user_id = UUID(tokens["user"]["id"])
    await grant(here.ubr, user_id, "editor")
    tokens = await here.signed_in()
    assert "editor" in (await here.verifier.verify(tokens["access_token"])).roles
    assert here.service.clock is not None
    end = here.service.clock() + timedelta(seconds=60)
    await here.ubr.assign_role(AssignRoleCommand(user_id=user_id, role="editor", expires_at=end), actor=SYSTEM)
    assert not await here.accepts(tokens)
    tokens = await here.signed_in()
    assert (await here.verifier.verify(tokens["access_token"])).expires_at == end


@pytest.mark.parametrize("change", ["renamed", "deleted", "changed"])
async def test_a_role_that_changes_makes_everybody_refresh(here: Beside, change: str) -> None:
    role = await here.ubr.create_role(CreateRoleCommand(name="editor"), actor=SYSTEM)
    tokens = await here.signed_in()
    await grant(here.ubr, UUID(tokens["user"]["id"]), "editor")
    tokens, other = await here.signed_in(), await here.signed_in("other@example.org")
    assert "editor" in (await here.verifier.verify(tokens["access_token"])).roles
    if change == "deleted":
        await here.ubr.delete_role(DeleteRoleCommand(role_id=role.id), actor=SYSTEM)
    else:
        changes = RoleChanges(name="writer") if change == "renamed" else RoleChanges(permissions=["logs:read"])
        await here.ubr.update_role(UpdateRoleCommand(role_id=role.id, changes=changes), actor=SYSTEM)
    assert not await here.accepts(tokens)
    assert not await here.accepts(other)
    assert await here.accepts(await here.signed_in())


async def test_whoever_finds_it_ended_waits_as_well(here: Beside) -> None:
    tokens = await here.signed_in()
    command = RevokeSessionCommand(session_id=UUID(tokens["session_id"]))
    await asyncio.gather(*(here.ubr.revoke_session(command, actor=SYSTEM) for _ in range(3)))
    assert not await here.accepts(tokens)


# --- a start ---------------------------------------------------------------------------------------------------------


async def test_tokens_of_before_its_start_are_good_but_for_those_that_ended(service: Service) -> None:
    await service.register("reader@example.org")
    kept, ended = await service.logged_in("reader@example.org"), await service.logged_in("reader@example.org")
    await service.client.post("/api/auth/logout", headers=bearer(ended))
    async with running_beside(service) as here:
        assert await here.accepts(kept)
        assert not await here.accepts(ended)


async def test_tokens_older_than_what_it_can_know_of_are_refused(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ubr.verifier.verifier._HISTORY", 3)
    await service.register("reader@example.org")
    old = await service.logged_in("reader@example.org")
    for _ in range(4):
        await service.client.post("/api/auth/logout", headers=bearer(await service.logged_in("reader@example.org")))
    async with running_beside(service) as here:
        assert not await here.accepts(old)
        assert await here.accepts(await here.signed_in())


async def test_it_starts_where_ubr_is_down_and_heals(service: Service) -> None:
    assert service.ubr is not None
    way = Way(service, down=True)
    access = await make_follower(service.ubr)
    async with make_verifier(service, way, access, patience=0.3) as verifier:
        await service.register("reader@example.org")
        tokens = await service.logged_in("reader@example.org")
        with pytest.raises(NotFresh):
            await verifier.verify(tokens["access_token"])
        way.down = False
        await until(lambda: Beside(service, way, Ticks(), verifier).answers(tokens))


# --- out of reach ----------------------------------------------------------------------------------------------------


async def test_nothing_is_accepted_that_rests_on_an_old_answer(here: Beside) -> None:
    tokens = await here.signed_in()
    assert await here.accepts(tokens)
    here.way.open.clear()
    here.ticks.now += 1.0
    assert await here.accepts(tokens), "the bound has not passed since the last question was sent"
    here.ticks.now += 0.001
    here.be_quick()
    began = time.monotonic()
    with pytest.raises(NotFresh):  # though the way stays closed
        await here.verifier.verify(tokens["access_token"])
    assert time.monotonic() - began > 0.2
    here.way.open.set()
    await until(lambda: here.answers(tokens))


async def test_an_answer_counts_from_when_its_question_was_sent(here: Beside) -> None:
    tokens = await here.signed_in()
    assert await here.accepts(tokens)
    here.way.open.clear()
    asked = here.way.count("/api/revocations")

    async def on_its_way() -> bool:
        return here.way.count("/api/revocations") > asked

    await until(on_its_way)
    here.ticks.now += 0.9
    here.way.open.set()  # for this one alone
    await asyncio.sleep(0)
    here.way.open.clear()
    await asyncio.sleep(0.2)
    assert await here.accepts(tokens)
    here.ticks.now += 0.2
    here.be_quick()
    with pytest.raises(NotFresh):
        await here.verifier.verify(tokens["access_token"])


async def test_all_who_wait_share_one_question(here: Beside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ubr.verifier.verifier._DEADLINE", 30.0)  # the one that is under way is not given up
    tokens = await here.signed_in()
    here.way.open.clear()
    here.ticks.now += 2
    await asyncio.sleep(0.1)
    before = here.way.count("/api/revocations")
    waiting = [asyncio.create_task(here.accepts(tokens)) for _ in range(100)]
    await asyncio.sleep(0.05)
    assert here.way.count("/api/revocations") == before
    here.way.open.set()
    assert await asyncio.gather(*waiting) == [True] * 100


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500),
        httpx.Response(503, json={"type": "/problems/busy"}),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"epoch": "e", "number": "7", "rows": [], "fresh_for_ms": 1000}),
        httpx.Response(200, json={"epoch": "e", "number": 7, "rows": [{}], "fresh_for_ms": 1000}),
        httpx.Response(200, json={"epoch": "e", "number": 7, "rows": [{"number": 7, "kind": 1, "id": ""}]}),
        httpx.Response(302, headers={"location": "http://elsewhere.test/"}),
        httpx.Response(403),
        httpx.Response(401),
    ],
    ids=range(10),
)
async def test_an_answer_that_is_none_is_not_relied_on(here: Beside, answer: httpx.Response) -> None:
    tokens = await here.signed_in()
    here.way.answers["/api/revocations"] = answer
    await asyncio.sleep(0.1)  # the question under way has been answered by ubr
    here.ticks.now += 1.001
    here.be_quick()
    with pytest.raises(NotFresh):
        await here.verifier.verify(tokens["access_token"])
    here.way.answers.clear()
    await until(lambda: here.answers(tokens))


async def test_an_end_that_the_verifier_cannot_learn_of_waits_for_the_bound(service: Service) -> None:
    async with running_beside(service) as here:
        tokens = await here.signed_in()
        assert await here.accepts(tokens)
        here.way.open.clear()
        began = time.monotonic()
        await service.client.post("/api/auth/logout", headers=bearer(tokens))  # though the way stays closed
        assert time.monotonic() - began >= 1.0
        here.ticks.now += 1.05  # as much has passed
        here.be_quick()
        with pytest.raises(NotFresh):
            await here.verifier.verify(tokens["access_token"])


# --- another history -------------------------------------------------------------------------------------------------


def store_of(here: Beside) -> Any:
    return here.ubr.follow_revocations.feed.store  # type: ignore[attr-defined]


async def test_tokens_of_another_epoch_are_refused_even_where_their_number_is_higher(here: Beside) -> None:
    tokens = await here.signed_in()
    assert await here.accepts(tokens)
    here.ticks.now += 0.1
    store_of(here).epoch = "restored"
    await until(lambda: here.refuses(tokens))
    new = await here.signed_in()
    assert await here.accepts(new)
    assert not await here.accepts(tokens)


async def test_a_token_of_an_epoch_that_has_just_begun_waits_for_the_next_question(service: Service) -> None:
    async with running_beside(service, elapsed=time.monotonic) as here:
        old = await here.signed_in()
        assert await here.accepts(old)
        store_of(here).epoch = "restored"
        # Until the view of ubr itself has noticed, nobody is told anything else.
        await asyncio.sleep(0.3)
        new = await here.signed_in()
        assert await here.accepts(new)
        assert not await here.accepts(old)


async def test_a_feed_that_goes_back_without_a_new_name(here: Beside) -> None:
    old = await here.signed_in()
    assert await here.accepts(old)
    store = store_of(here)
    del store.feed[-1:]
    await until(lambda: here.refuses(old))
    assert here.service.clock is not None
    here.service.clock.move(seconds=1)
    assert await here.accepts(await here.signed_in())
    assert not await here.accepts(old)


async def test_a_verifier_that_is_too_far_behind_starts_again(here: Beside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ubr.application.revocation.follow_revocations.MAX_RECORDS", 5)
    monkeypatch.setattr("ubr.verifier.verifier._HISTORY", 3)
    old = await here.signed_in()
    here.way.down = True
    await asyncio.sleep(0.06)
    store = store_of(here)
    store.feed += [type(store.feed[0])(len(store.feed) + 1 + n, store.feed[0].change) for n in range(9)]
    await here.ubr.follow_revocations.session_cache.poll_feed()
    here.way.down = False
    await until(lambda: here.refuses(old))
    assert await here.accepts(await here.signed_in())


# --- tokens ----------------------------------------------------------------------------------------------------------


async def test_expired_tokens_and_those_of_the_future(here: Beside) -> None:
    tokens = await here.signed_in()
    assert here.service.clock is not None
    here.service.clock.move(seconds=-30)
    assert await here.accepts(tokens)
    here.service.clock.move(seconds=-1)
    assert not await here.accepts(tokens)
    here.service.clock.move(seconds=31 + 599)
    assert await here.accepts(tokens)
    here.service.clock.move(seconds=1)
    assert not await here.accepts(tokens)


async def test_a_token_that_expires_while_it_waits_is_refused(here: Beside) -> None:
    tokens = await here.signed_in()
    assert await here.accepts(tokens)
    assert here.service.clock is not None
    here.way.open.clear()
    here.ticks.now += 2
    waiting = asyncio.create_task(here.accepts(tokens))
    await asyncio.sleep(0.05)
    here.service.clock.move(seconds=600)
    here.way.open.set()
    assert not await waiting


@pytest.mark.parametrize("options", [{"audience": "another"}, {"issuer": "https://another.example"}])
async def test_tokens_for_another_audience_or_of_another_issuer(service: Service, options: dict[str, Any]) -> None:
    async with running_beside(service, **options) as here:
        assert not await here.accepts(await here.signed_in())


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "ä", "." * 9000, "eyJhbGciOiJub25lIn0.e30."])
async def test_a_text_that_is_not_a_token_is_refused_without_a_request(here: Beside, token: str) -> None:
    before = here.way.count("jwks.json")
    with pytest.raises(Refused):
        await here.verifier.verify(token)
    assert here.way.count("jwks.json") == before


async def test_an_unknown_key_is_asked_for_at_most_once_in_a_while(here: Beside, service: Service) -> None:
    _, payload, signature = (await here.signed_in())["access_token"].split(".")
    header = '{"typ":"at+jwt","alg":"EdDSA","kid":"%s"}' % ("A" * 43)
    foreign = base64.urlsafe_b64encode(header.encode()).decode().rstrip("=")
    before = here.way.count("jwks.json")
    for _ in range(20):
        with pytest.raises(Refused):
            await here.verifier.verify(f"{foreign}.{payload}.{signature}")
    assert here.way.count("jwks.json") == before
    here.ticks.now += 1.1
    for _ in range(20):
        with pytest.raises(Refused):
            await here.verifier.verify(f"{foreign}.{payload}.{signature}")
    assert here.way.count("jwks.json") == before + 1
    here.ticks.now += 1.1
    here.way.answers["/.well-known/jwks.json"] = httpx.Response(500)
    with pytest.raises(NotFresh):
        await here.verifier.verify(f"{foreign}.{payload}.{signature}")


async def test_a_key_that_was_revoked_is_good_no_more_and_the_next_one_is(here: Beside) -> None:
    old = await here.signed_in()
    assert await here.accepts(old)
    header = old["access_token"].partition(".")[0]
    kid = json.loads(base64.urlsafe_b64decode(header + "=="))["kid"]
    await here.ubr.revoke_signing_key(RevokeSigningKeyCommand(kid=kid), actor=SYSTEM)
    assert not await here.accepts(old)
    answer = await here.service.client.post("/api/auth/refresh", json={"refresh_token": old["refresh_token"]})
    new = answer.json()
    assert new["access_token"].partition(".")[0] != header
    assert await here.accepts(new)
    assert not await here.accepts(old)


def forged(here: Beside, tokens: dict[str, Any], **claims: Any) -> dict[str, Any]:
    """What somebody can make who has the private key: a token that says what they like."""
    keys = here.ubr.authenticate.access_tokens
    assert here.service.clock is not None
    told = keys.verify(tokens["access_token"], here.service.clock())
    return {"access_token": keys.issue(replace(told, **claims))}


async def lose_sight(here: Beside, monkeypatch: pytest.MonkeyPatch, *, epoch: str | None = None) -> None:
    """The verifier is cut off; the key is revoked, and more happens than it will be told of."""
    monkeypatch.setattr("ubr.application.revocation.follow_revocations.MAX_RECORDS", 5)
    monkeypatch.setattr("ubr.verifier.verifier._HISTORY", 3)
    here.way.down = True
    await asyncio.sleep(0.06)
    kid = (await here.ubr.list_signing_keys(actor=SYSTEM))[0].kid
    await here.ubr.revoke_signing_key(RevokeSigningKeyCommand(kid=kid), actor=SYSTEM)
    store = store_of(here)
    store.feed += [type(store.feed[0])(len(store.feed) + 1 + n, store.feed[0].change) for n in range(9)]
    store.epoch = epoch or store.epoch
    await here.ubr.follow_revocations.session_cache.poll_feed()
    here.way.down = False


async def test_a_key_that_was_revoked_unseen_is_good_no_more(here: Beside, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = forged(here, await here.signed_in(), version=10**6, roles=("admin",))
    assert await here.accepts(everything)
    await lose_sight(here, monkeypatch)
    new = await here.signed_in()
    await until(lambda: here.accepts(new))
    assert await here.refuses(everything)


async def test_a_key_that_was_revoked_in_another_history_is_good_no_more(
    here: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = forged(here, await here.signed_in(), version=10**6, epoch=epoch_name("restored"), roles=("admin",))
    await lose_sight(here, monkeypatch, epoch="restored")
    new = await here.signed_in()
    await until(lambda: here.accepts(new))
    assert await here.refuses(everything)


@dataclass
class Held(Way):
    """Answers of these paths are held back until their event."""

    held: dict[str, asyncio.Event] = field(default_factory=dict)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await super().handle_async_request(request)
        if (released := self.held.get(request.url.path)) is not None:
            await released.wait()
        return answer


async def test_keys_that_are_dropped_while_they_are_read_are_read_again(service: Service) -> None:
    """The first answer of the feed drops what was read before it. That is no reason to refuse who asks meanwhile."""
    assert service.ubr is not None
    feed, keys = asyncio.Event(), asyncio.Event()
    way = Held(service, held={"/api/revocations": feed, "/.well-known/jwks.json": keys})
    await service.register("reader@example.org")
    tokens = await service.logged_in("reader@example.org")
    async with make_verifier(service, way, await make_follower(service.ubr), elapsed=Ticks(), patience=0.1) as verifier:
        verifier._patience = 60  # noqa: SLF001 - only the start may be short
        verifying = asyncio.create_task(verifier.verify(tokens["access_token"]))
        await until(lambda: asyncio.sleep(0, way.count("jwks.json") == 1))
        feed.set()
        await until(lambda: asyncio.sleep(0, way.count("jwks.json") == 2))
        keys.set()
        assert (await verifying).user_id == UUID(tokens["user"]["id"])


async def test_a_key_that_has_retired_is_good_no_more_after_a_while(here: Beside) -> None:
    assert here.service.clock is not None
    tokens = await here.signed_in()
    end = here.service.clock() + timedelta(hours=1)
    lasting = forged(here, tokens, expires_at=end)
    await here.ubr.rotate_signing_key(actor=SYSTEM)
    here.service.clock.move(minutes=22)
    assert await here.accepts(lasting), "it reads the keys again, but not all the time"
    here.ticks.now += 301
    await until(lambda: here.refuses(lasting))


async def test_keys_that_cannot_be_read_again_are_relied_on_for_a_while(here: Beside) -> None:
    tokens = await here.signed_in()
    here.way.answers["/.well-known/jwks.json"] = httpx.Response(503)
    here.ticks.now += 500
    assert await here.accepts(tokens)
    here.ticks.now += 101
    here.be_quick()
    with pytest.raises(NotFresh):
        await here.verifier.verify(tokens["access_token"])
    here.way.answers.clear()
    await until(lambda: here.answers(tokens))


async def test_a_start_that_is_broken_off_leaves_nothing_behind(service: Service) -> None:
    assert service.ubr is not None
    way = Way(service)
    way.open.clear()
    verifier = make_verifier(service, way, await make_follower(service.ubr))
    before = asyncio.all_tasks()
    entering = asyncio.create_task(verifier.__aenter__())
    await asyncio.sleep(0.05)
    entering.cancel()
    way.open.set()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert asyncio.all_tasks() == before


async def test_a_key_that_is_new_is_asked_for_when_it_first_signs(here: Beside) -> None:
    assert here.service.clock is not None
    old = await here.signed_in()
    path = "/.well-known/jwks.json"
    # Something in between shows the list as it was.
    here.way.answers[path] = httpx.Response(200, json=(await here.service.client.get(path)).json())
    await here.ubr.rotate_signing_key(actor=SYSTEM)
    await asyncio.sleep(0.1)
    here.way.answers.clear()
    here.service.clock.move(minutes=8)
    here.ticks.now += 1.1
    new = await here.signed_in()
    assert new["access_token"].partition(".")[0] != old["access_token"].partition(".")[0]
    assert await here.accepts(new)
    assert await here.accepts(old)


# --- access ----------------------------------------------------------------------------------------------------------


async def test_a_function_may_give_the_access_token(service: Service) -> None:
    async def access() -> str:
        return str((await service.admin())["authorization"].partition(" ")[2])

    async with running_beside(service, access=access) as here:
        assert await here.accepts(await here.signed_in())


async def test_a_function_that_fails_is_asked_again(service: Service) -> None:
    failures = 3

    async def access() -> str:
        nonlocal failures
        failures -= 1
        if failures > 0:
            raise RuntimeError("not now")
        return str((await service.admin())["authorization"].partition(" ")[2])

    async with running_beside(service, access=access) as here:
        assert await here.accepts(await here.signed_in())
    assert failures <= 0


async def test_a_session_of_its_own_that_is_ended_is_opened_again(here: Beside) -> None:
    tokens = await here.signed_in()
    account = here.verifier._source._account  # noqa: SLF001 - its session is its own
    assert account is not None
    follower = account._access  # noqa: SLF001
    await here.service.client.post("/api/auth/logout", headers={"authorization": f"Bearer {follower}"})
    here.ticks.now += 0.9

    async def opened() -> bool:
        return account._access not in {follower, None}  # noqa: SLF001

    await until(opened)
    here.ticks.now += 0.9
    assert await here.accepts(tokens)


async def test_it_refreshes_before_its_token_expires_and_signs_out_at_the_end(unhurried: Service) -> None:
    async with running_beside(unhurried) as here:
        assert unhurried.clock is not None
        await here.signed_in()
        for _ in range(4):
            unhurried.clock.move(minutes=6)
            here.ticks.now += 360
            assert await here.accepts(await here.signed_in())
        assert here.way.count("/api/auth/login") == 1
        assert here.way.count("/api/auth/refresh") == 4
        began = time.monotonic()
    assert here.way.asked[-2:] == ["DELETE /api/revocations", "POST /api/auth/logout"]
    assert time.monotonic() - began < BOUND, "nobody waits for who has left"


async def test_it_logs_in_with_a_key_again_before_its_token_expires(service: Service) -> None:
    assert service.ubr is not None
    assert service.clock is not None
    machine_id, key = await make_machine(service.ubr, "revocations:read", "users:write")
    async with running_beside(service, access=key) as here, running_beside(service, access=key) as beside:
        for _ in range(4):
            service.clock.move(minutes=6)
            here.ticks.now += 360
            beside.ticks.now += 360
            assert await here.accepts(await here.signed_in())
            assert await beside.accepts(await here.signed_in())
        account = here.verifier._source._account  # noqa: SLF001 - its token is its own
        assert account is not None
        token = await service.ubr.authenticate(await account.token())
        assert await service.ubr.permits(token, "revocations:read")
        assert not await service.ubr.permits(token, "users:write"), "it asks for no more than it needs"
        [session] = (await service.ubr.list_sessions(ListSessionsCommand(user_id=machine_id), actor=SYSTEM)).items
        assert here.way.count("/api/auth/token") == 5
        assert not any("login" in asked or "refresh" in asked for asked in here.way.asked)
    assert here.way.asked[-1] == "DELETE /api/revocations"
    assert (await service.ubr.list_sessions(ListSessionsCommand(user_id=machine_id), actor=SYSTEM)).items == [session]


async def test_a_verifier_knows_nothing_more_once_its_machine_is_disabled_or_its_key_revoked(service: Service) -> None:
    ubr = service.ubr
    assert ubr is not None
    machine_id, key = await make_machine(ubr, "revocations:read")
    async with running_beside(service, access=key) as here:
        tokens = await here.signed_in()
        assert await here.accepts(tokens)

        async def known() -> bool:
            return await here.answers(tokens)

        async def unknown() -> bool:
            here.ticks.now += 1.1
            return not await here.answers(tokens)

        here.be_quick()
        for status, reached in ((UserStatus.DISABLED, unknown), (UserStatus.ACTIVE, known)):
            changes = MachineChanges(status=status)
            await ubr.update_machine(UpdateMachineCommand(machine_id=machine_id, changes=changes), actor=SYSTEM)
            await until(reached)
        [stored] = (await ubr.list_machine_keys(ListMachineKeysCommand(machine_id=machine_id), actor=SYSTEM)).items
        command = RevokeMachineKeyCommand(machine_id=machine_id, key_id=stored.id)
        await ubr.revoke_machine_key(command, actor=SYSTEM)
        await until(unknown)


async def test_a_key_without_the_permission_is_not_tried_over_and_over(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    assert service.ubr is not None
    _, key = await make_machine(service.ubr, "users:read")
    way = Way(service)
    async with make_verifier(service, way, key, elapsed=Ticks(), patience=0.3):
        await asyncio.sleep(0.5)
    assert way.count("/api/auth/token") <= 6
    assert "/api/auth/token answered 400" in caplog.text
    assert key.text not in caplog.text + repr(key)


async def test_a_wrong_password_is_not_tried_over_and_over(service: Service) -> None:
    assert service.ubr is not None
    way = Way(service)
    access = await make_follower(service.ubr)
    wrong = type(access)(access.email, PASSWORD + "x")
    async with make_verifier(service, way, wrong, elapsed=Ticks(), patience=0.3):
        await asyncio.sleep(0.5)
        assert way.count("/api/auth/login") <= 6


class Hasty:
    """`asyncio` without its pauses, which are noted."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)


@pytest.mark.parametrize(("chance", "part"), [(0.0, 1.0), (0.5, 0.75), (1.0, 0.5)])
async def test_chance_shortens_the_pause_before_a_retry(
    service: Service, monkeypatch: pytest.MonkeyPatch, chance: float, part: float
) -> None:
    """The processes of a service, which may start at one moment, do not all retry at one moment."""
    assert service.ubr is not None
    way, access, hasty = Way(service, down=True), await make_follower(service.ubr), Hasty()
    monkeypatch.setattr(verifier_module, "asyncio", hasty)
    monkeypatch.setattr("random.random", lambda: chance)
    async with make_verifier(service, way, access, elapsed=Ticks(), patience=0.1):
        pass
    assert hasty.pauses[:3] == [pytest.approx(pause * part) for pause in (0.05, 0.1, 0.2)]


# --- before it runs, and after ---------------------------------------------------------------------------------------


async def test_before_it_runs_and_after_that_nothing_is_known(service: Service) -> None:
    assert service.ubr is not None
    way = Way(service)
    verifier = make_verifier(service, way, await make_follower(service.ubr), elapsed=Ticks())
    await service.register("reader@example.org")
    tokens = await service.logged_in("reader@example.org")
    junk = [tokens["access_token"], "", "junk", tokens["access_token"][:-8]]
    for _ in range(2):
        for token in junk:
            with pytest.raises(NotFresh, match="does not run"):
                await verifier.verify(token)
        async with verifier:
            await verifier.verify(tokens["access_token"])
            with pytest.raises(RuntimeError, match="already running"):
                await verifier.__aenter__()
            await verifier.verify(tokens["access_token"])
    with pytest.raises(NotFresh, match="does not run"):
        await verifier.verify(tokens["access_token"])


async def test_waiting_calls_get_an_error_when_it_is_closed(service: Service) -> None:
    """Both who waits for what is known, and who waits for a key."""
    assert service.ubr is not None
    way = Way(service)
    access = await make_follower(service.ubr)
    await service.register("reader@example.org")
    tokens = await service.logged_in("reader@example.org")
    for key_is_known in (True, False):
        ticks = Ticks()
        async with make_verifier(service, way, access, elapsed=ticks, patience=60) as verifier:
            await verifier.verify(tokens["access_token"])
            way.open.clear()
            ticks.now += 3600
            if not key_is_known:
                verifier._reader.install([])  # noqa: SLF001 - as where the token's key is new
            waiting = asyncio.create_task(verifier.verify(tokens["access_token"]))
            await asyncio.sleep(0.05)
            assert not waiting.done()
        way.open.set()
        with pytest.raises(NotFresh):
            await asyncio.wait_for(waiting, 10)


async def test_another_event_loop_learns_nothing(here: Beside) -> None:
    tokens = await here.signed_in()
    assert await here.accepts(tokens)

    def elsewhere() -> None:
        asyncio.run(here.verifier.verify(tokens["access_token"]))

    with pytest.raises(NotFresh, match="does not run"):
        await asyncio.to_thread(elsewhere)


@pytest.mark.parametrize("token", [None, 7, b"e30.e30.e30", ["e30"], "\ud800", "\x00", "." * 9000])
async def test_a_text_that_is_not_a_token_is_refused(here: Beside, token: Any) -> None:
    with pytest.raises(Refused):
        await here.verifier.verify(token)


# --- who stands in between -------------------------------------------------------------------------------------------


@dataclass
class Replaying(Way):
    """A cache that answers each question about what ended as the one before was answered."""

    kept: tuple[int, bytes] | None = None
    replays: bool = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method != "GET" or request.url.path != "/api/revocations":
            return await super().handle_async_request(request)
        if self.replays and self.kept is not None:
            await asyncio.sleep(0.01)
            return httpx.Response(self.kept[0], content=self.kept[1])
        answer = await super().handle_async_request(request)
        self.kept = answer.status_code, await answer.aread()
        return answer


async def test_an_answer_that_was_kept_on_the_way_is_not_relied_on(service: Service) -> None:
    assert service.ubr is not None
    way, ticks = Replaying(service), Ticks()
    access = await make_follower(service.ubr)
    await service.register("reader@example.org")
    tokens = await service.logged_in("reader@example.org")
    async with make_verifier(service, way, access, elapsed=ticks) as verifier:
        here = Beside(service, way, ticks, verifier)
        assert await here.accepts(tokens)
        way.replays = True
        await asyncio.sleep(0.1)  # the question under way has been answered by ubr
        await service.client.post("/api/auth/logout", headers=bearer(tokens))
        ticks.now += 1.001
        here.be_quick()
        with pytest.raises(NotFresh):
            await verifier.verify(tokens["access_token"])
        way.replays = False
        verifier._patience = 60  # noqa: SLF001 - whatever the machine has to do beside
        assert await here.refuses(tokens)


@pytest.mark.parametrize(("fresh_for_ms", "seconds"), [(10**15, 10.0), (10_001, 10.0), (9_000, 9.0), (0, 0.0)])
async def test_an_answer_is_relied_on_for_ten_seconds_at_most(fresh_for_ms: int, seconds: float) -> None:
    def told(request: httpx.Request) -> httpx.Response:
        body = {"epoch": "e", "number": 7, "rows": [], "fresh_for_ms": fresh_for_ms}
        return httpx.Response(200, json={**body, "nonce": request.url.params["nonce"]})

    async def access() -> str:
        return "token"

    source = Source("https://ubr.test", access, Ticks(), httpx.MockTransport(told))
    assert (await source.revocations(UUID(int=1))).fresh_for == seconds


@pytest.mark.parametrize(
    "wrong",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"fresh_for_ms": -1},
        {"number": -1},
        {"number": 2**63},
        {"rows": [{"number": -1, "kind": "user", "id": "x"}]},
        {"rows": [{"number": 2**63, "kind": "user", "id": "x"}]},
    ],
    ids=str,
)
async def test_an_answer_that_ubr_never_gives_is_rejected(wrong: dict[str, Any]) -> None:
    def told(request: httpx.Request) -> httpx.Response:
        body = {"epoch": "e", "number": 7, "rows": [], "fresh_for_ms": 1000, "nonce": request.url.params["nonce"]}
        return httpx.Response(200, json={**body, **wrong})

    async def access() -> str:
        return "token"

    source = Source("https://ubr.test", access, Ticks(), httpx.MockTransport(told))
    with pytest.raises(Unreachable):
        await source.revocations(UUID(int=1))


@pytest.mark.parametrize(
    "url", ["http://ubr.test", "http://10.0.0.1:8000", "http://localhost.example.org", "http://128.0.0.1", "//ubr.test"]
)
def test_plain_http_beyond_this_machine_has_to_be_meant(url: str) -> None:
    with pytest.raises(ValueError, match="plain_http"):
        Verifier(url, Credentials("a@example.org", "x"), issuer=url)
    Verifier(url, Credentials("a@example.org", "x"), issuer=url, plain_http=True)


@pytest.mark.parametrize(
    "url",
    ["https://ubr.test", "http://localhost:8000", "http://127.0.0.2", "http://[::1]:8000", "http://ubr.localhost"],
)
def test_https_and_this_machine_need_no_word(url: str) -> None:
    Verifier(url, Credentials("a@example.org", "x"), issuer=url)


# --- logins that take long -------------------------------------------------------------------------------------------


@dataclass
class Slow(Way):
    """Logins and refreshes wait until they may go on."""

    going: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await super().handle_async_request(request)
        if request.url.path in {"/api/auth/login", "/api/auth/refresh"}:
            await self.going.wait()
        return answer


async def test_a_slow_login_is_awaited_and_not_started_again(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it takes longer than a question may, and than who enters waits."""
    answering = source_module._answering.__wrapped__  # type: ignore[attr-defined]  # noqa: SLF001 - its deadline
    monkeypatch.setattr(answering, "__defaults__", (0.05,))
    monkeypatch.setattr(verifier_module, "_DEADLINE", 0.05)
    assert service.ubr is not None
    way, access = Slow(service), await make_follower(service.ubr)
    async with make_verifier(service, way, access, elapsed=Ticks(), patience=0.1) as verifier:
        await asyncio.sleep(0.5)
        assert way.count("/api/auth/login") == 1
        monkeypatch.undo()
        way.going.set()
        verifier._patience = 60  # noqa: SLF001 - whatever the machine has to do beside
        await service.register("reader@example.org")
        tokens = await service.logged_in("reader@example.org")
        await verifier.verify(tokens["access_token"])
        assert way.count("/api/auth/login") == 1


async def test_while_a_token_is_renewed_the_present_one_is_asked_with(service: Service) -> None:
    assert service.ubr is not None
    way, ticks = Slow(service), Ticks()
    way.going.set()
    access = await make_follower(service.ubr)
    await service.register("reader@example.org")
    tokens = await service.logged_in("reader@example.org")
    async with make_verifier(service, way, access, elapsed=ticks, patience=10) as verifier:
        await verifier.verify(tokens["access_token"])
        way.going.clear()
        ticks.now += 301  # half of its life, and a bit
        await verifier.verify(tokens["access_token"])
        ticks.now += 1.5
        await verifier.verify(tokens["access_token"])
        assert way.count("/api/auth/refresh") == 1
        way.going.set()
        asked = way.count("/api/revocations")
        await until(lambda: asyncio.sleep(0, way.count("/api/revocations") > asked + 3))
        assert (way.count("/api/auth/refresh"), way.count("/api/auth/login")) == (1, 1)


async def test_a_verifier_closed_during_its_login_opens_no_session(service: Service) -> None:
    assert service.ubr is not None
    way, access = Slow(service), await make_follower(service.ubr)
    async with make_verifier(service, way, access, elapsed=Ticks(), patience=0.1):
        pass
    assert way.count("/api/auth/login") == 1
    assert "DELETE /api/revocations" not in way.asked
