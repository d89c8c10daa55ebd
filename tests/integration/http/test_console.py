"""The console: what its pages show to whom, and every act of every form."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from tests.integration.http.kit import ADMIN, PASSWORD
from tests.integration.http.test_pages import (
    Person,
    Tags,
    heading,
    notice,
    people,
    problem,
)
from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.accounts.get_user_by_email import GetUserByEmailCommand
from ubr.application.app import Application
from ubr.application.kernel.representations import UserResult
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.domain.actor import SYSTEM
from ubr.entrypoints.http.app import HttpOptions
from ubr.entrypoints.http.page_options import PageOptions
from ubr.entrypoints.http.pages.console import users
from ubr.entrypoints.http.pages.console.desk import POLICY

ADA = "ada@example.org"
SECTIONS = (
    "/console",
    "/console/users",
)


def ubr_of(person: Person) -> Application:
    assert person.service.ubr is not None
    return person.service.ubr


async def create(person: Person, email: str, *roles: str, **more: Any) -> UserResult:
    command = CreateUserCommand(email=email, password=PASSWORD, roles=list(roles), **more)
    return await ubr_of(person).create_user(command, actor=SYSTEM)


async def found(person: Person, email: str) -> UserResult:
    return await ubr_of(person).get_user_by_email(GetUserByEmailCommand(email=email), actor=SYSTEM)


def links(answer: httpx.Response) -> list[str]:
    """The paths within the console to which a page leads."""
    hrefs = [str(answer.url.join(str(link["href"])).path) for link in Tags(answer.text).of("a")]
    return [path for path in hrefs if path.startswith("/console")]


def consequences(answer: httpx.Response) -> str:
    listed = re.search(r'<ul class="consequences">(.*?)</ul>', answer.text, re.DOTALL)
    return "" if listed is None else " ".join(re.sub(r"<[^>]+>", " ", listed[1]).split())


@pytest.fixture
async def somebody() -> AsyncIterator[Callable[[], Person]]:
    async with people() as made:
        yield made


@pytest.fixture
async def admin(somebody: Callable[[], Person]) -> Person:
    return await somebody().log_in()


@pytest.fixture(scope="module")
async def reader() -> AsyncIterator[Person]:
    """An administrator for tests that only read."""
    async with people(HttpOptions()) as made:
        yield await made().log_in()


async def manager(admin: Person, somebody: Callable[[], Person], *permissions: str) -> Person:
    """A logged-in user with these permissions alone."""
    name = "-".join(permissions).replace(":", "-") or "nothing"
    await ubr_of(admin).create_role(CreateRoleCommand(name=name, permissions=list(permissions)), actor=SYSTEM)
    await create(admin, f"{name}@example.org", name)
    return await somebody().log_in(f"{name}@example.org")


# --- who sees what ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SECTIONS)
async def test_a_section_is_served_under_a_strict_policy(path: str, reader: Person) -> None:
    answer = await reader.open(path)
    assert (answer.status_code, answer.url.path) == (200, path)
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["cache-control"] == "no-store"
    assert "style=" not in answer.text
    assert "<script>" not in answer.text
    ids = re.findall(r'\bid="([^"]+)"', answer.text)
    assert len(ids) == len(set(ids))


async def test_a_stranger_is_led_to_the_login_and_back(somebody: Callable[[], Person], admin: Person) -> None:
    user = await create(admin, ADA)
    stranger = somebody()
    login = await stranger.open(f"/console/users/{user.id}/acts/end-session?session_id=1")
    assert heading(login) == "Log in"
    back = str(login.url.params["return_to"])
    assert back == f"/console/users/{user.id}/acts/end-session?session_id=1"
    answer = await stranger.send("/login", email=ADMIN, password=PASSWORD, return_to=back)
    assert heading(answer) == "End the session?"


async def test_a_user_without_a_permission_is_refused(admin: Person, somebody: Callable[[], Person]) -> None:
    user = await manager(admin, somebody)
    answer = await user.open("/console")
    assert answer.status_code == 403
    assert "/console" not in links(await user.open("/account"))
    assert "/console" in links(await admin.open("/account"))


async def test_each_reader_sees_their_sections_alone(admin: Person, somebody: Callable[[], Person]) -> None:
    reader = await manager(admin, somebody, "users:read")
    page = await reader.open("/console")
    assert {path for path in links(page) if path.count("/") == 2} == {"/console/users"}
    user = await create(admin, ADA)
    shown = await reader.open(f"/console/users/{user.id}")
    assert not [path for path in links(shown) if "/acts/" in path]
    assert "Sessions" not in Tags(shown.text).said("h2")
    # The act is refused by the use case, whatever the page offers.
    answer = await reader.send(f"/console/users/{user.id}/acts/disable")
    assert answer.status_code == 403
    assert "users:write" in problem(answer)
    assert (await found(admin, ADA)).status == "active"


@pytest.mark.parametrize("scope", ["account", "off"])
async def test_without_it_there_is_no_page(scope: Any) -> None:
    async with people(HttpOptions(pages=PageOptions(scope=scope))) as made:
        person = made()
        assert (await person.open("/console")).status_code == 404
        if scope == "account":
            await person.log_in()
            assert "/console" not in links(await person.open("/account"))


async def test_a_form_of_another_site_is_rejected(admin: Person) -> None:
    user = await create(admin, ADA)
    answer = await admin.client.post(
        f"/console/users/{user.id}/acts/disable",
        headers={"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
    )
    assert answer.status_code == 403
    assert (await found(admin, ADA)).status == "active"


# --- the overview -----------------------------------------------------------------------------------------------------


async def test_charts_have_a_title_a_description_and_a_table(admin: Person) -> None:
    page = Tags((await admin.open("/console")).text)
    pictures = page.of("svg")
    assert len(pictures) == 3
    ids = {attributes["id"] for tag in ("title", "desc") for attributes in page.of(tag) if "id" in attributes}
    for picture in pictures:
        assert picture["role"] == "img"
        assert set(str(picture["aria-labelledby"]).split()) <= ids
    assert len(page.of("table")) == 3
    assert "Logins in the last 24 hours: 1," in " ".join(page.said("desc"))


# --- the list of users ------------------------------------------------------------------------------------------------


async def test_users_are_searched_and_filtered(admin: Person) -> None:
    await create(admin, ADA, full_name="Ada Lovelace")
    await create(admin, "grace@example.org")
    for query, emails in {
        "": {ADMIN, ADA, "grace@example.org"},
        "?q=ada": {ADA},
        "?q=lovelace": set(),
        "?q=&status=disabled": set(),
        "?role=admin": {ADMIN},
        "?sort=-email&status=active": {ADMIN, ADA, "grace@example.org"},
    }.items():
        answer = await admin.open(f"/console/users{query}")
        assert answer.status_code == 200
        listed = set(re.findall(r'aria-label="Select ([^"]+)"', answer.text))
        assert listed == emails


@pytest.mark.parametrize("query", ["?cursor=junk", "?sort=x", "?q=%00", "?status=gone", f"?q={'x' * 300}"])
async def test_a_wrong_filter_is_said_in_the_page(reader: Person, query: str) -> None:
    answer = await reader.open(f"/console/users{query}")
    assert answer.status_code in {200, 400}
    assert heading(answer) == "Users"
    assert answer.status_code == 200 or problem(answer)


async def test_a_list_goes_on_with_its_filters(admin: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "LIMIT", 2)
    for number in range(3):
        await create(admin, f"page{number}@example.org")
    first = await admin.open("/console/users?q=page&sort=email")
    [more] = [str(link["href"]) for link in Tags(first.text).of("a") if link.get("rel") == "next"]
    second = await admin.open(str(first.url.join(more.replace("&amp;", "&"))))
    listed = [re.findall(r'aria-label="Select ([^"]+)"', page.text) for page in (first, second)]
    assert listed == [["page0@example.org", "page1@example.org"], ["page2@example.org"]]
    assert "First page" in second.text


async def test_a_user_is_created(admin: Person, somebody: Callable[[], Person]) -> None:
    answer = await admin.send("/console/users/new", email="a@b", password="short")
    assert answer.status_code == 400
    assert "E-mail" in problem(answer)
    answer = await admin.send("/console/users/new", email=ADA, full_name="Ada", password=PASSWORD, roles="admin")
    assert notice(answer) == "The user is created."
    assert "admin" in (await found(admin, ADA)).roles
    await somebody().log_in(ADA)


# --- several users at once --------------------------------------------------------------------------------------------


async def bulk(admin: Person, path: str, ids: list[Any], **fields: str) -> httpx.Response:
    data: dict[str, Any] = {**fields, "user_id": [str(id) for id in ids]}
    return await admin.send(path, **data)


def hidden(answer: httpx.Response) -> dict[str, Any]:
    """The fields of the only form that leads on."""
    fields: dict[str, Any] = {}
    for field in Tags(answer.text).of("input"):
        fields.setdefault(str(field["name"]), []).append(str(field["value"]))
    return fields


async def test_users_are_disabled_together_and_it_is_undone(admin: Person, somebody: Callable[[], Person]) -> None:
    made = [await create(admin, f"user{number}@example.org") for number in range(users.PORTION + 2)]
    member = await somebody().log_in("user0@example.org")
    ids = [user.id for user in made]
    question = await bulk(admin, "/console/bulk", ids, act="disable")
    assert heading(question) == "Disable, 7 users?"
    assert "1 session" in question.text
    assert (await found(admin, "user0@example.org")).status == "active"

    progress = await admin.send("/console/bulk/run", **hidden(question))
    [bar] = Tags(progress.text).of("progress")
    assert (bar["value"], bar["max"]) == ("5", "7")
    result = await admin.send("/console/bulk/run", **hidden(progress))
    assert "7 users are disabled." in result.text
    assert {(await found(admin, user.email)).status for user in made} == {"disabled"}
    assert (await member.open("/account")).url.path == "/login"

    undo = await admin.send("/console/bulk", **hidden(result))
    assert heading(undo) == "Enable, 7 users?"
    await admin.send("/console/bulk/run", **hidden(await admin.send("/console/bulk/run", **hidden(undo))))
    assert {(await found(admin, user.email)).status for user in made} == {"active"}


async def test_an_error_about_one_user_keeps_no_other_from_it(admin: Person) -> None:
    ada, last = await create(admin, ADA), await found(admin, ADMIN)
    result = await bulk(admin, "/console/bulk/run", [last.id, ada.id], act="unassign", role="admin")
    assert "1 user is without the role admin." in result.text
    assert "1 user stays as before" in problem(result)
    assert "admin" in (await found(admin, ADMIN)).roles


async def test_a_role_is_assigned_to_several(admin: Person) -> None:
    made = [await create(admin, f"user{number}@example.org") for number in range(2)]
    question = await bulk(admin, "/console/bulk", [user.id for user in made], act="assign", role="admin")
    assert "No session ends." in consequences(question)
    await admin.send("/console/bulk/run", **hidden(question))
    assert "admin" in (await found(admin, "user1@example.org")).roles


@pytest.mark.parametrize(
    "fields", [{"act": "disable"}, {"act": "x", "user_id": "1"}, {"act": "assign", "user_id": "1"}]
)
async def test_an_act_without_its_fields_does_nothing(reader: Person, fields: dict[str, str]) -> None:
    answer = await reader.send("/console/bulk", **fields)
    assert answer.status_code == 400
    assert heading(answer) == "Users"
    assert problem(answer)


# --- one user ---------------------------------------------------------------------------------------------------------


async def test_a_user_is_shown(admin: Person, somebody: Callable[[], Person]) -> None:
    user = await create(admin, ADA, "admin", full_name="Ada <Lovelace>")
    await somebody().log_in(ADA)
    page = await admin.open(f"/console/users/{user.id}")
    assert heading(page) == ADA
    assert "Ada &lt;Lovelace&gt;" in page.text
    assert "Firefox on Linux" in page.text
    assert "given by the service" in page.text
    assert (await admin.open("/console/users/x")).status_code == 404


ACTS: dict[str, tuple[dict[str, str], str]] = {
    "rename": ({"full_name": "Countess"}, "The full name is changed."),
    "email": ({"email": "other@example.org"}, "The e-mail is changed"),
    "verify": ({}, "a mail with a link is on its way"),
    "disable": ({}, "The user is disabled"),
    "enable": ({}, "The user is enabled."),
    "unlock": ({}, "The locks of the account have ended."),
    "end-sessions": ({}, "All sessions of the user have ended."),
    "assign": ({"role": "admin", "expires_at": "2999-01-31T12:00"}, "The role is assigned."),
    "unassign": ({"role": "admin"}, "The role is taken away."),
    "delete": ({"confirmation": ADA}, "The user is deleted."),
    "erase": ({"confirmation": ADA}, "The user is erased."),
}


@pytest.mark.parametrize("act", ACTS)
async def test_each_act_says_its_consequences_and_is_done_by_its_form(
    admin: Person, somebody: Callable[[], Person], act: str
) -> None:
    user = await create(admin, ADA)
    member = await somebody().log_in(ADA)
    fields, said = ACTS[act]
    path = f"/console/users/{user.id}/acts/{act}"
    question = await admin.open(path)
    assert question.status_code == 200
    ends = act in {"email", "disable", "end-sessions", "delete", "erase"}
    assert ("1 session ends at once." in consequences(question)) == ends
    assert (await member.open("/account")).url.path == "/account"
    answer = await admin.answer(path, **fields)
    assert answer.status_code == 303, answer.text
    shown = await admin.open(str(answer.url.join(answer.headers["location"])))
    assert said in notice(shown)
    assert ((await member.open("/account")).url.path == "/login") == ends


async def test_a_typed_confirmation_is_the_email(admin: Person) -> None:
    user = await create(admin, ADA)
    answer = await admin.send(f"/console/users/{user.id}/acts/delete", confirmation="yes")
    assert answer.status_code == 400
    assert "Confirmation is not the text that was asked for." in problem(answer)
    assert (await found(admin, ADA)).id == user.id


async def test_one_session_ends(admin: Person, somebody: Callable[[], Person]) -> None:
    user = await create(admin, ADA)
    one, other = await somebody().log_in(ADA), await somebody().log_in(ADA)
    page = await admin.open(f"/console/users/{user.id}")
    end = next(str(link["href"]) for link in Tags(page.text).of("a") if "end-session?" in str(link["href"]))
    question = await admin.open(str(page.url.join(end)))
    answer = await admin.send(question.url.path, **hidden(question))
    assert notice(answer) == "The session has ended."
    assert {(await each.open("/account")).url.path for each in (one, other)} == {"/account", "/login"}


async def test_a_wrong_end_of_a_role_is_said(admin: Person) -> None:
    user = await create(admin, ADA)
    answer = await admin.send(f"/console/users/{user.id}/acts/assign", role="admin", expires_at="tomorrow")
    assert answer.status_code == 400
    assert "End is not a date with a time" in problem(answer)


async def test_one_sees_why_a_user_cannot_log_in(admin: Person, somebody: Callable[[], Person]) -> None:
    user = await create(admin, ADA)
    await somebody().send("/login", email=ADA, password="an entirely wrong password")
    await admin.send(f"/console/users/{user.id}/acts/disable")
    page = await admin.open(f"/console/users/{user.id}/login")
    assert consequences(page) == "The account is disabled."
    assert "wrong password" in page.text
    assert f"/console/users/{user.id}/acts/enable" in links(page)


async def test_the_export_of_a_user_is_downloaded(admin: Person) -> None:
    user = await create(admin, ADA)
    answer = await admin.send(f"/console/users/{user.id}/export")
    assert answer.headers["content-disposition"] == f'attachment; filename="{user.id}.json"'
    assert answer.json()["user"]["email"] == ADA


async def test_an_act_upon_oneself_asks_for_the_password_if_the_rules_do(
    admin: Person, somebody: Callable[[], Person]
) -> None:
    person = await manager(admin, somebody, "users:read")
    user = await found(admin, "users-read@example.org")
    assert person.service.clock is not None
    person.service.clock.move(minutes=11)
    answer = await person.send(f"/console/users/{user.id}/export")
    assert heading(answer) == "Confirm that it is you"
    back = await person.send(
        "/account/confirm", current_password=PASSWORD, return_to=str(answer.url.params["return_to"])
    )
    assert back.url.path == f"/console/users/{user.id}"
