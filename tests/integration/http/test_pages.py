"""The pages for people: as they are served, and every act of every form."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from uuid import UUID

import httpx
import pytest

from tests.integration.http.kit import (
    ADMIN,
    ANOTHER_PASSWORD,
    PASSWORD,
    Service,
    in_process,
    memory_settings,
)
from tests.support.people import token_in
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM
from ubr.entrypoints.http.app import HttpOptions
from ubr.entrypoints.http.browser import COOKIE
from ubr.entrypoints.http.page_options import PageOptions
from ubr.entrypoints.http.pages.page import policy
from ubr.settings import Limit, LoginRateLimit
from ubr.testing import delivered

HOST = "https://ubr.test"
PUBLIC = ("/login", "/register", "/forgot", "/reset-password", "/verify-email", "/verify-email/resend", "/undo-email")
OWN = ("/account", "/account/password", "/account/sessions", "/account/data", "/account/delete", "/account/confirm")
APP = "https://app.example.org"
SAME_ORIGIN = {"origin": HOST, "sec-fetch-site": "same-origin"}
WRONG = "an entirely wrong password"


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[tuple[str, str]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.text.append((self.found[-1][0], data.strip()))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]

    def said(self, tag: str) -> list[str]:
        return [text for name, text in self.text if name == tag]


class Person:
    """Somebody with a browser: it keeps cookies, follows redirects, and says where a form comes from."""

    def __init__(self, service: Service) -> None:
        self.service = service
        inner = service.client._transport  # noqa: SLF001 - httpx has no public way to it
        self.client = httpx.AsyncClient(
            transport=inner,
            base_url=HOST,
            headers={
                "accept": "text/html,application/xhtml+xml",
                "user-agent": "Mozilla/5.0 (X11; Linux) Firefox/140.0",
            },
        )

    async def open(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers=headers, follow_redirects=True)

    async def send(self, path: str, **fields: str) -> httpx.Response:
        return await self.client.post(path, data=fields, headers=SAME_ORIGIN, follow_redirects=True)

    async def answer(self, path: str, **fields: str) -> httpx.Response:
        """The answer to a form itself: no redirect is followed."""
        return await self.client.post(path, data=fields, headers=SAME_ORIGIN)

    async def log_in(self, email: str = ADMIN, password: str = PASSWORD) -> Person:
        answer = await self.send("/login", email=email, password=password)
        assert answer.url.path == "/account", answer.text
        return self

    async def mailed(self) -> str:
        """The token of the newest link."""
        assert self.service.ubr is not None
        return token_in((await delivered(self.service.ubr))[-1])


def heading(answer: httpx.Response) -> str:
    [text] = re.findall(r"<h1>(.*?)</h1>", answer.text)
    return str(text)


def notice(answer: httpx.Response) -> str:
    found = re.findall(r'<p class="notice" role="status">(.*?)</p>', answer.text)
    return str(found[0]) if found else ""


def problem(answer: httpx.Response) -> str:
    found = re.findall(r'<div class="problem".*?</div>', answer.text, re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", found[0]).split()) if found else ""


@asynccontextmanager
async def people(options: HttpOptions | None = None, **settings: Any) -> AsyncIterator[Callable[[], Person]]:
    async with in_process(memory_settings(**settings), options) as service:
        made: list[Person] = []

        def person() -> Person:
            made.append(Person(service))
            return made[-1]

        yield person


@pytest.fixture
async def person() -> AsyncIterator[Person]:
    async with people() as somebody:
        yield somebody()


@pytest.fixture(scope="module")
async def reader() -> AsyncIterator[Person]:
    """For tests that only read pages: logged in, on a service for the whole module."""
    async with people(HttpOptions()) as somebody:
        yield await somebody().log_in()


@pytest.fixture(scope="module")
async def stranger(reader: Person) -> Person:
    """The same, without a session."""
    return Person(reader.service)


@pytest.fixture(scope="module")
async def returning() -> AsyncIterator[Callable[[], Person]]:
    """A service that leads people to other origins."""
    options = HttpOptions(return_url="https://return.example.org/in", pages=PageOptions(return_origins=(APP,)))
    async with people(options) as somebody:
        yield somebody


async def page_of(path: str, reader: Person, stranger: Person) -> httpx.Response:
    answer = await (stranger if path in PUBLIC else reader).open(path)
    assert (answer.status_code, answer.url.path) == (200, path)
    return answer


# --- as they are served -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PUBLIC, *OWN])
async def test_a_page_is_served_under_a_strict_policy(path: str, reader: Person, stranger: Person) -> None:
    answer = await page_of(path, reader, stranger)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == policy()
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert "unsafe" not in policy()
    assert policy().startswith("default-src 'none'")


@pytest.mark.parametrize("path", [*PUBLIC, *OWN])
async def test_nothing_stands_in_a_page_that_its_policy_forbids(path: str, reader: Person, stranger: Person) -> None:
    page = Tags((await page_of(path, reader, stranger)).text)
    for _, attributes in page.found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    assert "style" not in {tag for tag, _ in page.found}
    assert not page.said("script")
    for _, attributes in page.found:
        for name in ("src", "href", "action"):
            # Relative, so that the service may stand under a path of its own.
            assert re.fullmatch(r"(\.\./|\./)*[a-z?#][\w./?=#&-]*|(\.\./)+|\./|", attributes.get(name) or ""), (
                attributes
            )


@pytest.mark.parametrize("path", [*PUBLIC, *OWN])
async def test_every_reference_of_a_page_leads_somewhere(path: str, reader: Person, stranger: Person) -> None:
    answer = await page_of(path, reader, stranger)
    for _, attributes in Tags(answer.text).found:
        for name in ("src", "href"):
            # The links that choose a language have a test of their own.
            if (target := attributes.get(name)) and not ("?language=" in target or target.startswith("#")):
                found = await reader.open(urljoin(str(answer.url), target))
                assert found.status_code == 200, target
        if target := attributes.get("action"):
            # Nothing was sent: a form without its fields is no good, and its path is known.
            found = await stranger.answer(urljoin(str(answer.url), target))
            assert found.status_code in {303, 400, 401}, target


@pytest.mark.parametrize("path", [*PUBLIC, *OWN])
@pytest.mark.parametrize("language", ["en", "de"])
async def test_a_page_can_be_used_by_everybody(path: str, language: str, reader: Person, stranger: Person) -> None:
    answer = await (stranger if path in PUBLIC else reader).open(path, **{"accept-language": language})
    page = Tags(answer.text)
    assert page.of("html") == [{"lang": language}]
    assert len(page.of("h1")) == len(page.of("main")) == len(page.of("title")) == 1
    assert "width=device-width" in str(page.of("meta"))
    labelled = {label.get("for") for label in page.of("label")}
    for field in page.of("input"):
        if "hidden" not in field and field["type"] != "hidden":
            assert field["id"] in labelled
            assert field["autocomplete"]
            for described in str(field.get("aria-describedby", "")).split():
                assert described == "None" or described in {each.get("id") for _, each in page.found}
    ids = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(ids) == len(set(ids))


AUTOCOMPLETE = {
    "/login": {"email": "username", "password": "current-password"},
    "/register": {"email": "username", "full_name": "name", "password": "new-password"},
    "/reset-password": {"token": "off", "new_password": "new-password"},
    "/account/password": {
        "username": "username",
        "current_password": "current-password",
        "new_password": "new-password",
    },
}


@pytest.mark.parametrize("path", AUTOCOMPLETE)
async def test_a_password_manager_knows_the_fields(path: str, reader: Person, stranger: Person) -> None:
    page = Tags((await page_of(path, reader, stranger)).text)
    assert {field["name"]: field["autocomplete"] for field in page.of("input")} == AUTOCOMPLETE[path]


async def test_assets_are_kept_for_good_under_the_hash_of_their_content(stranger: Person) -> None:
    page = Tags((await stranger.open("/login")).text)
    for path in [page.of("script")[0]["src"], *(link["href"] for link in page.of("link"))]:
        assert re.fullmatch(r"assets/[a-z]+\.[0-9a-f]{16}\.(css|js|svg)", path or "")
        answer = await stranger.open(f"/{path}")
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        again = await stranger.open(f"/{path}", **{"if-none-match": answer.headers["etag"]})
        assert again.status_code == 304
    for path in ("/assets/style.css", "/assets/style.0000000000000000.css", "/assets/..%2Fwords%2Fen.toml"):
        assert (await stranger.open(path)).status_code == 404


async def test_the_script_makes_no_markup(stranger: Person) -> None:
    page = Tags((await stranger.open("/login")).text)
    script = (await stranger.open(f"/{page.of('script')[0]['src']}")).text
    forbidden = r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|Function\(|localStorage|cookie|fetch"
    assert not re.search(forbidden, script)


async def test_values_of_people_are_text(person: Person) -> None:
    markup = '"><script>alert(1)</script>'
    again = await person.send("/login", email=markup, password=PASSWORD)
    assert "<script>alert" not in again.text
    assert "&#34;&gt;&lt;script&gt;alert(1)" in again.text
    await person.log_in()
    await person.send("/account", full_name=markup)
    assert "<script>alert" not in (await person.open("/account")).text
    odd = await person.open(f"/login?return_to={markup}&language={markup}")
    assert "<script>alert" not in odd.text


async def test_no_password_comes_back_in_a_page(person: Person) -> None:
    for path, fields in (
        ("/login", {"email": ADMIN, "password": WRONG}),
        ("/register", {"email": ADMIN, "password": WRONG}),
        ("/reset-password", {"token": "x", "new_password": WRONG}),
    ):
        assert WRONG not in (await person.send(path, **fields)).text


# --- pages that are off -----------------------------------------------------------------------------------------------


async def test_without_pages_there_are_none_and_programs_notice_nothing() -> None:
    options = HttpOptions(pages=PageOptions(scope="off"))
    async with in_process(memory_settings(), options) as service:
        for path in (*PUBLIC, *OWN, "/assets/style.css"):
            assert (await service.client.get(path)).status_code == 404
            assert (await service.client.post(path)).status_code == 404
        root = await service.client.get("/", headers={"accept": "text/html"})
        assert (root.status_code, root.headers["location"]) == (302, "api/docs")
        assert (await service.logged_in(ADMIN))["user"]["email"] == ADMIN


# --- the start --------------------------------------------------------------------------------------------------------


async def test_the_start_leads_people_to_the_login_or_to_their_account(person: Person) -> None:
    assert (await person.open("/")).url.path == "/login"
    await person.log_in()
    assert (await person.open("/")).url.path == "/account"


@pytest.mark.parametrize("accept", ["application/json", "*/*", ""])
async def test_the_start_leads_programs_to_the_documentation(service: Service, accept: str) -> None:
    answer = await service.client.get("/", headers={"accept": accept})
    assert (answer.status_code, answer.headers["location"]) == (302, "api/docs")


# --- login and logout -------------------------------------------------------------------------------------------------


async def test_a_login_opens_a_session_with_a_cookie_that_scripts_cannot_read(person: Person) -> None:
    answer = await person.answer("/login", email=ADMIN, password=PASSWORD)
    assert (answer.status_code, answer.headers["location"]) == (303, "account")
    [cookie] = answer.headers.get_list("set-cookie")
    assert cookie.startswith("__Host-ubr=")
    assert {"HttpOnly", "Secure", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert heading(await person.open("/account")) == "Profile"
    assert (await person.open("/login")).url.path == "/account"


@pytest.mark.parametrize("email", [ADMIN, "unknown@example.org"])
async def test_a_failed_login_reveals_nothing(person: Person, email: str) -> None:
    answer = await person.send("/login", email=email, password=WRONG)
    assert answer.status_code == 401
    assert problem(answer) == "There is a problem The e-mail or the password is wrong."
    assert not person.client.cookies
    assert Tags(answer.text).of("input")[0]["value"] == email


async def test_a_disabled_user_is_answered_alike(person: Person) -> None:
    assert person.service.ubr is not None
    user = await person.service.register("ada@example.org")
    changes = UserChanges(status=UserStatus.DISABLED)
    await person.service.ubr.update_user(UpdateUserCommand(user_id=UUID(user["id"]), changes=changes), actor=SYSTEM)
    answer = await person.send("/login", email="ada@example.org", password=PASSWORD)
    assert (answer.status_code, problem(answer)) == (401, "There is a problem The e-mail or the password is wrong.")


async def test_missing_fields_are_named_at_once_and_linked(person: Person) -> None:
    answer = await person.send("/login")
    assert answer.status_code == 400
    assert problem(answer) == "There is a problem 2 fields need a correction. E-mail is required. Password is required."
    page = Tags(answer.text)
    for field in page.of("input"):
        assert field["aria-invalid"] == "true"
        assert f"{field['id']}-error" in str(field["aria-describedby"])
        assert {"href": f"#{field['id']}"} in page.of("a")
    assert page.said("title")[0].startswith("Error: Log in")


async def test_too_many_attempts_are_refused_with_the_time_to_wait() -> None:
    limit = LoginRateLimit(Limit(1, timedelta(minutes=3)), None)
    async with people(login_rate_limit=limit) as somebody:
        person = somebody()
        await person.send("/login", email=ADMIN, password=WRONG)
        answer = await person.send("/login", email=ADMIN, password=PASSWORD)
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 60
        assert re.fullmatch(r"There is a problem Too many attempts\. Try again in [23] minutes\.", problem(answer))


async def test_logging_out_ends_the_session_and_takes_the_cookie(person: Person) -> None:
    await person.log_in()
    before = dict(person.client.cookies)
    answer = await person.send("/logout")
    assert (answer.url.path, notice(answer)) == ("/login", "You are logged out.")
    assert "__Host-ubr" not in person.client.cookies
    thief = Person(person.service)
    thief.client.cookies.update(before)
    assert (await thief.open("/account")).url.path == "/login"


async def test_the_authorization_of_a_proxy_means_nothing_to_a_page(person: Person) -> None:
    person.client.headers["authorization"] = "Basic dGFyZ2V0"
    assert (await (await person.log_in()).open("/account")).url.path == "/account"
    thief = Person(person.service)
    thief.client.cookies.update(person.client.cookies)
    assert notice(await person.send("/logout")) == "You are logged out."
    assert (await thief.open("/account")).url.path == "/login"


@pytest.mark.parametrize("planted", ["{cookie}; __Host-ubr=planted", "__Host-ubr=planted; {cookie}"])
async def test_a_logout_ends_the_session_beside_a_planted_cookie(person: Person, planted: str) -> None:
    [cookie] = [f"{name}={value}" for name, value in (await person.log_in()).client.cookies.items() if name == COOKIE]
    browser = Person(person.service)
    headers = {**SAME_ORIGIN, "cookie": planted.format(cookie=cookie)}
    answer = await browser.client.post("/logout", headers=headers)
    assert answer.status_code == 303
    assert f"{COOKIE}=; Max-Age=0" in answer.headers["set-cookie"]
    assert (await person.open("/account")).url.path == "/login"


async def test_logging_out_twice_is_no_error(person: Person) -> None:
    assert notice(await person.send("/logout")) == "You are logged out."
    person.client.cookies.set("__Host-ubr", "nonsense")
    assert notice(await person.send("/logout")) == "You are logged out."


@pytest.mark.parametrize("path", OWN)
async def test_without_a_session_an_own_page_leads_to_the_login_and_back(person: Person, path: str) -> None:
    asked = await person.open(path)
    assert (asked.url.path, notice(asked)) == ("/login", "Log in to continue.")
    [back] = [field["value"] for field in Tags(asked.text).of("input") if field["name"] == "return_to"]
    assert back == path
    answer = await person.send("/login", email=ADMIN, password=PASSWORD, return_to=back or "")
    assert answer.url.path == path


@pytest.mark.parametrize(
    "path", ["/account/email", "/account/sessions/end", "/account/sessions/end-others", "/account/export"]
)
async def test_without_a_session_no_act_is_done(person: Person, path: str) -> None:
    assert (await person.send(path)).url.path == "/login"


async def test_a_notice_is_shown_once(person: Person) -> None:
    await person.send("/forgot", email=ADMIN)
    assert notice(await person.open("/login")) == ""


@pytest.mark.parametrize("value", ["<b>", "unknown", "x" * 100, "name-saved; x"])
async def test_only_notices_of_the_service_are_shown(person: Person, value: str) -> None:
    answer = await person.client.get("/login", headers={"cookie": f"__Host-ubr-notice={value}"})
    assert answer.status_code == 200
    assert notice(answer) in {"", "The name is saved."}


# --- other origins ----------------------------------------------------------------------------------------------------

FOREIGN = {
    "another site": {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
    "a sibling": {"origin": "https://other.ubr.test", "sec-fetch-site": "same-site"},
    "an older browser": {"origin": "https://evil.example"},
    "no origin": {"origin": "null"},
    "neither": {},
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("path", ["/login", "/logout", "/register", "/account", "/account/delete", "/undo-email"])
async def test_a_form_of_another_origin_does_nothing(person: Person, path: str, kind: str) -> None:
    await person.log_in()
    before = await person.service.written()
    fields = {"email": ADMIN, "password": PASSWORD, "full_name": "Mallory"}
    answer = await person.client.post(path, data=fields, headers=FOREIGN[kind])
    assert answer.status_code == 403
    assert problem(answer) == "A page of another origin sent this request."
    assert "set-cookie" not in answer.headers
    assert await person.service.written() == before


async def test_a_form_is_a_form(person: Person) -> None:
    for kind in ("application/json", "text/plain", "multipart/form-data; boundary=x"):
        answer = await person.client.post("/login", content=b"{}", headers={**SAME_ORIGIN, "content-type": kind})
        assert answer.status_code == 415
        assert answer.headers["content-type"].startswith("text/html")
    for body in (b"email=%zz", b"email=%ff", "email=ä".encode(), b"email=a&email=b", b"&".join([b"a=b"] * 2000)):
        kind = "application/x-www-form-urlencoded"
        answer = await person.client.post("/login", content=body, headers={**SAME_ORIGIN, "content-type": kind})
        assert answer.status_code == 400
        assert answer.headers["content-type"].startswith("text/html")
    large = await person.send("/login", email="a" * 70_000)
    assert large.status_code == 413


# --- where a login leads ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "leads", "origin"),
    [
        ("/account/sessions", "account/sessions", None),
        ("/reports?a=b", "/reports?a=b", None),
        (f"{APP}/start?a=b", f"{APP}/start?a=b", APP),
        ("https://return.example.org/x", "https://return.example.org/x", "https://return.example.org"),
        ("//evil.example", "account", None),
        ("https://evil.example", "account", None),
        ("https://app.example.org.evil.example", "account", None),
        ("/\\evil.example", "account", None),
        ("javascript:alert(1)", "account", None),
    ],
)
async def test_a_login_leads_to_listed_places_alone(
    returning: Callable[[], Person], asked: str, leads: str, origin: str | None
) -> None:
    person = returning()
    page = await person.client.get("/login", params={"return_to": asked})
    hidden = {field["name"]: field["value"] for field in Tags(page.text).of("input") if field["type"] == "hidden"}
    assert hidden == ({} if leads == "account" else {"return_to": asked})
    # The browser applies the policy to the redirect after the form too.
    assert page.headers["content-security-policy"] == policy(leads_to=origin)
    answer = await person.answer("/login", email=ADMIN, password=PASSWORD, return_to=asked)
    assert (answer.status_code, answer.headers["location"]) == (303, leads)
    known = await person.client.get("/login", params={"return_to": asked})
    assert (known.status_code, known.headers["location"]) == (303, leads)


async def test_every_page_shows_the_way_to_the_application_of_the_operator() -> None:
    options = HttpOptions(return_url="https://app.example.org/a&b")
    async with people(options) as somebody:
        page = Tags((await somebody().open("/verify-email")).text)
    assert {"href": "https://app.example.org/a&b"} in page.of("a")
    assert "Go to app.example.org" in page.said("a")


# --- registration -----------------------------------------------------------------------------------------------------


async def test_a_notice_stays_until_a_person_sees_it(person: Person) -> None:
    answer = await person.answer("/forgot", email="ada@example.org")
    page = str(answer.url.join(answer.headers["location"]))
    await person.client.head(page)
    assert notice(await person.open(page, **{"sec-purpose": "prefetch"}))
    assert notice(await person.open(page))
    assert not notice(await person.open(page))


async def test_registering_logs_in_and_mails_a_link(person: Person) -> None:
    answer = await person.send("/register", email="ada@example.org", full_name="Ada", password=PASSWORD)
    assert (answer.url.path, heading(answer)) == ("/account", "Profile")
    assert notice(answer).startswith("The account is created.")
    assert "not confirmed" in answer.text
    assert Tags(answer.text).of("input")[0]["value"] == "Ada"
    token = await person.mailed()
    done = await person.send("/verify-email", token=token, password=PASSWORD)
    assert (done.url.path, notice(done)) == ("/account", "The e-mail is confirmed. You can now log in.")
    assert "not confirmed" not in done.text


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"email": "x", "password": PASSWORD}, 400, "One field needs a correction. E-mail is not an e-mail."),
        ({"email": "a@example.org", "password": "short"}, 400, "Password must have at least 15 characters."),
        ({"email": ADMIN, "password": PASSWORD}, 409, "The e-mail belongs to another account."),
        ({"email": "a@example.org"}, 400, "Password is required."),
        (
            {"email": "a@example.org", "password": PASSWORD, "full_name": "x" * 201},
            400,
            "Full name must have between 1 and 200 characters.",
        ),
    ],
)
async def test_a_registration_that_cannot_be(person: Person, fields: dict[str, str], status: int, said: str) -> None:
    answer = await person.send("/register", **fields)
    assert answer.status_code == status
    assert problem(answer).endswith(said)
    assert Tags(answer.text).of("input")[0]["value"] == fields["email"]


async def test_where_mails_decide_every_registration_is_answered_alike() -> None:
    async with people(registration="verified") as somebody:
        person = somebody()
        page = Tags((await person.open("/register")).text)
        assert [field["name"] for field in page.of("input")] == ["email", "full_name"]
        answers = [await person.send("/register", email=email) for email in ("new@example.org", ADMIN)]
        assert {(answer.url.path, notice(answer)) for answer in answers} == {
            ("/login", "Check your mailbox: if the e-mail can be used, a mail with a link is on its way.")
        }
        assert person.service.ubr is not None
        token = token_in((await delivered(person.service.ubr))[0])
        asked = await person.send("/verify-email", token=token)
        assert (asked.status_code, problem(asked)) == (200, "")
        fields = {field["name"]: field.get("value") for field in Tags(asked.text).of("input")}
        assert fields == {"token": token, "password": None}
        weak = await person.send("/verify-email", token=token, password="short")
        assert problem(weak).endswith("Your password, or a new one must have at least 15 characters.")
        done = await person.send("/verify-email", token=token, password=PASSWORD)
        assert notice(done) == "The e-mail is confirmed. You can now log in."
        await person.log_in("new@example.org")


async def test_where_registration_is_closed_pages_say_so() -> None:
    async with people(registration="closed") as somebody:
        person = somebody()
        page = await person.open("/register")
        assert "Registration is closed." in page.text
        assert Tags(page.text).of("form") == []
        assert "/register" not in (await person.open("/login")).text
        answer = await person.send("/register", email="a@example.org", password=PASSWORD)
        assert answer.status_code == 403


# --- links in mails ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("email", [ADMIN, "unknown@example.org"])
async def test_a_forgotten_password_reveals_nothing(person: Person, email: str) -> None:
    answer = await person.send("/forgot", email=email)
    assert (answer.url.path, notice(answer)) == (
        "/login",
        "If an account has this e-mail, a mail with a link is on its way.",
    )


@pytest.mark.parametrize("email", [ADMIN, "unknown@example.org"])
async def test_another_mail_to_confirm_reveals_nothing(person: Person, email: str) -> None:
    answer = await person.send("/verify-email/resend", email=email)
    assert answer.url.path == "/login"
    assert notice(answer).startswith("If an account with this e-mail waits")


async def test_a_link_sets_a_new_password_once(person: Person) -> None:
    await person.send("/forgot", email=ADMIN)
    token = await person.mailed()
    for _ in range(3):  # a mail program looks at the link, as far as a server sees it
        assert (await person.open("/reset-password")).status_code == 200
    weak = await person.send("/reset-password", token=token, new_password="short")
    assert weak.status_code == 400
    assert problem(weak).endswith("New password must have at least 15 characters.")
    # The person need not open the link again.
    assert {"type": "hidden", "name": "token", "value": token} in Tags(weak.text).of("input")
    done = await person.send("/reset-password", token=token, new_password=ANOTHER_PASSWORD)
    assert notice(done).startswith("The password is set.")
    await person.log_in(password=ANOTHER_PASSWORD)
    again = await Person(person.service).send("/reset-password", token=token, new_password=PASSWORD)
    assert again.status_code == 400
    assert "no longer valid" in problem(again)
    assert token not in again.text


async def test_a_person_without_scripts_pastes_the_whole_link(person: Person) -> None:
    await person.send("/forgot", email=ADMIN)
    link = f"{HOST}/reset-password#token={await person.mailed()}"
    done = await person.send("/reset-password", token=f"  {link}\n", new_password=ANOTHER_PASSWORD)
    assert notice(done).startswith("The password is set.")


async def test_a_new_email_takes_a_link_and_can_be_undone(person: Person) -> None:
    await person.send("/register", email="ada@example.org", password=PASSWORD)
    await person.send("/verify-email", token=await person.mailed(), password=PASSWORD)
    asked = await person.send("/account/email", email="countess@example.org", current_password=PASSWORD)
    assert notice(asked) == "A mail with a link is on its way to the new e-mail."
    assert person.service.ubr is not None
    mails = {mail.to: mail for mail in await delivered(person.service.ubr)}
    done = await person.send("/verify-email", token=token_in(mails["countess@example.org"]))
    assert notice(done).startswith("The e-mail is confirmed.")
    assert "countess@example.org" in (await person.open("/account")).text
    undone = await person.send("/undo-email", token=await person.mailed())
    assert undone.url.path == "/login"
    assert notice(undone).startswith("The e-mail is restored. All sessions have ended.")
    assert (await person.open("/account")).url.path == "/login"


@pytest.mark.parametrize("path", ["/reset-password", "/verify-email", "/undo-email"])
@pytest.mark.parametrize("token", ["nonsense", "ubr_link_" + "A" * 43])
async def test_a_link_that_is_no_good_says_so(person: Person, path: str, token: str) -> None:
    answer = await person.send(path, token=token, new_password=ANOTHER_PASSWORD)
    assert answer.status_code == 400
    assert "no longer valid" in problem(answer)


# --- one's own account ------------------------------------------------------------------------------------------------


async def test_a_name_is_saved_and_cleared(person: Person) -> None:
    await person.log_in()
    saved = await person.send("/account", full_name="Ada Lovelace")
    assert (notice(saved), Tags(saved.text).of("input")[0]["value"]) == ("The name is saved.", "Ada Lovelace")
    cleared = await person.send("/account", full_name="")
    assert Tags(cleared.text).of("input")[0]["value"] == ""
    wrong = await person.send("/account", full_name="x" * 201)
    assert (wrong.status_code, Tags(wrong.text).of("input")[0]["value"]) == (400, "x" * 201)


async def test_an_email_takes_the_password(person: Person) -> None:
    await person.log_in()
    answer = await person.send("/account/email", email="new@example.org", current_password=WRONG)
    assert (answer.status_code, problem(answer)) == (403, "There is a problem The current password is wrong.")
    same = await person.send("/account/email", email=ADMIN, current_password=PASSWORD)
    assert problem(same).endswith("New e-mail must differ from the current e-mail.")


async def test_a_new_password_ends_the_other_sessions_and_replaces_the_cookie(person: Person) -> None:
    other = await Person(person.service).log_in()
    await person.log_in()
    before = dict(person.client.cookies)
    wrong = await person.send("/account/password", current_password=WRONG, new_password=ANOTHER_PASSWORD)
    assert (wrong.status_code, problem(wrong)) == (403, "There is a problem The current password is wrong.")
    weak = await person.send("/account/password", current_password=PASSWORD, new_password="short")
    assert problem(weak).endswith("New password must have at least 15 characters.")
    done = await person.send("/account/password", current_password=PASSWORD, new_password=ANOTHER_PASSWORD)
    assert (done.url.path, notice(done)) == (
        "/account/password",
        "The password is changed. All other sessions have ended.",
    )
    assert (await other.open("/account")).url.path == "/login"
    thief = Person(person.service)
    thief.client.cookies.update(before)
    assert (await thief.open("/account")).url.path == "/login"


async def test_sessions_are_listed_by_device_and_ended(person: Person) -> None:
    other = await Person(person.service).log_in()
    another = await Person(person.service).log_in()
    await person.service.logged_in(ADMIN)
    await person.log_in()
    page = await person.open("/account/sessions")
    assert Tags(page.text).said("strong") == [
        "Firefox on Linux",
        "python-httpx",
        "Firefox on Linux",
        "Firefox on Linux",
    ]
    assert page.text.count("This device") == 1
    assert page.text.count("IP address: 127.0.0.1") == 4
    ids = [field["value"] for field in Tags(page.text).of("input") if field["name"] == "session_id"]
    assert len(ids) == 3
    oldest = str(ids[-1])
    ended = await person.send("/account/sessions/end", session_id=oldest)
    assert notice(ended) == "The session has ended."
    assert (await other.open("/account")).url.path == "/login"
    assert (await another.open("/account")).url.path == "/account"
    others = await person.send("/account/sessions/end-others")
    assert notice(others) == "All other sessions have ended."
    assert "You are logged in on this device only." in others.text
    assert (await another.open("/account")).url.path == "/login"
    assert (await person.open("/account")).url.path == "/account"


@pytest.mark.parametrize("session_id", ["", "nonsense", "01926e5c-7b0e-7f3a-9c55-0d2f6f1c8a10"])
async def test_a_session_of_nobody_cannot_be_ended(person: Person, session_id: str) -> None:
    await person.send("/register", email="ada@example.org", password=PASSWORD)
    answer = await person.send("/account/sessions/end", session_id=session_id)
    assert answer.status_code == 403


async def test_sessions_are_shown_in_pages(person: Person) -> None:
    for _ in range(3):
        await person.service.logged_in(ADMIN)
    await person.log_in()
    answer = await person.open("/account/sessions?cursor=nonsense")
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/html")


async def test_ones_own_data_is_downloaded_after_a_recent_login(person: Person) -> None:
    await person.log_in()
    answer = await person.send("/account/export")
    assert answer.headers["content-disposition"] == 'attachment; filename="account.json"'
    assert json.loads(answer.text)["user"]["email"] == ADMIN


async def test_an_old_login_is_confirmed_by_the_password_and_leads_back(person: Person) -> None:
    await person.send("/register", email="ada@example.org", password=PASSWORD)
    clock = person.service.clock
    assert clock is not None
    clock.move(seconds=601)
    for path, back in (("/account/export", "/account/data"), ("/account/delete", "/account/delete")):
        asked = await person.send(path)
        assert (asked.url.path, heading(asked)) == ("/account/confirm", "Confirm that it is you")
        assert Tags(asked.text).of("input")[-1]["value"] == back
    before = dict(person.client.cookies)
    wrong = await person.send("/account/confirm", password=WRONG, return_to="/account/delete")
    assert (wrong.status_code, problem(wrong)) == (401, "There is a problem The e-mail or the password is wrong.")
    empty = await person.send("/account/confirm", return_to="/account/delete")
    assert problem(empty).endswith("Password is required.")
    assert 'href="#password"' in empty.text  # a link to the field, which is on this page
    assert 'id="password"' in empty.text
    confirmed = await person.send("/account/confirm", password=PASSWORD, return_to="/account/delete")
    assert confirmed.url.path == "/account/delete"
    thief = Person(person.service)
    thief.client.cookies.update(before)
    assert (await thief.open("/account")).url.path == "/login"
    done = await person.send("/account/delete")
    assert (done.url.path, notice(done)) == ("/login", "The account is deleted.")
    again = await person.send("/login", email="ada@example.org", password=PASSWORD)
    assert again.status_code == 401


async def test_the_last_administrator_stays(person: Person) -> None:
    await person.log_in()
    answer = await person.send("/account/delete")
    assert answer.status_code == 409
    assert problem(answer).startswith("There is a problem The last administrator cannot be removed.")


# --- languages --------------------------------------------------------------------------------------------------------


async def test_a_chosen_language_stays(person: Person) -> None:
    assert heading(await person.open("/login", **{"accept-language": "de-CH, en;q=0.5"})) == "Anmelden"
    assert heading(await person.open("/login")) == "Log in"
    assert heading(await person.open("/login?language=de")) == "Anmelden"
    assert heading(await person.open("/register", **{"accept-language": "en"})) == "Konto anlegen"
    refused = await person.send("/login", email="x", password=WRONG)
    assert Tags(refused.text).of("html") == [{"lang": "de"}]
    assert heading(await person.open("/login?language=en")) == "Log in"


async def test_after_an_error_a_choice_of_language_leads_to_the_page(person: Person) -> None:
    await person.log_in()
    for path, page in (
        ("/account/email", "/account"),
        ("/account/sessions/end", "/account/sessions"),
        ("/account/password", "/account/password"),
        ("/login", "/login"),
    ):
        refused = await person.send(path, session_id="nonsense")
        assert refused.status_code >= 400
        [link] = [each["href"] for each in Tags(refused.text).of("a") if each.get("hreflang") == "de"]
        assert urljoin(path, link or "") == f"{page}?language=de"


async def test_a_method_that_a_page_does_not_have_is_a_page_too(person: Person) -> None:
    answer = await person.open("/logout")
    assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST")
    assert problem(answer) == "The path does not support this method."
    for method in ("PUT", "PATCH", "DELETE"):
        other = await person.client.request(method, "/account")
        assert (other.status_code, other.headers["content-type"]) == (405, "text/html; charset=utf-8")


async def test_an_error_is_a_problem_for_programs(service: Service) -> None:
    answer = await service.client.post("/login", json={"email": ADMIN, "password": PASSWORD})
    assert (answer.status_code, answer.headers["content-type"]) == (415, "application/problem+json")


async def test_a_choice_of_language_keeps_the_way_back(person: Person) -> None:
    page = Tags((await person.open("/login?return_to=/account/data")).text)
    for link in (each["href"] for each in page.of("a") if "hreflang" in each):
        chosen = await person.open(urljoin("/login", link or ""))
        assert 'name="return_to" value="/account/data"' in chosen.text


# --- an operator's files ----------------------------------------------------------------------------------------------


async def test_an_operator_has_a_look_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "login.html").write_text(
        '{% extends "layout.html" %}{% block content %}<h1>{{ service }}!</h1>{% endblock %}'
    )
    (tmp_path / "en.toml").write_text('[register]\ntitle = "Join us"\n')
    (tmp_path / "style.css").write_text(":root { --accent: #0a7; }")
    logo = tmp_path / "logo.svg"
    logo.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    options = PageOptions(service="Notes <&>", folder=tmp_path, logo=logo)
    async with people(HttpOptions(pages=options)) as somebody:
        person = somebody()
        page = await person.open("/login")
        assert heading(page) == "Notes &lt;&amp;&gt;!"
        registration = await person.open("/register")
        assert heading(registration) == "Join us"
        links = {link["rel"]: link["href"] for link in Tags(registration.text).of("link")}
        assert (await person.open(f"/{links['stylesheet']}")).text == ":root { --accent: #0a7; }"
        assert (await person.open(f"/{links['icon']}")).headers["content-type"] == "image/svg+xml"
        assert Tags(registration.text).of("img")[0]["src"] == links["icon"]


async def test_the_title_of_an_error_is_escaped_once(tmp_path: Path) -> None:
    (tmp_path / "fr.toml").write_text('[login]\ntitle = "S\'identifier & <entrer>"\n')
    async with people(HttpOptions(pages=PageOptions(folder=tmp_path))) as somebody:
        person = somebody()
        await person.open("/login?language=fr")
        answer = await person.send("/login", email=ADMIN, password="wrong")
        assert "<title>Error: S&#39;identifier &amp; &lt;entrer&gt; · " in answer.text


async def test_a_page_that_cannot_be_made_is_a_problem_and_no_secret(tmp_path: Path) -> None:
    (tmp_path / "login.html").write_text("{{ unknown_name }}")
    options = HttpOptions(pages=PageOptions(folder=tmp_path))
    async with people(options) as somebody:
        answer = await somebody().open("/login")
        assert answer.status_code == 500
        assert problem(answer) == "The service failed unexpectedly."
        assert "unknown_name" not in answer.text
        (tmp_path / "layout.html").write_text("{{ unknown_name }}")
    async with people(options) as somebody:
        answer = await somebody().open("/login")
        assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")


async def test_the_pages_of_a_service_without_tls_have_cookies_without_the_prefix() -> None:
    async with people(HttpOptions(public_url="http://127.0.0.1:8000")) as somebody:
        answer = await somebody().client.get("/login?language=de")
        assert answer.headers["set-cookie"].startswith("ubr-language=de;")
        assert "Secure" not in answer.headers["set-cookie"]


@pytest.mark.parametrize("path", ["/login", "/register"])
async def test_a_login_that_a_browser_would_drop_is_explained_where_it_needs_tls(path: str) -> None:
    for public_url, explained in ((None, True), ("https://ubr.test", True), ("http://127.0.0.1:8000", False)):
        async with people(HttpOptions(public_url=public_url)) as somebody:
            # The script shows it, because the browser alone knows which cookies it keeps.
            shown = [each for _, each in Tags((await somebody().open(path)).text).found if "data-needs-tls" in each]
            assert len(shown) == explained
            assert all("hidden" in each for each in shown)
