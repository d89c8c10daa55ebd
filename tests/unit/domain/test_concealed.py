from __future__ import annotations

import pytest
from rich.pretty import pretty_repr

from ubr.domain.accounts.email import Email
from ubr.domain.accounts.passwords import PasswordHash
from ubr.domain.accounts.search import Prefix
from ubr.domain.concealed import Concealed

VALUES = [Email.parse("canary@example.org"), PasswordHash("$argon2id$canary"), Prefix.parse("canary")]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_concealed_value_is_printed_without_its_fields(value: Concealed) -> None:
    for shown in (repr(value), str(value), f"{value!r}", repr({"value": value}), pretty_repr([value])):
        assert "canary" not in shown
        assert type(value).__name__ in shown
