"""One behaviour with each framework and each way to have users."""

from collections.abc import Callable
from uuid import UUID, uuid4

import httpx
import pytest

from ubr import SYSTEM, DeleteUserCommand, ListUsersCommand
from ubr.testing import Double, DoubleUser

pytestmark = pytest.mark.anyio

MakeUser = Callable[..., DoubleUser]


async def texts(notes: httpx.AsyncClient, user: DoubleUser) -> list[str]:
    answer = await notes.get("/notes", headers=user.headers)
    assert answer.status_code == 200, answer.text
    return [note["text"] for note in answer.json()]


async def written(notes: httpx.AsyncClient, user: DoubleUser, text: str) -> str:
    answer = await notes.post("/notes", json={"text": text}, headers=user.headers)
    assert answer.status_code == 201, answer.text
    assert UUID(answer.json()["author"]) == user.id
    return str(answer.json()["id"])


async def test_each_user_reads_their_own_notes(notes: httpx.AsyncClient, a_user: MakeUser) -> None:
    first, second = (a_user(permissions=["notes:edit"]) for _ in range(2))
    await written(notes, first, "of the first")
    await written(notes, second, "of the second")
    assert await texts(notes, first) == ["of the first"]


async def test_a_note_needs_a_user_and_a_permission(notes: httpx.AsyncClient, a_user: MakeUser) -> None:
    reader = a_user()
    assert (await notes.get("/notes")).status_code == 401
    assert (await notes.get("/notes", headers={"authorization": "Bearer no-token"})).status_code == 401
    denied = await notes.post("/notes", json={"text": "no"}, headers=reader.headers)
    assert (denied.status_code, denied.json()["type"]) == (403, "/problems/forbidden")
    assert await texts(notes, reader) == []


async def test_a_shared_note_is_read_by_a_user(notes: httpx.AsyncClient, a_user: MakeUser) -> None:
    writer, reader = a_user(permissions=["notes:edit"]), a_user()
    note = await written(notes, writer, "shared")
    for _ in range(2):
        shared = await notes.post(f"/notes/{note}/readers", json={"email": reader.email}, headers=writer.headers)
        assert shared.status_code == 204, shared.text
    assert await texts(notes, reader) == ["shared"]


async def test_a_reader_without_an_account_gets_one_and_a_mail(
    notes: httpx.AsyncClient, ubr_double: Double, a_user: MakeUser
) -> None:
    writer = a_user(permissions=["notes:edit"])
    note = await written(notes, writer, "shared")
    ubr_double.mails()
    shared = await notes.post(f"/notes/{note}/readers", json={"email": "new@example.org"}, headers=writer.headers)
    assert shared.status_code == 204, shared.text
    [mail] = ubr_double.mails()
    assert mail.to == "new@example.org"


async def test_only_authors_share_their_notes(notes: httpx.AsyncClient, a_user: MakeUser) -> None:
    writer, other = (a_user(permissions=["notes:edit"]) for _ in range(2))
    note = await written(notes, writer, "kept")
    for id in (note, str(uuid4())):
        refused = await notes.post(f"/notes/{id}/readers", json={"email": other.email}, headers=other.headers)
        assert (refused.status_code, refused.json()["type"]) == (404, "/problems/not-found")
    assert await texts(notes, other) == []


async def test_an_invitation_without_an_email_is_refused(
    notes: httpx.AsyncClient, ubr_double: Double, a_user: MakeUser
) -> None:
    writer = a_user(permissions=["notes:edit"])
    note = await written(notes, writer, "kept")
    users = await ubr_double.ubr.list_users(ListUsersCommand(), actor=SYSTEM)
    refused = await notes.post(f"/notes/{note}/readers", json={"email": "nobody"}, headers=writer.headers)
    assert (refused.status_code, refused.json()["type"]) == (400, "/problems/invalid-input")
    assert await ubr_double.ubr.list_users(ListUsersCommand(), actor=SYSTEM) == users


async def test_a_token_ends_with_its_user(notes: httpx.AsyncClient, ubr_double: Double, a_user: MakeUser) -> None:
    writer = a_user(permissions=["notes:edit"])
    await written(notes, writer, "kept")
    await ubr_double.ubr.delete_user(DeleteUserCommand(user_id=writer.id), actor=SYSTEM)
    assert (await notes.get("/notes", headers=writer.headers)).status_code == 401


async def test_a_token_ends_with_its_session(
    notes: httpx.AsyncClient, ubr_http: httpx.AsyncClient, a_user: MakeUser
) -> None:
    reader = a_user()
    assert await texts(notes, reader) == []
    assert (await ubr_http.post("/api/auth/logout", headers=reader.headers)).status_code == 204
    assert (await notes.get("/notes", headers=reader.headers)).status_code == 401
