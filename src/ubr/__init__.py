"""ubr: users, roles, sessions and an audit log, as a service, as a library, and in memory.

What a service in Python needs that embeds ubr can be imported from here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ubr.application.accounts.change_password import ChangePassword, ChangePasswordCommand
    from ubr.application.accounts.create_admin import CreateAdmin, CreateAdminCommand
    from ubr.application.accounts.create_user import CreateUser, CreateUserCommand
    from ubr.application.accounts.delete_user import DeleteUser, DeleteUserCommand
    from ubr.application.accounts.get_user import GetUser, GetUserCommand
    from ubr.application.accounts.list_users import ListUsers, ListUsersCommand
    from ubr.application.accounts.register_user import RegisterUser, RegisterUserCommand
    from ubr.application.accounts.request_email_change import RequestEmailChange, RequestEmailChangeCommand
    from ubr.application.accounts.request_password_reset import RequestPasswordReset, RequestPasswordResetCommand
    from ubr.application.accounts.resend_verification import ResendVerification, ResendVerificationCommand
    from ubr.application.accounts.reset_password import ResetPassword, ResetPasswordCommand
    from ubr.application.accounts.undo_email_change import UndoEmailChange, UndoEmailChangeCommand
    from ubr.application.accounts.update_user import UpdateUser, UpdateUserCommand, UserChanges
    from ubr.application.accounts.verify_email import VerifyEmail, VerifyEmailCommand
    from ubr.application.app import Application
    from ubr.application.audit.compare_checkpoint import CompareCheckpoint, CompareCheckpointCommand
    from ubr.application.audit.export_log import ExportLog, ExportResult
    from ubr.application.audit.get_checkpoint import GetCheckpoint
    from ubr.application.audit.list_log_keys import KnownLogKeyResult, ListLogKeys
    from ubr.application.audit.list_logs import ListLogs, ListLogsCommand
    from ubr.application.audit.prove_log_entry import ProofResult, ProveLogEntry, ProveLogEntryCommand
    from ubr.application.audit.prune_log import PrunedResult, PruneLog, PruneLogCommand
    from ubr.application.audit.rotate_log_key import LogKeyResult, RotateLogKey
    from ubr.application.audit.verify_log import VerifiedLogResult, VerifyLog, VerifyLogCommand
    from ubr.application.kernel.home_loop import WrongEventLoop
    from ubr.application.kernel.idempotency import IdempotencyKey
    from ubr.application.kernel.origin import Origin, calling_from
    from ubr.application.kernel.representations import (
        CheckpointResult,
        LogEntryResult,
        Page,
        RoleResult,
        SessionResult,
        SigningKeyResult,
        TokensResult,
        UserResult,
    )
    from ubr.application.keys.get_public_keys import GetPublicKeys
    from ubr.application.keys.list_signing_keys import ListSigningKeys
    from ubr.application.keys.revoke_signing_key import RevokeSigningKey, RevokeSigningKeyCommand
    from ubr.application.keys.rewrap_signing_keys import RewrapResult, RewrapSigningKeys
    from ubr.application.keys.rotate_signing_key import RotateSigningKey
    from ubr.application.mail.deliver_mail import DeliverMail
    from ubr.application.mail.list_mail import ListMail, ListMailCommand, QueuedMailResult
    from ubr.application.mail.retry_mail import RetryMail, RetryMailCommand
    from ubr.application.operations.acknowledge_restore import (
        AcknowledgedRestoreResult,
        AcknowledgeRestore,
        AcknowledgeRestoreCommand,
    )
    from ubr.application.operations.check_health import CheckHealth
    from ubr.application.operations.initialize import Initialize
    from ubr.application.roles.assign_role import AssignRole, AssignRoleCommand
    from ubr.application.roles.create_role import CreateRole, CreateRoleCommand
    from ubr.application.roles.delete_role import DeleteRole, DeleteRoleCommand
    from ubr.application.roles.get_role import GetRole, GetRoleCommand
    from ubr.application.roles.list_roles import ListRoles, ListRolesCommand
    from ubr.application.roles.list_user_roles import GrantResult, ListUserRoles, ListUserRolesCommand
    from ubr.application.roles.unassign_role import UnassignRole, UnassignRoleCommand
    from ubr.application.roles.update_role import RoleChanges, UpdateRole, UpdateRoleCommand
    from ubr.application.sessions.authenticate import Authenticate
    from ubr.application.sessions.list_sessions import ListSessions, ListSessionsCommand
    from ubr.application.sessions.log_in import LogIn, LogInCommand
    from ubr.application.sessions.log_out import LogOut
    from ubr.application.sessions.refresh_session import RefreshSession, RefreshSessionCommand
    from ubr.application.sessions.revoke_other_sessions import RevokeOtherSessions
    from ubr.application.sessions.revoke_session import RevokeSession, RevokeSessionCommand
    from ubr.application.sessions.revoke_user_sessions import RevokeUserSessions, RevokeUserSessionsCommand
    from ubr.bootstrap import connect
    from ubr.domain.actor import SYSTEM, Actor
    from ubr.domain.errors import UbrError
    from ubr.settings import Settings, WrongSetting

__all__ = [
    "SYSTEM",
    "AcknowledgeRestore",
    "AcknowledgeRestoreCommand",
    "AcknowledgedRestoreResult",
    "Actor",
    "Application",
    "AssignRole",
    "AssignRoleCommand",
    "Authenticate",
    "ChangePassword",
    "ChangePasswordCommand",
    "CheckHealth",
    "CheckpointResult",
    "CompareCheckpoint",
    "CompareCheckpointCommand",
    "CreateAdmin",
    "CreateAdminCommand",
    "CreateRole",
    "CreateRoleCommand",
    "CreateUser",
    "CreateUserCommand",
    "DeleteRole",
    "DeleteRoleCommand",
    "DeleteUser",
    "DeleteUserCommand",
    "DeliverMail",
    "ExportLog",
    "ExportResult",
    "GetCheckpoint",
    "GetPublicKeys",
    "GetRole",
    "GetRoleCommand",
    "GetUser",
    "GetUserCommand",
    "GrantResult",
    "IdempotencyKey",
    "Initialize",
    "KnownLogKeyResult",
    "ListLogKeys",
    "ListLogs",
    "ListLogsCommand",
    "ListMail",
    "ListMailCommand",
    "ListRoles",
    "ListRolesCommand",
    "ListSessions",
    "ListSessionsCommand",
    "ListSigningKeys",
    "ListUserRoles",
    "ListUserRolesCommand",
    "ListUsers",
    "ListUsersCommand",
    "LogEntryResult",
    "LogIn",
    "LogInCommand",
    "LogKeyResult",
    "LogOut",
    "Origin",
    "Page",
    "ProofResult",
    "ProveLogEntry",
    "ProveLogEntryCommand",
    "PruneLog",
    "PruneLogCommand",
    "PrunedResult",
    "QueuedMailResult",
    "RefreshSession",
    "RefreshSessionCommand",
    "RegisterUser",
    "RegisterUserCommand",
    "RequestEmailChange",
    "RequestEmailChangeCommand",
    "RequestPasswordReset",
    "RequestPasswordResetCommand",
    "ResendVerification",
    "ResendVerificationCommand",
    "ResetPassword",
    "ResetPasswordCommand",
    "RetryMail",
    "RetryMailCommand",
    "RevokeOtherSessions",
    "RevokeSession",
    "RevokeSessionCommand",
    "RevokeSigningKey",
    "RevokeSigningKeyCommand",
    "RevokeUserSessions",
    "RevokeUserSessionsCommand",
    "RewrapResult",
    "RewrapSigningKeys",
    "RoleChanges",
    "RoleResult",
    "RotateLogKey",
    "RotateSigningKey",
    "SessionResult",
    "Settings",
    "SigningKeyResult",
    "TokensResult",
    "UbrError",
    "UnassignRole",
    "UnassignRoleCommand",
    "UndoEmailChange",
    "UndoEmailChangeCommand",
    "UpdateRole",
    "UpdateRoleCommand",
    "UpdateUser",
    "UpdateUserCommand",
    "UserChanges",
    "UserResult",
    "VerifiedLogResult",
    "VerifyEmail",
    "VerifyEmailCommand",
    "VerifyLog",
    "VerifyLogCommand",
    "WrongEventLoop",
    "WrongSetting",
    "calling_from",
    "connect",
]

_HOMES = {
    "ubr.application.kernel.origin": (
        "Origin",
        "calling_from",
    ),
    "ubr.application.kernel.home_loop": ("WrongEventLoop",),
    "ubr.domain.actor": (
        "Actor",
        "SYSTEM",
    ),
    "ubr.application.app": ("Application",),
    "ubr.application.kernel.idempotency": ("IdempotencyKey",),
    "ubr.application.kernel.representations": (
        "CheckpointResult",
        "LogEntryResult",
        "Page",
        "RoleResult",
        "SessionResult",
        "SigningKeyResult",
        "TokensResult",
        "UserResult",
    ),
    "ubr.application.roles.assign_role": (
        "AssignRole",
        "AssignRoleCommand",
    ),
    "ubr.application.sessions.authenticate": ("Authenticate",),
    "ubr.application.accounts.change_password": (
        "ChangePassword",
        "ChangePasswordCommand",
    ),
    "ubr.application.operations.check_health": ("CheckHealth",),
    "ubr.application.accounts.create_admin": (
        "CreateAdmin",
        "CreateAdminCommand",
    ),
    "ubr.application.roles.create_role": (
        "CreateRole",
        "CreateRoleCommand",
    ),
    "ubr.application.accounts.create_user": (
        "CreateUser",
        "CreateUserCommand",
    ),
    "ubr.application.roles.delete_role": (
        "DeleteRole",
        "DeleteRoleCommand",
    ),
    "ubr.application.accounts.delete_user": (
        "DeleteUser",
        "DeleteUserCommand",
    ),
    "ubr.application.keys.get_public_keys": ("GetPublicKeys",),
    "ubr.application.roles.get_role": (
        "GetRole",
        "GetRoleCommand",
    ),
    "ubr.application.accounts.get_user": (
        "GetUser",
        "GetUserCommand",
    ),
    "ubr.application.audit.list_logs": (
        "ListLogs",
        "ListLogsCommand",
    ),
    "ubr.application.roles.list_roles": (
        "ListRoles",
        "ListRolesCommand",
    ),
    "ubr.application.sessions.list_sessions": (
        "ListSessions",
        "ListSessionsCommand",
    ),
    "ubr.application.keys.list_signing_keys": ("ListSigningKeys",),
    "ubr.application.roles.list_user_roles": (
        "GrantResult",
        "ListUserRoles",
        "ListUserRolesCommand",
    ),
    "ubr.application.accounts.list_users": (
        "ListUsers",
        "ListUsersCommand",
    ),
    "ubr.application.sessions.log_in": (
        "LogIn",
        "LogInCommand",
    ),
    "ubr.application.sessions.log_out": ("LogOut",),
    "ubr.application.operations.initialize": ("Initialize",),
    "ubr.application.sessions.refresh_session": (
        "RefreshSession",
        "RefreshSessionCommand",
    ),
    "ubr.application.accounts.register_user": (
        "RegisterUser",
        "RegisterUserCommand",
    ),
    "ubr.application.sessions.revoke_other_sessions": ("RevokeOtherSessions",),
    "ubr.application.sessions.revoke_session": (
        "RevokeSession",
        "RevokeSessionCommand",
    ),
    "ubr.application.keys.revoke_signing_key": (
        "RevokeSigningKey",
        "RevokeSigningKeyCommand",
    ),
    "ubr.application.sessions.revoke_user_sessions": (
        "RevokeUserSessions",
        "RevokeUserSessionsCommand",
    ),
    "ubr.application.keys.rewrap_signing_keys": (
        "RewrapResult",
        "RewrapSigningKeys",
    ),
    "ubr.application.keys.rotate_signing_key": ("RotateSigningKey",),
    "ubr.application.roles.unassign_role": (
        "UnassignRole",
        "UnassignRoleCommand",
    ),
    "ubr.application.roles.update_role": (
        "RoleChanges",
        "UpdateRole",
        "UpdateRoleCommand",
    ),
    "ubr.application.accounts.update_user": (
        "UpdateUser",
        "UpdateUserCommand",
        "UserChanges",
    ),
    "ubr.application.audit.get_checkpoint": ("GetCheckpoint",),
    "ubr.application.audit.prove_log_entry": (
        "ProofResult",
        "ProveLogEntry",
        "ProveLogEntryCommand",
    ),
    "ubr.application.audit.compare_checkpoint": (
        "CompareCheckpoint",
        "CompareCheckpointCommand",
    ),
    "ubr.application.audit.verify_log": (
        "VerifiedLogResult",
        "VerifyLog",
        "VerifyLogCommand",
    ),
    "ubr.application.audit.export_log": (
        "ExportLog",
        "ExportResult",
    ),
    "ubr.application.audit.prune_log": (
        "PrunedResult",
        "PruneLog",
        "PruneLogCommand",
    ),
    "ubr.application.audit.list_log_keys": (
        "KnownLogKeyResult",
        "ListLogKeys",
    ),
    "ubr.application.audit.rotate_log_key": (
        "LogKeyResult",
        "RotateLogKey",
    ),
    "ubr.application.accounts.request_password_reset": (
        "RequestPasswordReset",
        "RequestPasswordResetCommand",
    ),
    "ubr.application.accounts.reset_password": (
        "ResetPassword",
        "ResetPasswordCommand",
    ),
    "ubr.application.accounts.request_email_change": (
        "RequestEmailChange",
        "RequestEmailChangeCommand",
    ),
    "ubr.application.accounts.verify_email": (
        "VerifyEmail",
        "VerifyEmailCommand",
    ),
    "ubr.application.accounts.resend_verification": (
        "ResendVerification",
        "ResendVerificationCommand",
    ),
    "ubr.application.accounts.undo_email_change": (
        "UndoEmailChange",
        "UndoEmailChangeCommand",
    ),
    "ubr.application.mail.deliver_mail": ("DeliverMail",),
    "ubr.application.mail.list_mail": (
        "QueuedMailResult",
        "ListMail",
        "ListMailCommand",
    ),
    "ubr.application.mail.retry_mail": (
        "RetryMail",
        "RetryMailCommand",
    ),
    "ubr.application.operations.acknowledge_restore": (
        "AcknowledgedRestoreResult",
        "AcknowledgeRestore",
        "AcknowledgeRestoreCommand",
    ),
    "ubr.bootstrap": ("connect",),
    "ubr.domain.errors": ("UbrError",),
    "ubr.settings": (
        "Settings",
        "WrongSetting",
    ),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # Seeing this, a type checker would take every name for one of ours.

    def __getattr__(name: str) -> Any:
        """Names are loaded when they are used: `import ubr.domain` must stay free of everything else."""
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOME[name]), name)
