"""A compiled statement takes exactly its parameters, as SQLAlchemy's own execution does."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import bindparam, select

from ubr.adapters.sql.statements import Parameters, Statement
from ubr.adapters.sql.tables import users

_BOTH = Statement(select(users.c.id).where(users.c.id == bindparam("id"), users.c.email_key == bindparam("email_key")))


@pytest.mark.parametrize("given", [None, {}, {"id": uuid4()}, {"id": uuid4(), "e_mail_key": "a@example.org"}])
def test_a_parameter_that_is_missing_is_not_taken_for_null(given: Parameters | None) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        _BOTH.compiled.arguments(given)
