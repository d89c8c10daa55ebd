"""Somebody registers, the administrator finds them, a wrong password is a problem: all through the generated types."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from urllib.parse import urljoin

from ubr_client import AuthenticatedClient, Client
from ubr_client.api.auth import log_in, register_user
from ubr_client.api.users import list_users, patch_user
from ubr_client.models import (
    ListUsersSort,
    LogInCommand,
    PageUserResult,
    ProblemDetails,
    RegisterUserCommand,
    TokensResult,
    UserChanges,
    UserResult,
)
from ubr_client.types import UNSET


def register(client: Client, email: str) -> UserResult:
    body = RegisterUserCommand(email=email, password="correct horse battery staple", full_name=None)
    answer = register_user.sync_detailed(client=client, body=body)
    user = answer.parsed
    assert isinstance(user, UserResult), user
    assert urljoin("/api/auth/register", answer.headers["location"]) == f"/api/users/{user.id}"
    return user


def sign_in(client: Client, email: str, password: str) -> TokensResult | ProblemDetails:
    told = log_in.sync(client=client, body=LogInCommand(email=email, password=password))
    assert told is not None
    return told


def every_user(client: AuthenticatedClient) -> Iterator[UserResult]:
    cursor: str | None = None
    while True:
        page = list_users.sync(client=client, sort=ListUsersSort.EMAIL, limit=1, cursor=cursor or UNSET)
        assert isinstance(page, PageUserResult), page
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def main(url: str, email: str, password: str) -> None:
    client = Client(base_url=url)
    user = register(client, "reader@example.org")
    assert "user" in user.roles
    assert user.full_name is None
    assert user.created_at.tzinfo is not None

    tokens = sign_in(client, email, password)
    assert isinstance(tokens, TokensResult)
    admin = AuthenticatedClient(base_url=url, token=tokens.access_token)
    assert [each.email for each in every_user(admin)] == [email, "reader@example.org"]

    changed = patch_user.sync(user.id, client=admin, body=UserChanges(full_name="Reader"), if_match='"0-another"')
    assert isinstance(changed, ProblemDetails)
    assert changed.type_ == "/problems/precondition-failed"

    refused = sign_in(client, email, "not the password")
    assert isinstance(refused, ProblemDetails)
    assert (refused.type_, refused.status) == ("/problems/invalid-credentials", 401)

    flawed = register_user.sync(client=client, body=RegisterUserCommand(email="nobody", password=password))
    assert isinstance(flawed, ProblemDetails)
    assert flawed.errors
    assert flawed.errors[0].pointer == "/email"


if __name__ == "__main__":
    main(*sys.argv[1:])
