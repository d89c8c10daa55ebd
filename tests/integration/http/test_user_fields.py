"""Fields of the host over HTTP, declared in the file of docs/fields.md."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.http.kit import ADMIN, PASSWORD, Service, bearer, in_process, memory_settings
from tests.integration.http.test_pages import people
from tests.support.papers import blocks_of
from ubr import SYSTEM, CreateUserCommand
from ubr.bootstrap.user_fields import user_fields_of
from ubr.entrypoints.http.openapi.document import described
from ubr.settings import WrongSetting

FILE, BODY = (block.text for block in blocks_of("docs/fields.md", "json"))
NEW = {"email": "grace@example.org", "password": PASSWORD}
SALES = {"department": "sales", "tags": ["a"], "hired_on": "2026-01-31"}
SHOWN = {
    "department": "sales",
    "level": 1,
    "nickname": None,
    "hired_on": "2026-01-31",
    "tags": ["a"],
    "customer_number": None,
}
"""As an administrator sees them."""


@pytest.fixture
def declaration(tmp_path: Path) -> str:
    path = tmp_path / "fields.json"
    path.write_text(FILE)
    return str(path)


@pytest.fixture
async def service(declaration: str) -> AsyncIterator[Service]:
    async with in_process(memory_settings(user_fields_file=declaration)) as made:
        yield made


async def created(service: Service, admin: dict[str, str], **fields: Any) -> dict[str, Any]:
    answer = await service.client.post("/api/users", json=NEW | {"fields": fields}, headers=admin)
    assert answer.status_code == 201, answer.text
    user: dict[str, Any] = answer.json()
    return user


async def test_the_example_of_the_page(service: Service) -> None:
    admin = await service.admin()
    user = await created(service, admin, **SALES, nickname="Amazing Grace")
    assert user["fields"] == SHOWN | {"nickname": "Amazing Grace"}
    path = f"/api/users/{user['id']}"
    changed = await service.client.patch(path, json=json.loads(BODY), headers=admin)
    assert changed.json()["fields"] == SHOWN | {"department": "legal"}
    assert (await service.client.get(path, headers=admin)).json() == changed.json()


async def test_the_etag_changes_with_the_fields(service: Service) -> None:
    admin = await service.admin()
    path = f"/api/users/{(await created(service, admin, **SALES))['id']}"
    before = (await service.client.get(path, headers=admin)).headers["etag"]
    changes = {"fields": {"level": 2}}
    after = await service.client.patch(path, json=changes, headers=admin | {"if-match": before})
    assert (after.status_code, after.json()["fields"]["level"]) == (200, 2)
    assert after.headers["etag"] != before
    again = await service.client.patch(path, json=changes, headers=admin | {"if-match": before})
    assert again.status_code == 412


async def test_errors_name_each_field(service: Service) -> None:
    admin = await service.admin()
    fields = {"department": "unknown", "level": 0, "tags": ["a", 1], "customer_number": "7", "other": 1}
    answer = await service.client.post("/api/users", json=NEW | {"fields": fields}, headers=admin)
    assert answer.status_code == 400
    assert sorted((error["pointer"], error["detail"]) for error in answer.json()["errors"]) == [
        ("/fields/customer_number", "is written only by the service"),
        ("/fields/department", "must be one of sales, legal"),
        ("/fields/level", "must be from 1 to 9"),
        ("/fields/other", "is not a known field"),
        ("/fields/tags/1", "must be a string"),
    ]
    missing = await service.client.post("/api/users", json=NEW, headers=admin)
    assert [(error["pointer"], error["detail"]) for error in missing.json()["errors"]] == [
        ("/fields/department", "is required")
    ]
    others: tuple[object, ...] = (None, [], "x")
    for wrong in others:
        answer = await service.client.post("/api/users", json=NEW | {"fields": wrong}, headers=admin)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/fields")


async def test_a_stranger_gets_one_error_for_thousands_of_fields(service: Service) -> None:
    answer = await service.client.post("/api/auth/register", json=NEW | {"fields": {f"f{n}": 1 for n in range(5000)}})
    assert answer.json()["errors"] == [{"pointer": "/fields", "detail": "must have at most 50 fields"}]
    admin = await service.admin()
    query = "&".join(f"fields.f{n}=1" for n in range(6))
    answer = await service.client.get(f"/api/users?{query}", headers=admin)
    assert (answer.status_code, answer.json()["detail"]) == (400, "A search names at most 5 fields")


async def test_a_person_registers_with_their_fields_and_sees_them(service: Service) -> None:
    refused = await service.client.post("/api/auth/register", json=NEW | {"fields": {"level": 2}})
    assert [(error["pointer"], error["detail"]) for error in refused.json()["errors"]] == [
        ("/fields/level", "is written only by administrators")
    ]
    answer = await service.client.post("/api/auth/register", json=NEW | {"fields": {"nickname": "G"}})
    assert answer.status_code == 201
    seen = {"department": None, "level": 1, "nickname": "G", "tags": None, "customer_number": None}
    assert answer.json()["fields"] == seen
    tokens = await service.logged_in(NEW["email"])
    me = await service.client.get("/api/users/me", headers=bearer(tokens))
    assert (tokens["user"]["fields"], me.json()["fields"]) == (seen, seen)
    path = f"/api/users/{tokens['user']['id']}"
    own = await service.client.patch(path, json={"fields": {"nickname": None}}, headers=bearer(tokens))
    assert own.json()["fields"]["nickname"] is None
    other = await service.client.patch(path, json={"fields": {"level": 9}}, headers=bearer(tokens))
    assert other.status_code == 403


async def test_a_search_by_fields(service: Service) -> None:
    admin = await service.admin()
    user = await created(service, admin, **SALES)

    async def found(query: str) -> list[str]:
        answer = await service.client.get(f"/api/users?{query}", headers=admin)
        assert answer.status_code == 200, answer.text
        return [each["id"] for each in answer.json()["items"]]

    assert await found("fields.department=sales") == [user["id"]]
    assert await found("fields.department=sales&fields.level=1&fields.tags=a&q=grace&status=active") == [user["id"]]
    assert await found("fields.department=legal") == []
    for wrong in ("fields.nickname=x", "fields.other=x", "fields=x", "fields.=x", "fields.level=x"):
        answer = await service.client.get(f"/api/users?{wrong}", headers=admin)
        assert answer.status_code == 400, wrong
    answer = await service.client.get("/api/users?fields.level=x", headers=admin)
    assert answer.json()["errors"] == [{"pointer": "/fields.level", "detail": "must be a whole number"}]


async def test_the_document_describes_the_fields(service: Service) -> None:
    document = (await service.client.get("/api/openapi.json")).json()
    schemas = document["components"]["schemas"]
    shown = schemas["UserResult"]["properties"]["fields"]["properties"]
    assert list(shown) == list(SHOWN)
    assert "fields" not in schemas["UserResult"]["required"]  # machines have none
    assert list(schemas["RegisterUserCommand"]["properties"]["fields"]["properties"]) == ["nickname"]
    written = schemas["CreateUserCommand"]["properties"]["fields"]
    assert (list(written["properties"]), written["additionalProperties"]) == (list(SHOWN)[:-1], False)
    assert written["properties"]["department"] == {"type": "string", "enum": ["sales", "legal"]}
    listing = document["paths"]["/api/users"]["get"]["parameters"]
    assert [each["name"] for each in listing if each["name"].startswith("fields")] == [
        "fields.department",
        "fields.level",
        "fields.tags",
    ]


def test_without_a_declaration_the_document_has_no_fields() -> None:
    schemas = described()["components"]["schemas"]
    for name in ("UserResult", "MeResult", "RegisterUserCommand", "CreateUserCommand", "UserChanges"):
        assert "fields" not in schemas[name]["properties"], name
    assert "fields" not in {each["name"] for each in described()["paths"]["/api/users"]["get"]["parameters"]}


async def test_without_a_declaration_fields_are_unknown() -> None:
    async with in_process(memory_settings()) as service:
        admin = await service.admin()
        me = (await service.client.get("/api/users/me", headers=admin)).json()
        assert "fields" not in me
        answer = await service.client.patch(f"/api/users/{me['id']}", json={"fields": {}}, headers=admin)
        assert answer.json()["errors"] == [{"pointer": "/fields", "detail": "is not a known field"}]
        answer = await service.client.get("/api/users?fields.level=1", headers=admin)
        assert answer.json()["errors"] == [{"pointer": "/fields.level", "detail": "is not a known parameter"}]
        assert (await service.logged_in(ADMIN))["user"].keys() == me.keys() - {"permissions"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "is not a declaration of fields"),
        ('{"fields": [{"name": "a", "type": "float"}]}', "is not a declaration of fields"),
        ('{"fields": [{"name": "a", "type": "string", "other": 1}]}', "unknown field `other`"),
        ('{"fields": [{"name": "a", "type": "enum"}]}', "must have choices"),
        ('{"fields": [{"name": "a", "type": "integer", "default": "x"}]}', "must be a whole number"),
        (" " * 70_000, "has more than 65536 bytes"),
        (None, "cannot be read"),
    ],
    ids=["json", "type", "member", "choices", "default", "size", "missing"],
)
def test_a_file_that_cannot_be_used_is_a_wrong_setting(declaration: str, text: str | None, why: str) -> None:
    path = Path(declaration)
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(WrongSetting, match="UBR_USER_FIELDS_FILE names") as error:
        user_fields_of(memory_settings(user_fields_file=declaration))
    assert why in str(error.value)


async def test_the_console_shows_the_fields_of_a_user(declaration: str) -> None:
    async with people(user_fields_file=declaration) as somebody:
        admin = await somebody().log_in()
        assert admin.service.ubr is not None
        command = CreateUserCommand(email=NEW["email"], fields=SALES | {"nickname": "<b>G</b>"})
        user = await admin.service.ubr.create_user(command, actor=SYSTEM)
        page = (await admin.open(f"/console/users/{user.id}")).text
    for name, value in (("department", "sales"), ("nickname", "&lt;b&gt;G&lt;/b&gt;"), ("hired_on", "2026-01-31")):
        assert f"<dt>{name}</dt><dd>{value}</dd>" in page
