"""All use cases, on one screen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields

from ubr.application.accounts.change_password import ChangePassword
from ubr.application.accounts.create_admin import CreateAdmin
from ubr.application.accounts.create_user import CreateUser
from ubr.application.accounts.delete_user import DeleteUser
from ubr.application.accounts.erase_user import EraseUser
from ubr.application.accounts.explain_login import ExplainLogin
from ubr.application.accounts.export_user import ExportUser
from ubr.application.accounts.get_me import GetMe
from ubr.application.accounts.get_user import GetUser
from ubr.application.accounts.get_user_by_email import GetUserByEmail
from ubr.application.accounts.index_user_fields import IndexUserFields
from ubr.application.accounts.list_users import ListUsers
from ubr.application.accounts.register_user import RegisterUser
from ubr.application.accounts.request_email_change import RequestEmailChange
from ubr.application.accounts.request_password_reset import RequestPasswordReset
from ubr.application.accounts.resend_verification import ResendVerification
from ubr.application.accounts.reset_password import ResetPassword
from ubr.application.accounts.undo_email_change import UndoEmailChange
from ubr.application.accounts.unlock_user import UnlockUser
from ubr.application.accounts.update_user import UpdateUser
from ubr.application.accounts.verify_email import VerifyEmail
from ubr.application.audit.compare_checkpoint import CompareCheckpoint
from ubr.application.audit.export_log import ExportLog
from ubr.application.audit.get_activity import GetActivity
from ubr.application.audit.get_checkpoint import GetCheckpoint
from ubr.application.audit.list_log_keys import ListLogKeys
from ubr.application.audit.list_logs import ListLogs
from ubr.application.audit.prove_log_entry import ProveLogEntry
from ubr.application.audit.prune_log import PruneLog
from ubr.application.audit.read_events import ReadEvents
from ubr.application.audit.rotate_log_key import RotateLogKey
from ubr.application.audit.verify_log import VerifyLog
from ubr.application.keys.get_public_keys import GetPublicKeys
from ubr.application.keys.list_signing_keys import ListSigningKeys
from ubr.application.keys.revoke_signing_key import RevokeSigningKey
from ubr.application.keys.rewrap_signing_keys import RewrapSigningKeys
from ubr.application.keys.rotate_signing_key import RotateSigningKey
from ubr.application.machines.create_machine import CreateMachine
from ubr.application.machines.create_machine_key import CreateMachineKey
from ubr.application.machines.delete_machine import DeleteMachine
from ubr.application.machines.get_machine import GetMachine
from ubr.application.machines.list_machine_keys import ListMachineKeys
from ubr.application.machines.list_machines import ListMachines
from ubr.application.machines.log_in_machine import LogInMachine
from ubr.application.machines.revoke_machine_key import RevokeMachineKey
from ubr.application.machines.rotate_machine_key import RotateMachineKey
from ubr.application.machines.update_machine import UpdateMachine
from ubr.application.mail.deliver_mail import DeliverMail
from ubr.application.mail.list_mail import ListMail
from ubr.application.mail.retry_mail import RetryMail
from ubr.application.operations.acknowledge_restore import AcknowledgeRestore
from ubr.application.operations.check_health import CheckHealth
from ubr.application.operations.initialize import Initialize
from ubr.application.operations.inspect_installation import InspectInstallation
from ubr.application.revocation.follow_revocations import FollowRevocations
from ubr.application.revocation.stop_following_revocations import StopFollowingRevocations
from ubr.application.roles.assign_role import AssignRole
from ubr.application.roles.create_role import CreateRole
from ubr.application.roles.delete_role import DeleteRole
from ubr.application.roles.get_role import GetRole
from ubr.application.roles.list_roles import ListRoles
from ubr.application.roles.list_user_roles import ListUserRoles
from ubr.application.roles.permits import Permits
from ubr.application.roles.unassign_role import UnassignRole
from ubr.application.roles.update_role import UpdateRole
from ubr.application.sessions.authenticate import Authenticate
from ubr.application.sessions.authenticate_cookie import AuthenticateCookie
from ubr.application.sessions.issue_access_token import IssueAccessToken
from ubr.application.sessions.list_sessions import ListSessions
from ubr.application.sessions.log_in import LogIn
from ubr.application.sessions.log_in_browser import LogInBrowser
from ubr.application.sessions.log_out import LogOut
from ubr.application.sessions.refresh_session import RefreshSession
from ubr.application.sessions.revoke_other_sessions import RevokeOtherSessions
from ubr.application.sessions.revoke_session import RevokeSession
from ubr.application.sessions.revoke_user_sessions import RevokeUserSessions


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AccountUseCases:
    """Accounts, and proof of their ownership."""

    register_user: RegisterUser
    change_password: ChangePassword
    request_password_reset: RequestPasswordReset
    reset_password: ResetPassword
    request_email_change: RequestEmailChange
    verify_email: VerifyEmail
    resend_verification: ResendVerification
    undo_email_change: UndoEmailChange
    get_me: GetMe
    get_user: GetUser
    get_user_by_email: GetUserByEmail
    list_users: ListUsers
    create_user: CreateUser
    update_user: UpdateUser
    delete_user: DeleteUser
    erase_user: EraseUser
    unlock_user: UnlockUser
    explain_login: ExplainLogin
    export_user: ExportUser
    create_admin: CreateAdmin
    index_user_fields: IndexUserFields


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SessionUseCases:
    """Login, logout and sessions."""

    log_in: LogIn
    refresh_session: RefreshSession
    log_in_browser: LogInBrowser
    issue_access_token: IssueAccessToken
    log_out: LogOut
    authenticate: Authenticate
    authenticate_cookie: AuthenticateCookie
    list_sessions: ListSessions
    revoke_session: RevokeSession
    revoke_other_sessions: RevokeOtherSessions
    revoke_user_sessions: RevokeUserSessions


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RoleUseCases:
    """Roles, and their holders."""

    get_role: GetRole
    list_roles: ListRoles
    create_role: CreateRole
    update_role: UpdateRole
    delete_role: DeleteRole
    assign_role: AssignRole
    unassign_role: UnassignRole
    list_user_roles: ListUserRoles
    permits: Permits


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MachineUseCases:
    """Machines, and their keys."""

    create_machine: CreateMachine
    get_machine: GetMachine
    list_machines: ListMachines
    update_machine: UpdateMachine
    delete_machine: DeleteMachine
    create_machine_key: CreateMachineKey
    list_machine_keys: ListMachineKeys
    rotate_machine_key: RotateMachineKey
    revoke_machine_key: RevokeMachineKey
    log_in_machine: LogInMachine


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MailUseCases:
    """Queued mails."""

    deliver_mail: DeliverMail
    list_mail: ListMail
    retry_mail: RetryMail


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AuditUseCases:
    """The audit log."""

    list_logs: ListLogs
    read_events: ReadEvents
    get_activity: GetActivity
    get_checkpoint: GetCheckpoint
    prove_log_entry: ProveLogEntry
    compare_checkpoint: CompareCheckpoint
    verify_log: VerifyLog
    export_log: ExportLog
    prune_log: PruneLog
    list_log_keys: ListLogKeys
    rotate_log_key: RotateLogKey


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class KeyUseCases:
    """The keys that sign access tokens."""

    list_signing_keys: ListSigningKeys
    rotate_signing_key: RotateSigningKey
    revoke_signing_key: RevokeSigningKey
    rewrap_signing_keys: RewrapSigningKeys
    get_public_keys: GetPublicKeys


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RevocationUseCases:
    """For verifiers in other services."""

    follow_revocations: FollowRevocations
    stop_following_revocations: StopFollowingRevocations


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class OperationUseCases:
    """The service itself."""

    acknowledge_restore: AcknowledgeRestore
    check_health: CheckHealth
    initialize: Initialize
    inspect_installation: InspectInstallation


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class HostedUseCases:
    """The use cases within a transaction of the host, called as `await users.create_user(command, actor=…)`.

    Each call is all or nothing, and has its effect with the commit of the host: its rows, its audit log entry, its
    queued mails, its revocations. Call one after the other. Reading calls see the rows of the transaction; permissions
    that only reading calls need are those committed before.
    """

    register_user: RegisterUser
    create_user: CreateUser
    update_user: UpdateUser
    delete_user: DeleteUser
    get_user: GetUser
    get_user_by_email: GetUserByEmail
    list_users: ListUsers
    request_password_reset: RequestPasswordReset
    resend_verification: ResendVerification

    log_out: LogOut
    list_sessions: ListSessions
    revoke_session: RevokeSession
    revoke_other_sessions: RevokeOtherSessions
    revoke_user_sessions: RevokeUserSessions

    get_role: GetRole
    list_roles: ListRoles
    create_role: CreateRole
    update_role: UpdateRole
    delete_role: DeleteRole
    assign_role: AssignRole
    unassign_role: UnassignRole
    list_user_roles: ListUserRoles

    committed: Callable[[], Awaitable[None]]
    """Call it after the commit, if others should know at once of what has ended.

    It returns as the use cases outside a transaction do: when no worker acts on the earlier state any more. Without it,
    every worker knows within the bound after the commit. Errors: `NotCommitted`.
    """

    @classmethod
    def of(
        cls,
        *,
        accounts: AccountUseCases,
        sessions: SessionUseCases,
        roles: RoleUseCases,
        committed: Callable[[], Awaitable[None]],
    ) -> HostedUseCases:
        """The use cases of these groups that are one unit of work, and check no password and no link.

        The others count attempts that must stay counted when the host rolls back, or do work of long duration.
        """
        every = {**vars(accounts), **vars(sessions), **vars(roles)}
        names = [field.name for field in fields(cls) if field.name in every]
        return cls(**{name: every[name] for name in names}, committed=committed)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class UseCases(
    AccountUseCases,
    SessionUseCases,
    RoleUseCases,
    MachineUseCases,
    MailUseCases,
    AuditUseCases,
    KeyUseCases,
    RevocationUseCases,
    OperationUseCases,
):
    """Each field is a use case."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Application(UseCases):
    """The table of contents: each field is a use case, called as `await ubr.register_user(command, actor=…)`."""

    within: Callable[[object], HostedUseCases]
    """Use cases in a transaction of your own program, on its connection, which commits:
    `await ubr.within(connection).create_user(command, actor=…)`.

    Takes an `AsyncConnection` or `AsyncSession` of SQLAlchemy, or a connection of asyncpg. In memory it takes any
    object, and each call has its effect at once. Errors: `WrongConnection`, from here or from a call.
    """

    @classmethod
    def of(
        cls,
        *,
        accounts: AccountUseCases,
        sessions: SessionUseCases,
        roles: RoleUseCases,
        machines: MachineUseCases,
        mail: MailUseCases,
        audit: AuditUseCases,
        keys: KeyUseCases,
        revocation: RevocationUseCases,
        operations: OperationUseCases,
        within: Callable[[object], HostedUseCases],
    ) -> Application:
        """All use cases in one object."""
        groups = (accounts, sessions, roles, machines, mail, audit, keys, revocation, operations)
        return cls(**{name: use_case for group in groups for name, use_case in vars(group).items()}, within=within)
