"""What Schemathesis cannot know of ubr, and what it does not look for by itself. It loads this in an environment of its
own, with the folder of the test as the working directory.

A schema says less than the domain: that a time lies ahead, that a role exists, that an e-mail is one. Requests that
the schema allows and the domain does not are made into such as both allow. What the schema forbids stays as it is.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import schemathesis

from ubr.adapters.security.password_strength import is_guessable
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.passwords import check_password
from ubr.domain.accounts.search import Prefix
from ubr.domain.errors import Invalid
from ubr.domain.roles.permissions import BUILT_IN_PERMISSIONS
from ubr.domain.text import parse_text

KNOWN: dict[str, Any] = json.loads(Path("known.json").read_text())
"""Who asks (`self`), what belongs to another (`foreign`: ids by the parameter that takes them), and the `secrets` of
that other, which whoever asks may not read."""

POSITIVE = schemathesis.GenerationMode.POSITIVE
TAGS = re.compile(r"\*|(W/)?\"[^\"]*\"( *, *(W/)?\"[^\"]*\")*")
PERMISSIONS = sorted(BUILT_IN_PERMISSIONS.names)


def number_of(value: object) -> int:
    """A number that looks random and is the same for the same value."""
    return int.from_bytes(hashlib.sha256(repr(value).encode()).digest()[:6], "big")


# --- requests --------------------------------------------------------------------------------------------------------


@schemathesis.hook
def map_case(context: Any, case: Any) -> Any:
    parameters = case.path_parameters or {}
    for name, ids in KNOWN["foreign"].items():
        # Ids that are made up name nothing: a third of the requests is about what is there, and is another's.
        if name in parameters and number_of(parameters[name]) % 3 == 0:
            case.path_parameters[name] = ids
    if case.meta is None or case.meta.generation.mode != POSITIVE:
        return case
    if isinstance(case.query, dict):
        case.query.pop("cursor", None)  # a good one is an answer of before
        if isinstance(case.query.get("q"), str) and not takes(Prefix.parse, case.query["q"]):
            case.query["q"] = "fuzz"
    for name in ("If-Match", "If-None-Match"):
        # It takes the quotation marks that the pattern asks for from some entity tags, and means them to be good.
        if case.headers and isinstance(tag := case.headers.get(name), str) and not TAGS.fullmatch(tag):
            case.headers[name] = '"0"'
    if isinstance(case.body, dict):
        fit(case.body)
        if case.operation.label == "POST /api/auth/register" and "password" not in case.body:
            case.body["password"] = "where registration is open it is needed"
    return case


def fit(body: dict[str, Any]) -> None:
    number = number_of(body)
    email = body.get("email")
    if isinstance(email, str) and not takes(Email.parse, email):
        body["email"] = f"fuzz-{number}@example.org"
    for name, longest in (("full_name", 200), ("description", 500)):
        if isinstance(body.get(name), str) and not takes(parse_text, body[name], f"/{name}", longest=longest):
            body[name] = f"Fuzz {number}"
    for name in ("password", "new_password"):
        if isinstance(body.get(name), str) and not is_good(body[name]):
            body[name] = f"{number} is a number that nobody knows"
    if isinstance(body.get("expires_at"), str):
        body["expires_at"] = f"20{30 + number % 60}-01-01T00:00:00Z"
    if isinstance(body.get("roles"), list):
        body["roles"] = ["user"][: len(body["roles"])]
    if isinstance(body.get("permissions"), list):
        body["permissions"] = PERMISSIONS[: len(body["permissions"])]


def takes(parse: Any, *values: Any, **more: Any) -> bool:
    try:
        parse(*values, **more)
    except Invalid:
        return False
    return True


def is_good(password: str) -> bool:
    nobody = Email.parse("nobody@example.org")
    return takes(check_password, password, min_length=8, email=nobody, is_common=str.isdigit, is_guessable=is_guessable)


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Whoever asks does not put an end to their own account: there would be nobody left to ask."""
    asked_for = unquote(str((case.path_parameters or {}).get("user_id", "")))
    return case.method == "GET" or asked_for not in KNOWN["self"]


# --- answers ---------------------------------------------------------------------------------------------------------


@schemathesis.check
def declared_problem(context: Any, response: Any, case: Any) -> None:
    """A refusal is one of those that the document names for the operation and the status."""
    if response.status_code < 400 or response.status_code == 405:
        return
    declared = case.operation.definition.raw["responses"].get(str(response.status_code), {})
    slugs = set(declared.get("content", {}).get("application/problem+json", {}).get("examples", ()))
    told = response.json()
    assert told["status"] == response.status_code, told
    assert told["type"].removeprefix("/problems/") in slugs, (told["type"], sorted(slugs))


@schemathesis.check
def nothing_of_others(context: Any, response: Any, case: Any) -> None:
    """Nobody reads what is another's, in whatever answer."""
    found = [secret for secret in KNOWN["secrets"] if secret in response.text]
    assert not found, f"{case.operation.label} tells {found}"


@schemathesis.check
def counted(context: Any, response: Any, case: Any) -> None:
    """How many answers there were, for the test."""
    with Path("answers").open("a") as answers:
        answers.write(f"{response.status_code} {case.operation.label}\n")
