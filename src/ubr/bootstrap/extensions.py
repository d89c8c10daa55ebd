"""The parts that a host replaces in its application."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from ubr.application.kernel.hooks import NO_HOOKS, Hooks

if TYPE_CHECKING:
    from ubr.adapters.security.passwords import Argon2PasswordHasher
    from ubr.application.kernel.command import Command
    from ubr.application.ports.accounts import SlowHasher
    from ubr.application.ports.mail import Mailer
    from ubr.application.ports.revocation import ChangeNotifier
    from ubr.application.sessions.token_issuer import TokenClaims
    from ubr.bootstrap.ports import Ports
    from ubr.settings import Settings

# `connect` has `NO_EXTENSIONS` as a default, so the import of this module must stay a small one.
# ruff: noqa: PLC0415


def hooked() -> frozenset[type[Command]]:
    """The commands of the acts that hooks may run before."""
    from ubr.application.accounts.create_user import CreateUserCommand
    from ubr.application.accounts.delete_user import DeleteUserCommand
    from ubr.application.accounts.register_user import RegisterUserCommand
    from ubr.application.accounts.update_user import UpdateUserCommand
    from ubr.application.roles.assign_role import AssignRoleCommand
    from ubr.application.roles.unassign_role import UnassignRoleCommand
    from ubr.application.sessions.log_in import LogInCommand
    from ubr.application.sessions.log_in_browser import LogInBrowserCommand

    return frozenset(
        {
            AssignRoleCommand,
            CreateUserCommand,
            DeleteUserCommand,
            LogInBrowserCommand,
            LogInCommand,
            RegisterUserCommand,
            UnassignRoleCommand,
            UpdateUserCommand,
        }
    )


class Extensions(msgspec.Struct, frozen=True, kw_only=True):
    """Parts of the host, instead of those of ubr. None keeps the one that the settings choose.

    `ubr.testing.contracts` has a suite for each port. The host opens its parts before `connect` and closes them after
    the application. Every process that uses one database needs the same `hasher` and, to be of use, the same
    `notifier`.
    """

    hasher: SlowHasher | None = None
    """Hashes new passwords. ubr encrypts each hash for its owner. Argon2 hashes from before still verify, and are
    replaced at the next login."""

    mailer: Mailer | None = None
    """Sends the queued mails, in a process that delivers them: `connect(background=True)`."""

    notifier: ChangeNotifier | None = None
    """The fast path for ends of sessions. Without it, or if it loses records, the bound of the settings holds."""

    hooks: Hooks = NO_HOOKS
    """Code before acts, within their transactions and after them."""

    token_claims: TokenClaims | None = None
    """Makes the claim `ext` of each access token: a JSON object of 2048 bytes at most, and 1024 beside fields of users.
    A token has no `ext` if it is empty."""

    def __post_init__(self) -> None:
        """Errors: `TypeError` for a hook before an act that has none."""
        if not self.hooks.commands:
            return
        known = hooked()
        if unknown := [command.__name__ for command in self.hooks.commands if command not in known]:
            raise TypeError(f"No hook runs before {', '.join(unknown)}")

    def applied(self, ports: Ports, settings: Settings, former: Argon2PasswordHasher) -> Ports:
        """These ports with the parts of the host. `former` verifies the hashes from before."""
        if self.hasher is not None:
            from ubr.adapters.security.bound_passwords import BoundPasswordHasher
            from ubr.adapters.security.secrets import SecretKeys
            from ubr.adapters.security.succeeding_passwords import SucceedingHasher

            bound = BoundPasswordHasher(SucceedingHasher(self.hasher, former), SecretKeys(settings.secret_keys))
            ports = replace(ports, security=replace(ports.security, hasher=bound))
        return replace(
            ports,
            mailer=ports.mailer if self.mailer is None else self.mailer,
            notifier=ports.notifier if self.notifier is None else self.notifier,
            token_claims=self.token_claims,
        )


NO_EXTENSIONS = Extensions()
