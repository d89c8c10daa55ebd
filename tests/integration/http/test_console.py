"""The console: what its pages show to whom, and every act of every form."""

from __future__ import annotations

import base64
import html
import os
import re
import secrets
import zlib
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest

from tests.integration.http.kit import ADMIN, PASSWORD, UNKNOWN
from tests.integration.http.test_pages import (
    Person,
    Tags,
    heading,
    notice,
    people,
    problem,
)
from ubr.adapters.security.secrets import seal
from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.accounts.get_user_by_email import GetUserByEmailCommand
from ubr.application.app import Application
from ubr.application.audit.list_logs import ListLogsCommand
from ubr.application.kernel.representations import RoleResult, UserResult
from ubr.application.machines.log_in_machine import LogInMachineCommand
from ubr.application.mail.list_mail import ListMailCommand
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.application.roles.list_roles import ListRolesCommand
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import InvalidClient
from ubr.domain.roles.role import ADMIN_ROLE_ID
from ubr.entrypoints.http.app import HttpOptions
from ubr.entrypoints.http.page_options import PageOptions
from ubr.entrypoints.http.pages.console import users
from ubr.entrypoints.http.pages.cookies import MAX_BYTES
from ubr.entrypoints.http.pages.page import policy
from ubr.entrypoints.http.pages.words import load, preferred

ADA = "ada@example.org"
SECTIONS = (
    "/console",
    "/console/users",
    "/console/users/new",
    "/console/roles",
    "/console/roles/new",
    f"/console/roles/{ADMIN_ROLE_ID}",
    "/console/machines",
    "/console/machines/new",
    "/console/log",
    "/console/log/checkpoint",
    "/console/mails",
    "/console/keys",
    "/console/keys/rotate",
    "/console/health",
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
    assert answer.headers["content-security-policy"] == policy(fetches=True)
    assert answer.headers["cache-control"] == "no-store"
    assert "style=" not in answer.text
    assert "<script>" not in answer.text
    ids = re.findall(r'\bid="([^"]+)"', answer.text)
    assert len(ids) == len(set(ids))


ENGLISH, GERMAN = (load()[language].messages for language in ("en", "de"))


@pytest.mark.parametrize("path", SECTIONS)
async def test_a_section_is_in_the_language_of_its_reader(path: str, reader: Person) -> None:
    answer = await reader.open(path, **{"accept-language": "de-DE, en;q=0.5"})
    tags = Tags(answer.text)
    assert tags.of("html") == [{"lang": "de"}]
    assert "Verwaltung" in tags.said("title")[0]
    # Log entries are stored in English, and say so.
    text = re.sub(r"<(\w+)[^>]* lang=\"en\".*?</\1>", "", answer.text, flags=re.DOTALL)
    same = set(map(str, GERMAN.values()))
    stayed = [
        message
        for key, message in ENGLISH.items()
        if key.startswith("console.") and isinstance(message, str) and "{" not in message and message not in same
        if re.search(rf'(?:>|label="|holder="){re.escape(html.escape(message))}[<"]', text)
    ]
    assert stayed == []
    assert {str(link["href"]).rpartition("?")[2] for link in tags.of("a") if "hreflang" in link} == {
        "language=en",
        "language=de",
    }


async def test_a_page_finds_its_language_once(admin: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []

    def counted(*arguments: Any) -> str:
        found.append(arguments)
        return preferred(*arguments)

    monkeypatch.setattr("ubr.entrypoints.http.pages.page.preferred", counted)
    for path in SECTIONS:
        found.clear()
        assert (await admin.open(path)).status_code == 200
        assert len(found) == 1, path


async def test_an_act_is_told_in_the_language_of_its_reader(admin: Person) -> None:
    ada = await create(admin, ADA)
    await admin.open("/console?language=de")
    question = await admin.open(f"/console/users/{ada.id}/acts/delete")
    assert heading(question) == GERMAN["console.user_act.delete.title"]
    assert str(GERMAN["console.act.ends_none"]) in consequences(question)
    wrong = await admin.send(question.url.path, confirmation="x")
    assert "is not" not in problem(wrong)
    assert notice(await admin.send(question.url.path, confirmation=ADA)) == GERMAN["notice.user-deleted"]


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


@pytest.mark.parametrize(
    ("act", "role"), [("disable", ""), ("enable", ""), ("assign", "editor"), ("unassign", "editor")]
)
async def test_an_undo_leaves_out_those_for_whom_nothing_changed(act: str, role: str, admin: Person) -> None:
    await ubr_of(admin).create_role(CreateRoleCommand(name="editor", permissions=[]), actor=SYSTEM)
    changed, same = [await create(admin, f"user{number}@example.org") for number in range(2)]
    reverse = {"disable": "enable", "enable": "disable", "assign": "unassign", "unassign": "assign"}[act]
    await bulk(admin, "/console/bulk/run", [same.id], act=act, role=role)
    await bulk(admin, "/console/bulk/run", [changed.id], act=reverse, role=role)
    before = [(user.status, user.roles) for user in [await found(admin, each.email) for each in (changed, same)]]
    result = await bulk(admin, "/console/bulk/run", [changed.id, same.id], act=act, role=role)
    assert "An undo leaves 1 user out" in result.text
    assert notice(result).startswith("2 users ")
    undo = await admin.send("/console/bulk", **hidden(result))
    assert changed.email in undo.text
    assert same.email not in undo.text
    await admin.send("/console/bulk/run", **hidden(undo))
    after = [(user.status, user.roles) for user in [await found(admin, each.email) for each in (changed, same)]]
    assert after == before


@pytest.mark.parametrize("act", ["assign", "unassign"])
async def test_an_undo_gives_no_role_without_end_to_those_who_held_it_with_one(act: str, admin: Person) -> None:
    await ubr_of(admin).create_role(CreateRoleCommand(name="editor", permissions=[]), actor=SYSTEM)
    ada = await create(admin, ADA)
    end = ada.created_at + timedelta(days=1)
    command = AssignRoleCommand(user_id=ada.id, role="editor", expires_at=end)
    await ubr_of(admin).assign_role(command, actor=SYSTEM)
    result = await bulk(admin, "/console/bulk/run", [ada.id], act=act, role="editor")
    assert "An undo leaves 1 user out" in result.text
    assert not [each for each in Tags(result.text).of("input") if each["name"] == "act"]


async def test_an_error_about_one_user_keeps_no_other_from_it(admin: Person) -> None:
    ada, last = await create(admin, ADA), await found(admin, ADMIN)
    result = await bulk(admin, "/console/bulk/run", [last.id, ada.id], act="unassign", role="admin")
    assert "1 user no longer has the role admin." in result.text
    assert "1 user stays as before" in problem(result)
    assert "admin" in (await found(admin, ADMIN)).roles


async def test_a_reload_of_the_result_repeats_nothing(admin: Person, somebody: Callable[[], Person]) -> None:
    """Nor does the form before it, sent once more."""
    made = [await create(admin, f"user{number}@example.org") for number in range(2)]
    question = await bulk(admin, "/console/bulk", [user.id for user in made], act="end-sessions")
    answer = await admin.answer("/console/bulk/run", **hidden(question))
    assert (answer.status_code, answer.content) == (303, b"")
    member = await somebody().log_in("user0@example.org")
    result = str(answer.url.join(answer.headers["location"]))
    for _ in range(2):
        assert "2 users are logged out everywhere." in (await admin.open(result)).text
    again = await admin.send("/console/bulk/run", **hidden(question))
    assert again.url == result
    assert (await member.open("/account")).url.path == "/account"


async def test_the_reload_of_a_progress_shows_the_newest(admin: Person) -> None:
    made = [await create(admin, f"user{number}@example.org") for number in range(users.PORTION + 1)]
    question = await bulk(admin, "/console/bulk", [user.id for user in made], act="disable")
    progress = await admin.send("/console/bulk/run", **hidden(question))
    assert Tags(progress.text).of("progress")
    await admin.send("/console/bulk/run", **hidden(progress))
    # The way back in the history of the browser, whose script would go on from there.
    back = await admin.open(progress.url.path)
    assert not Tags(back.text).of("progress")
    assert "6 users are disabled." in back.text


async def test_a_result_belongs_to_its_session(admin: Person, somebody: Callable[[], Person]) -> None:
    ada = await create(admin, ADA)
    question = await bulk(admin, "/console/bulk", [ada.id], act="disable")
    answer = await admin.answer("/console/bulk/run", **hidden(question))
    path = answer.url.join(answer.headers["location"]).path
    name = f"__Host-ubr-bulk-{path.rpartition('/')[2]}"
    kept = admin.client.cookies[name]
    assert ada.id.bytes not in base64.urlsafe_b64decode(kept + "===")
    other = await somebody().log_in()
    other.client.cookies.set(name, kept, domain="ubr.test")
    for asked in (await other.open(path), await other.send("/console/bulk/run", bulk=path.rpartition("/")[2])):
        assert asked.status_code == 410
        assert "no longer available" in asked.text
        assert str(ada.id) not in asked.text


@pytest.mark.parametrize("changed", ["", "x", "A" * 200, "A" * 5000])
async def test_a_changed_result_is_none(changed: str, admin: Person) -> None:
    ada = await create(admin, ADA)
    question = await bulk(admin, "/console/bulk", [ada.id], act="disable")
    result = await admin.send("/console/bulk/run", **hidden(question))
    assert result.status_code == 200
    name = f"__Host-ubr-bulk-{result.url.path.rpartition('/')[2]}"
    admin.client.cookies.delete(name)
    admin.client.cookies.set(name, changed, domain="ubr.test")
    assert (await admin.open(result.url.path)).status_code == 410


async def test_a_result_in_the_form_of_another_version_is_none(admin: Person) -> None:
    ada = await create(admin, ADA)
    question = await bulk(admin, "/console/bulk", [ada.id], act="disable")
    result = await admin.send("/console/bulk/run", **hidden(question))
    key = ubr_of(admin).authenticate_cookie.cookies.key(admin.client.cookies["__Host-ubr"])
    name = f"ubr-bulk-{result.url.path.rpartition('/')[2]}"
    for content in (b"", b"no zlib", zlib.compress(b"")[:-1], zlib.compress(b""), zlib.compress(b"\x90")):
        sealed = base64.urlsafe_b64encode(seal(key, content, name.encode(), os.urandom)).rstrip(b"=").decode()
        admin.client.cookies.set(f"__Host-{name}", sealed, domain="ubr.test", path="/")
        assert (await admin.open(result.url.path)).status_code == 410


async def test_acts_in_two_tabs_keep_their_results(admin: Person) -> None:
    made = [await create(admin, f"user{number}@example.org") for number in range(2 * users.PORTION + 2)]
    ids = [user.id for user in made]
    first, second = ids[: users.PORTION + 1], ids[users.PORTION + 1 :]
    disabling = await admin.send(
        "/console/bulk/run", **hidden(await bulk(admin, "/console/bulk", first, act="disable"))
    )
    ending = await admin.send(
        "/console/bulk/run", **hidden(await bulk(admin, "/console/bulk", second, act="end-sessions"))
    )
    assert disabling.url != ending.url
    disabled = await admin.send("/console/bulk/run", **hidden(disabling))
    assert "6 users are disabled." in disabled.text
    ended = await admin.send("/console/bulk/run", **hidden(ending))
    assert "6 users are logged out everywhere." in ended.text
    assert "6 users are disabled." in (await admin.open(disabling.url.path)).text
    assert {(await found(admin, f"user{number}@example.org")).status for number in range(6)} == {"disabled"}


async def test_the_oldest_results_give_way_before_a_proxy_refuses_the_cookies(admin: Person) -> None:
    results = []
    for _ in range(4):
        ids = [uuid4() for _ in range(users.MAX_SELECTED)]
        results.append((await bulk(admin, "/console/bulk/run", ids, act="disable")).url.path)
    kept = [value for name, value in admin.client.cookies.items() if name.startswith("__Host-ubr-bulk-")]
    assert sum(map(len, kept)) < 6 * 1024
    answers = [(await admin.open(path)).status_code for path in results]
    assert answers == [410, 410, 200, 200]


async def test_the_largest_act_fits_in_a_cookie(admin: Person) -> None:
    ids = [uuid4() for _ in range(users.MAX_SELECTED + 1)]
    refused = await bulk(admin, "/console/bulk/run", ids, act="assign", role="a" * 50)
    assert "must name at most 100 users" in problem(refused)
    refused = await bulk(admin, "/console/bulk/run", ids[1:], act="assign", role="a" * 51)
    assert "must have at most 50 characters" in problem(refused)
    progress = await bulk(admin, "/console/bulk/run", ids[1:], act="assign", role="a" * 50)
    while Tags(progress.text).of("progress"):
        progress = await admin.send("/console/bulk/run", **hidden(progress))
    assert "100 users stay as before" in problem(progress)
    bulk_cookie = users.Bulk(
        "0" * 16, "end-sessions", "a" * 50, [], [], [(each.bytes, -1) for each in ids[1:]], [secrets.token_hex(50)] * 8
    )
    sealed = zlib.compress(msgspec.msgpack.encode(bulk_cookie))
    assert len(sealed) * 4 / 3 < MAX_BYTES - 200


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
    back = await person.send("/account/confirm", password=PASSWORD, return_to=str(answer.url.params["return_to"]))
    assert back.url.path == f"/console/users/{user.id}"


# --- roles ------------------------------------------------------------------------------------------------------------


async def role_named(person: Person, name: str) -> RoleResult:
    roles = await ubr_of(person).list_roles(ListRolesCommand(), actor=SYSTEM)
    return next(role for role in roles.items if role.name == name)


async def test_a_role_is_created_changed_and_deleted_and_its_holders_are_named_before(
    admin: Person, somebody: Callable[[], Person]
) -> None:
    assert problem(await admin.send("/console/roles/new", name="Bad Name"))
    made = await admin.send("/console/roles/new", name="editor", permissions="users:read")
    assert notice(made) == "The role is created."
    role = await role_named(admin, "editor")
    matrix = Tags((await admin.open("/console/roles")).text)
    assert "users:read" in matrix.said("code")
    await create(admin, ADA, "editor")
    member = await somebody().log_in(ADA)

    path = f"/console/roles/{role.id}"
    edit = await admin.open(path)
    [revision] = re.findall(r'name="revision" value="([^"]+)"', edit.text)
    question = await admin.send(path, name="editor", permissions="logs:read", revision=revision)
    assert consequences(question) == (
        "The role gets logs:read. The role loses users:read. 1 user holds the role, with 1 open session: "
        "the change applies at once. No session ends."
    )
    assert (await role_named(admin, "editor")).permissions == ["users:read"]
    assert notice(await admin.send(path, **hidden(question))) == "The role is changed."
    assert (await role_named(admin, "editor")).permissions == ["logs:read"]
    assert (await member.open("/console/users")).status_code == 403
    assert (await member.open("/console/log")).status_code == 200

    # The question was about an earlier state of the role.
    stale = await admin.send(path, **hidden(question))
    assert stale.status_code == 412
    assert problem(stale)

    question = await admin.open(f"{path}/delete")
    assert "1 user holds the role, with 1 open session" in consequences(question)
    assert notice(await admin.send(f"{path}/delete")) == "The role is deleted."
    assert (await member.open("/console/log")).status_code == 403


async def test_a_built_in_role_stays(admin: Person) -> None:
    answer = await admin.send(f"/console/roles/{ADMIN_ROLE_ID}/delete")
    assert answer.status_code == 409
    assert problem(answer)


# --- machines ---------------------------------------------------------------------------------------------------------


async def test_a_machine_gets_a_key_that_is_shown_once_rotated_and_revoked(admin: Person) -> None:
    made = await admin.send("/console/machines/new", name="nightly-report", description="Sends it")
    assert notice(made) == "The machine is created. It needs a key to log in."
    page = made.url.path
    assert problem(await admin.send(f"{page}/keys", name=""))
    shown = await admin.send(f"{page}/keys", name="production", scope="users:read")
    [secret] = re.findall(r"ubr_sk_[0-9A-Za-z]{71}", shown.text)
    assert shown.headers["cache-control"] == "no-store"
    assert "ubr_sk_" not in (await admin.open(page)).text
    await ubr_of(admin).log_in_machine(LogInMachineCommand(client_secret=secret))

    def act(answer: httpx.Response, name: str) -> str:
        return next(str(link["href"]) for link in Tags(answer.text).of("a") if name in str(link["href"]))

    listed = await admin.open(page)
    question = await admin.open(str(listed.url.join(act(listed, "rotate-key"))))
    rotated = await admin.send(question.url.path, **{**hidden(question), "overlap": "0"})
    [successor] = re.findall(r"ubr_sk_[0-9A-Za-z]{71}", rotated.text)
    with pytest.raises(InvalidClient):
        await ubr_of(admin).log_in_machine(LogInMachineCommand(client_secret=secret))
    await ubr_of(admin).log_in_machine(LogInMachineCommand(client_secret=successor))

    listed = await admin.open(page)
    question = await admin.open(str(listed.url.join(act(listed, "revoke-key"))))
    assert notice(await admin.send(question.url.path, **hidden(question))).startswith("The key is revoked")
    with pytest.raises(InvalidClient):
        await ubr_of(admin).log_in_machine(LogInMachineCommand(client_secret=successor))


async def test_the_text_of_a_key_is_shown_once_and_no_reload_makes_another(
    admin: Person, somebody: Callable[[], Person]
) -> None:
    page = (await admin.send("/console/machines/new", name="job")).url.path
    answer = await admin.answer(f"{page}/keys", name="production")
    assert (answer.status_code, answer.content) == (303, b"")
    address = str(answer.url.join(answer.headers["location"]))
    [kept] = [value for name, value in admin.client.cookies.items() if name == "__Host-ubr-new-key"]
    assert b"ubr_sk_" not in base64.urlsafe_b64decode(kept + "===")
    thief = await somebody().log_in()
    thief.client.cookies.set("__Host-ubr-new-key", kept, domain="ubr.test")
    assert "ubr_sk_" not in (await thief.open(address)).text

    await admin.client.head(address)
    for name, purpose in (("sec-purpose", "prefetch"), ("sec-purpose", "prefetch;prerender"), ("x-moz", "prefetch")):
        assert (await admin.open(address, **{name: purpose})).status_code == 200
    other = (await admin.send("/console/machines/new", name="other")).url.path
    assert "ubr_sk_" not in (await admin.open(f"{other}/keys/new")).text
    shown = await admin.open(address)
    [secret] = re.findall(r"ubr_sk_[0-9A-Za-z]{71}", shown.text)
    await ubr_of(admin).log_in_machine(LogInMachineCommand(client_secret=secret))
    for _ in range(2):
        again = await admin.open(address)
        assert heading(again) == "The text of the key was shown once"
        assert "ubr_sk_" not in again.text
    assert (await admin.open(page)).text.count("acts/revoke-key") == 1


async def test_a_machine_is_described_disabled_enabled_and_deleted(admin: Person) -> None:
    page = (await admin.send("/console/machines/new", name="job")).url.path
    assert notice(await admin.send(page, description="Another text")) == "The machine is changed."
    assert "Another text" in (await admin.open("/console/machines")).text
    assert notice(await admin.send(f"{page}/acts/disable")).startswith("The machine is disabled")
    assert notice(await admin.send(f"{page}/acts/enable")) == "The machine is enabled."
    assert problem(await admin.send(f"{page}/acts/delete", confirmation="another"))
    assert notice(await admin.send(f"{page}/acts/delete", confirmation="job")) == "The machine is deleted."
    assert (await admin.open(page)).status_code == 404


# --- the log ----------------------------------------------------------------------------------------------------------


async def test_the_log_is_filtered_and_an_entry_is_proved(admin: Person) -> None:
    user = await create(admin, ADA)
    page = await admin.open(f"/console/log?target_id={user.id}&action=user.created")
    [entry] = (
        await ubr_of(admin).list_logs(ListLogsCommand(action="user.created", target_id=str(user.id)), actor=SYSTEM)
    ).items
    assert f"/console/log/{entry.id}" in links(page)
    proved = await admin.open(f"/console/log/{entry.id}")
    assert Tags(proved.text).said("span").count("valid") == 3
    assert "wrong" not in Tags(proved.text).said("span")
    assert str(user.id) in proved.text
    assert "user.created" in proved.text


@pytest.mark.parametrize("query", ["actor_id=x", "since=yesterday", "level=x", "cursor=x"])
async def test_a_wrong_filter_of_the_log_is_said(reader: Person, query: str) -> None:
    answer = await reader.open(f"/console/log?{query}")
    assert answer.status_code == 400
    assert heading(answer) == "Log"
    assert problem(answer)


async def test_the_checkpoint_is_shown_with_its_signature(reader: Person) -> None:
    answer = await reader.open("/console/log/checkpoint")
    assert "valid" in Tags(answer.text).said("span")
    assert "/log/" in answer.text


# --- mails, keys, health ----------------------------------------------------------------------------------------------


async def test_a_mail_without_an_attempt_is_listed_and_offers_none(admin: Person) -> None:
    await ubr_of(admin).create_user(CreateUserCommand(email="waiting@example.org"), actor=SYSTEM)
    page = await admin.open("/console/mails?state=waiting")
    mails = (await ubr_of(admin).list_mail(ListMailCommand(), actor=SYSTEM)).items
    assert all(mail.email in page.text for mail in mails)
    answer = await admin.send("/console/mails", mail_id=str(UNKNOWN))
    assert answer.status_code == 404
    assert problem(answer)


async def test_signing_keys_are_rotated_and_revoked_soon_after_a_login(admin: Person) -> None:
    before = await ubr_of(admin).list_signing_keys(actor=SYSTEM)
    assert before[0].kid in (await admin.open("/console/keys")).text
    assert notice(await admin.send("/console/keys/rotate")).startswith("A new signing key is published.")
    assert admin.service.clock is not None
    admin.service.clock.move(minutes=11)
    path = f"/console/keys/revoke/{before[0].kid}"
    asked = await admin.send(path)
    assert heading(asked) == "Confirm that it is you"
    back = await admin.send("/account/confirm", password=PASSWORD, return_to=str(asked.url.params["return_to"]))
    assert back.url.path == path
    assert "No session ends" in consequences(back)
    assert notice(await admin.send(path)).startswith("The signing key is revoked")
    states = {key.kid: key.state for key in await ubr_of(admin).list_signing_keys(actor=SYSTEM)}
    assert states[before[0].kid] == "revoked"


async def test_health_has_the_findings_of_the_doctor(reader: Person) -> None:
    said = Tags((await reader.open("/console/health")).text).said("strong")
    assert {"keys", "audit log", "administrators", "outbox"} <= set(said)
