"""What is said of a field describes it, and changes nothing of how messages are decoded."""

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import inspect

from ubr.application.accounts.update_user import UserChanges
from ubr.application.app import Application
from ubr.application.kernel.command import Command, Result
from ubr.application.kernel.fields import EXAMPLE_EMAIL, EXAMPLE_PASSWORD, example
from ubr.application.sessions.log_in import LogInCommand
from ubr.domain.accounts.email import MAX_EMAIL_LENGTH

CHECKS = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern", "tz")


def subclasses(parent: type[Any]) -> Iterator[Any]:
    for child in parent.__subclasses__():
        if child.__module__.startswith("ubr."):
            yield child
            yield from subclasses(child)


# Importing the application loads every use case, and with it every command and result.
assert Application.__name__ == "Application"
MESSAGES = sorted({*subclasses(Command), *subclasses(Result)}, key=lambda type_: str(type_.__qualname__))


def types_within(type_: inspect.Type) -> Iterator[inspect.Type]:
    yield type_
    for name in type_.__struct_fields__:
        for part in value if isinstance(value := getattr(type_, name), tuple) else (value,):
            if isinstance(part, inspect.Type):
                yield from types_within(part)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
def test_no_field_is_checked_by_the_decoder(message: Any) -> None:
    info = inspect.type_info(message)
    assert isinstance(info, inspect.StructType)
    for field in info.fields:
        checks = [
            name
            for type_ in types_within(field.type)
            if not isinstance(type_, inspect.StructType)
            for name in CHECKS
            if getattr(type_, name, None) is not None
        ]
        assert not checks, field.name


def test_there_are_messages_to_look_at() -> None:
    assert {"LogInCommand", "UserResult", "ListUsersCommand"} <= {message.__name__ for message in MESSAGES}


def test_a_checked_field_would_be_found() -> None:
    checked = msgspec.defstruct("Checked", [("names", list[Annotated[str, msgspec.Meta(max_length=3)] | None])])
    with pytest.raises(AssertionError, match="names"):
        test_no_field_is_checked_by_the_decoder(checked)


def test_a_long_text_is_the_domains_to_refuse() -> None:
    email = "a" * MAX_EMAIL_LENGTH + "@example.org"
    raw = msgspec.json.encode({"email": email, "password": ""})
    assert msgspec.json.decode(raw, type=LogInCommand) == LogInCommand(email=email, password="")


def test_a_command_shows_and_takes_what_it_did() -> None:
    assert repr(LogInCommand(email=EXAMPLE_EMAIL, password=EXAMPLE_PASSWORD)) == "LogInCommand(…)"
    assert UserChanges().email is msgspec.UNSET
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(b'{"email": "", "password": "", "more": 1}', type=LogInCommand)


def test_an_example_may_be_anything_that_json_shows() -> None:
    values: list[object] = [None, False, 0, "", [], {}]
    for value in values:
        assert example(value).examples == [value]
