"""Uses that must not pass. Where one does, mypy complains of the comment behind it."""

from __future__ import annotations

from ubr_client import AuthenticatedClient, Client
from ubr_client.api.auth import log_in
from ubr_client.api.users import delete_user, list_users
from ubr_client.models import CreateRoleCommand, LogInCommand, UserResult


def wrong(client: Client, admin: AuthenticatedClient, user: UserResult) -> None:
    LogInCommand(email="reader@example.org")  # type: ignore[call-arg]
    CreateRoleCommand(name="editor", colour="red")  # type: ignore[call-arg]
    log_in.sync(client=client, body={"email": "reader@example.org"})  # type: ignore[arg-type]
    list_users.sync(client=admin, sort="password")  # type: ignore[arg-type]
    delete_user.sync("an id", client=admin)  # type: ignore[arg-type]
    name: str = user.full_name  # type: ignore[assignment]
    print(name, user.password)  # type: ignore[attr-defined]
