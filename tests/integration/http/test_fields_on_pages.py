"""Fields of the host on pages: an input for those that a person may write, and a text for the others."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.http.kit import PASSWORD
from tests.integration.http.test_console import create, found, ubr_of
from tests.integration.http.test_pages import Person, Tags, notice, people, problem
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.domain.actor import SYSTEM
from ubr.entrypoints.http.app import HttpOptions
from ubr.entrypoints.http.page_options import PageOptions

FIELDS: list[dict[str, Any]] = [
    {"name": "nickname", "type": "string", "max": 10, "write": "user", "required": True, "description": "A short one."},
    {"name": "shoe_size", "type": "integer", "min": 20, "max": 60, "default": 40, "write": "user"},
    {"name": "newsletter", "type": "boolean", "write": "user"},
    {"name": "born_on", "type": "date", "write": "user"},
    {"name": "colour", "type": "enum", "choices": ["red", "blue & green"], "write": "user"},
    {"name": "hobbies", "type": "strings", "max": 3, "write": "user"},
    {"name": "department", "type": "string"},
    {"name": "secret_note", "type": "string", "read": "admins"},
    {"name": "customer_number", "type": "string", "write": "host"},
]
OWN = ["nickname", "shoe_size", "newsletter", "born_on", "colour", "hobbies"]
GERMAN = """
[fields.nickname]
label = "Spitzname"
help = "Kurzer {{Name}}."
"""
FILLED = {
    "fields/nickname": "Ada",
    "fields/shoe_size": "38",
    "fields/newsletter": "false",
    "fields/born_on": "1815-12-10",
    "fields/colour": "blue & green",
    "fields/hobbies": "chess\r\n\r\n  maths ",
}
VALUES = {
    "nickname": "Ada",
    "shoe_size": 38,
    "newsletter": False,
    "born_on": "1815-12-10",
    "colour": "blue & green",
    "hobbies": ["chess", "maths"],
}
ADA = {"email": "ada@example.org", "password": PASSWORD}


@pytest.fixture
async def somebody(tmp_path: Path) -> AsyncIterator[Callable[[], Person]]:
    declaration = tmp_path / "fields.json"
    declaration.write_text(json.dumps({"fields": FIELDS}))
    (folder := tmp_path / "pages").mkdir()
    (folder / "de.toml").write_text(GERMAN)
    options = HttpOptions(pages=PageOptions(folder=folder))
    async with people(options, user_fields_file=str(declaration)) as made:
        yield made


def names(answer: httpx.Response) -> list[str]:
    """The fields with an input."""
    tags = [tag for kind in ("input", "select", "textarea") for tag in Tags(answer.text).of(kind)]
    named = {str(tag["name"]) for tag in tags if str(tag.get("name", "")).startswith("fields/")}
    return [field["name"] for field in FIELDS if f"fields/{field['name']}" in named]


def control(answer: httpx.Response, name: str) -> dict[str, str | None]:
    [tag] = [tag for kind in ("input", "select", "textarea") for tag in Tags(answer.text).of(kind)
             if tag.get("name") == f"fields/{name}"]  # fmt: skip
    return tag


async def registered(somebody: Callable[[], Person], **changes: str) -> Person:
    person = somebody()
    answer = await person.send("/register", **ADA, **(FILLED | changes))
    assert answer.url.path == "/account", problem(answer)
    return person


async def test_a_person_registers_with_a_field_that_is_required(somebody: Callable[[], Person]) -> None:
    form = await somebody().open("/register")
    assert names(form) == OWN
    assert "required" in control(form, "nickname")
    assert "required" not in control(form, "colour")
    number = control(form, "shoe_size")
    assert [number[name] for name in ("type", "min", "max", "value")] == ["number", "20", "60", "40"]
    assert control(form, "born_on")["type"] == "date"
    person = await registered(somebody)
    assert (await found(person, "ada@example.org")).fields == VALUES | {
        "department": None,
        "secret_note": None,
        "customer_number": None,
    }


async def test_an_error_is_beside_its_field_and_the_rest_is_kept(somebody: Callable[[], Person]) -> None:
    wrong = {"fields/nickname": "", "fields/shoe_size": "61", "fields/hobbies": f"chess\n{'x' * 101}"}
    answer = await somebody().send("/register", **ADA, **(FILLED | wrong))
    assert answer.status_code == 400
    for name in ("nickname", "shoe_size", "hobbies"):
        described = control(answer, name)
        assert described["aria-invalid"] == "true"
        assert f"fields/{name}-error" in str(described["aria-describedby"])
        assert f'href="#fields/{name}"' in answer.text
    assert "shoe_size must be from 20 to 60" in problem(answer)
    assert control(answer, "shoe_size")["value"] == "61"
    assert '<option value="blue &amp; green" selected>' in answer.text
    assert "aria-invalid" not in control(answer, "colour")


async def test_a_label_and_its_help_are_in_the_words_of_the_operator(somebody: Callable[[], Person]) -> None:
    english = await somebody().open("/register")
    assert 'for="fields/nickname">nickname</label>' in english.text
    assert "A short one." in english.text
    person = somebody()
    german = await person.open("/register", **{"accept-language": "de"})
    assert 'for="fields/nickname">Spitzname</label>' in german.text
    assert "Kurzer {Name}." in german.text
    assert '<option value="true">Ja</option>' in german.text
    person.client.headers["accept-language"] = "de"
    refused = await person.send("/register", **ADA, **(FILLED | {"fields/nickname": "", "fields/shoe_size": "x"}))
    assert re.search("Spitzname: [a-z]+ erforderlich", problem(refused))
    assert "shoe_size: muss eine ganze Zahl sein" in problem(refused)


async def test_a_person_changes_their_own_fields_alone(somebody: Callable[[], Person]) -> None:
    person = await registered(somebody)
    ada = await found(person, "ada@example.org")
    changes = UserChanges(fields={"department": "sales", "customer_number": "7", "secret_note": "nobody"})
    await ubr_of(person).update_user(UpdateUserCommand(user_id=ada.id, changes=changes), actor=SYSTEM)
    page = await person.open("/account")
    assert names(page) == OWN
    assert "<dt>department</dt><dd>sales</dd>" in page.text
    assert "<dt>customer_number</dt><dd>7</dd>" in page.text
    assert "secret_note" not in page.text
    again = FILLED | {"fields/nickname": "Countess", "fields/hobbies": "", "fields/department": "board"}
    done = await person.send("/account/fields", **again)
    assert (done.url.path, notice(done)) == ("/account", "The details are saved.")
    expected = VALUES | {"nickname": "Countess", "hobbies": None, "department": "sales"}
    after = (await found(person, "ada@example.org")).fields
    assert isinstance(after, dict)
    assert {name: after[name] for name in expected} == expected


async def test_a_form_writes_only_what_it_changes(somebody: Callable[[], Person]) -> None:
    """The default stays one, and so does a value that fits no longer."""
    person = await registered(somebody, **{"fields/shoe_size": "", "fields/hobbies": ""})
    page = await person.open("/account")
    assert control(page, "shoe_size")["value"] == "40"
    before = await found(person, "ada@example.org")
    await person.send("/account/fields", **(FILLED | {"fields/shoe_size": "40", "fields/hobbies": ""}))
    after = await found(person, "ada@example.org")
    assert (after.fields, after.updated_at) == (before.fields, before.updated_at)


async def test_an_error_on_the_profile_keeps_what_was_typed(somebody: Callable[[], Person]) -> None:
    person = await registered(somebody)
    answer = await person.send("/account/fields", **(FILLED | {"fields/nickname": "much too long a name"}))
    assert (answer.status_code, control(answer, "nickname")["value"]) == (400, "much too long a name")
    assert "nickname must have between 1 and 10 characters" in problem(answer)


async def test_an_administrator_creates_and_changes_a_user_with_fields(somebody: Callable[[], Person]) -> None:
    admin = await somebody().log_in()
    form = await admin.open("/console/users/new")
    assert names(form) == [*OWN, "department", "secret_note"]
    refused = await admin.send("/console/users/new", **ADA, **{"fields/department": "sales"})
    assert control(refused, "department")["value"] == "sales"
    refused = await admin.send("/console/users/new", **ADA, **(FILLED | {"fields/nickname": ""}))
    assert "nickname is required" in problem(refused)
    made = await admin.send("/console/users/new", **ADA, **(FILLED | {"fields/department": "sales"}))
    assert notice(made) == "The user is created."
    assert "<dt>newsletter</dt><dd>No</dd>" in made.text
    assert "<dt>hobbies</dt><dd>chess, maths</dd>" in made.text
    act = f"{made.url.path}/acts/fields"
    assert act in made.text.replace('href="../../', 'href="/')
    assert control(await admin.open(act), "department")["value"] == "sales"
    changed = await admin.send(act, **(FILLED | {"fields/department": "legal", "fields/secret_note": "vip"}))
    assert notice(changed) == "The details are changed."
    assert "<dt>department</dt><dd>legal</dd>" in changed.text
    wrong = await admin.send(act, **(FILLED | {"fields/colour": "green"}))
    assert "colour must be one of red, blue &amp; green" in problem(wrong)


async def test_without_a_declaration_no_page_has_fields() -> None:
    async with people() as made:
        person = await made().log_in()
        user = await create(person, "ada@example.org")
        for path in ("/register", "/account", "/console/users/new", f"/console/users/{user.id}"):
            answer = await person.open(path)
            assert not re.search(r"fields[/\"-]|<textarea", answer.text), path
