"""ubr: users, roles, sessions and an audit log, as a service, as a library, and in memory.

What a service in Python needs that embeds ubr can be imported from here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ubr.application.actor import SYSTEM, Actor, Origin, calling_from
    from ubr.application.app import Application
    from ubr.application.replaying import Attempt
    from ubr.application.results import (
        CheckpointResult,
        LogEntryResult,
        Page,
        RoleResult,
        SessionResult,
        SigningKeyResult,
        TokensResult,
        UserResult,
    )
    from ubr.application.use_cases.assign_role import AssignRole, AssignRoleCommand
    from ubr.application.use_cases.authenticate import Authenticate
    from ubr.application.use_cases.change_password import ChangePassword, ChangePasswordCommand
    from ubr.application.use_cases.check_health import CheckHealth
    from ubr.application.use_cases.compare_checkpoint import CompareCheckpoint, CompareCheckpointCommand
    from ubr.application.use_cases.create_admin import CreateAdmin, CreateAdminCommand
    from ubr.application.use_cases.create_role import CreateRole, CreateRoleCommand
    from ubr.application.use_cases.create_user import CreateUser, CreateUserCommand
    from ubr.application.use_cases.delete_role import DeleteRole, DeleteRoleCommand
    from ubr.application.use_cases.delete_user import DeleteUser, DeleteUserCommand
    from ubr.application.use_cases.deliver_mail import DeliverMail
    from ubr.application.use_cases.export_log import ExportLog, ExportResult
    from ubr.application.use_cases.get_checkpoint import GetCheckpoint
    from ubr.application.use_cases.get_public_keys import GetPublicKeys
    from ubr.application.use_cases.get_role import GetRole, GetRoleCommand
    from ubr.application.use_cases.get_user import GetUser, GetUserCommand
    from ubr.application.use_cases.list_log_keys import KnownLogKeyResult, ListLogKeys
    from ubr.application.use_cases.list_logs import ListLogs, ListLogsCommand
    from ubr.application.use_cases.list_mail import LetterResult, ListMail, ListMailCommand
    from ubr.application.use_cases.list_roles import ListRoles, ListRolesCommand
    from ubr.application.use_cases.list_sessions import ListSessions, ListSessionsCommand
    from ubr.application.use_cases.list_signing_keys import ListSigningKeys
    from ubr.application.use_cases.list_user_roles import GrantResult, ListUserRoles, ListUserRolesCommand
    from ubr.application.use_cases.list_users import ListUsers, ListUsersCommand
    from ubr.application.use_cases.log_in import LogIn, LogInCommand
    from ubr.application.use_cases.log_out import LogOut
    from ubr.application.use_cases.prepare import Prepare
    from ubr.application.use_cases.prove_log_entry import ProofResult, ProveLogEntry, ProveLogEntryCommand
    from ubr.application.use_cases.prune_log import PrunedResult, PruneLog, PruneLogCommand
    from ubr.application.use_cases.refresh_session import RefreshSession, RefreshSessionCommand
    from ubr.application.use_cases.register_user import RegisterUser, RegisterUserCommand
    from ubr.application.use_cases.request_email_change import RequestEmailChange, RequestEmailChangeCommand
    from ubr.application.use_cases.request_password_reset import RequestPasswordReset, RequestPasswordResetCommand
    from ubr.application.use_cases.resend_verification import ResendVerification, ResendVerificationCommand
    from ubr.application.use_cases.reset_password import ResetPassword, ResetPasswordCommand
    from ubr.application.use_cases.retry_mail import RetryMail, RetryMailCommand
    from ubr.application.use_cases.revoke_other_sessions import RevokeOtherSessions
    from ubr.application.use_cases.revoke_session import RevokeSession, RevokeSessionCommand
    from ubr.application.use_cases.revoke_signing_key import RevokeSigningKey, RevokeSigningKeyCommand
    from ubr.application.use_cases.revoke_user_sessions import RevokeUserSessions, RevokeUserSessionsCommand
    from ubr.application.use_cases.rewrap_signing_keys import RewrapResult, RewrapSigningKeys
    from ubr.application.use_cases.rotate_log_key import LogKeyResult, RotateLogKey
    from ubr.application.use_cases.rotate_signing_key import RotateSigningKey
    from ubr.application.use_cases.settle_restore import SettledResult, SettleRestore, SettleRestoreCommand
    from ubr.application.use_cases.unassign_role import UnassignRole, UnassignRoleCommand
    from ubr.application.use_cases.undo_email_change import UndoEmailChange, UndoEmailChangeCommand
    from ubr.application.use_cases.update_role import RoleChanges, UpdateRole, UpdateRoleCommand
    from ubr.application.use_cases.update_user import UpdateUser, UpdateUserCommand, UserChanges
    from ubr.application.use_cases.verify_email import VerifyEmail, VerifyEmailCommand
    from ubr.application.use_cases.verify_log import VerifiedLogResult, VerifyLog, VerifyLogCommand
    from ubr.bootstrap import connect
    from ubr.domain.errors import UbrError
    from ubr.settings import Settings, WrongSetting

__all__ = [
    "SYSTEM",
    "Actor",
    "Application",
    "AssignRole",
    "AssignRoleCommand",
    "Attempt",
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
    "KnownLogKeyResult",
    "LetterResult",
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
    "Prepare",
    "ProofResult",
    "ProveLogEntry",
    "ProveLogEntryCommand",
    "PruneLog",
    "PruneLogCommand",
    "PrunedResult",
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
    "SettleRestore",
    "SettleRestoreCommand",
    "SettledResult",
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
    "WrongSetting",
    "calling_from",
    "connect",
]

_HOMES = {
    "ubr.application.actor": (
        "Actor",
        "Origin",
        "SYSTEM",
        "calling_from",
    ),
    "ubr.application.app": ("Application",),
    "ubr.application.replaying": ("Attempt",),
    "ubr.application.results": (
        "CheckpointResult",
        "LogEntryResult",
        "Page",
        "RoleResult",
        "SessionResult",
        "SigningKeyResult",
        "TokensResult",
        "UserResult",
    ),
    "ubr.application.use_cases.assign_role": (
        "AssignRole",
        "AssignRoleCommand",
    ),
    "ubr.application.use_cases.authenticate": ("Authenticate",),
    "ubr.application.use_cases.change_password": (
        "ChangePassword",
        "ChangePasswordCommand",
    ),
    "ubr.application.use_cases.check_health": ("CheckHealth",),
    "ubr.application.use_cases.create_admin": (
        "CreateAdmin",
        "CreateAdminCommand",
    ),
    "ubr.application.use_cases.create_role": (
        "CreateRole",
        "CreateRoleCommand",
    ),
    "ubr.application.use_cases.create_user": (
        "CreateUser",
        "CreateUserCommand",
    ),
    "ubr.application.use_cases.delete_role": (
        "DeleteRole",
        "DeleteRoleCommand",
    ),
    "ubr.application.use_cases.delete_user": (
        "DeleteUser",
        "DeleteUserCommand",
    ),
    "ubr.application.use_cases.get_public_keys": ("GetPublicKeys",),
    "ubr.application.use_cases.get_role": (
        "GetRole",
        "GetRoleCommand",
    ),
    "ubr.application.use_cases.get_user": (
        "GetUser",
        "GetUserCommand",
    ),
    "ubr.application.use_cases.list_logs": (
        "ListLogs",
        "ListLogsCommand",
    ),
    "ubr.application.use_cases.list_roles": (
        "ListRoles",
        "ListRolesCommand",
    ),
    "ubr.application.use_cases.list_sessions": (
        "ListSessions",
        "ListSessionsCommand",
    ),
    "ubr.application.use_cases.list_signing_keys": ("ListSigningKeys",),
    "ubr.application.use_cases.list_user_roles": (
        "GrantResult",
        "ListUserRoles",
        "ListUserRolesCommand",
    ),
    "ubr.application.use_cases.list_users": (
        "ListUsers",
        "ListUsersCommand",
    ),
    "ubr.application.use_cases.log_in": (
        "LogIn",
        "LogInCommand",
    ),
    "ubr.application.use_cases.log_out": ("LogOut",),
    "ubr.application.use_cases.prepare": ("Prepare",),
    "ubr.application.use_cases.refresh_session": (
        "RefreshSession",
        "RefreshSessionCommand",
    ),
    "ubr.application.use_cases.register_user": (
        "RegisterUser",
        "RegisterUserCommand",
    ),
    "ubr.application.use_cases.revoke_other_sessions": ("RevokeOtherSessions",),
    "ubr.application.use_cases.revoke_session": (
        "RevokeSession",
        "RevokeSessionCommand",
    ),
    "ubr.application.use_cases.revoke_signing_key": (
        "RevokeSigningKey",
        "RevokeSigningKeyCommand",
    ),
    "ubr.application.use_cases.revoke_user_sessions": (
        "RevokeUserSessions",
        "RevokeUserSessionsCommand",
    ),
    "ubr.application.use_cases.rewrap_signing_keys": (
        "RewrapResult",
        "RewrapSigningKeys",
    ),
    "ubr.application.use_cases.rotate_signing_key": ("RotateSigningKey",),
    "ubr.application.use_cases.unassign_role": (
        "UnassignRole",
        "UnassignRoleCommand",
    ),
    "ubr.application.use_cases.update_role": (
        "RoleChanges",
        "UpdateRole",
        "UpdateRoleCommand",
    ),
    "ubr.application.use_cases.update_user": (
        "UpdateUser",
        "UpdateUserCommand",
        "UserChanges",
    ),
    "ubr.application.use_cases.get_checkpoint": ("GetCheckpoint",),
    "ubr.application.use_cases.prove_log_entry": (
        "ProofResult",
        "ProveLogEntry",
        "ProveLogEntryCommand",
    ),
    "ubr.application.use_cases.compare_checkpoint": (
        "CompareCheckpoint",
        "CompareCheckpointCommand",
    ),
    "ubr.application.use_cases.verify_log": (
        "VerifiedLogResult",
        "VerifyLog",
        "VerifyLogCommand",
    ),
    "ubr.application.use_cases.export_log": (
        "ExportLog",
        "ExportResult",
    ),
    "ubr.application.use_cases.prune_log": (
        "PrunedResult",
        "PruneLog",
        "PruneLogCommand",
    ),
    "ubr.application.use_cases.list_log_keys": (
        "KnownLogKeyResult",
        "ListLogKeys",
    ),
    "ubr.application.use_cases.rotate_log_key": (
        "LogKeyResult",
        "RotateLogKey",
    ),
    "ubr.application.use_cases.request_password_reset": (
        "RequestPasswordReset",
        "RequestPasswordResetCommand",
    ),
    "ubr.application.use_cases.reset_password": (
        "ResetPassword",
        "ResetPasswordCommand",
    ),
    "ubr.application.use_cases.request_email_change": (
        "RequestEmailChange",
        "RequestEmailChangeCommand",
    ),
    "ubr.application.use_cases.verify_email": (
        "VerifyEmail",
        "VerifyEmailCommand",
    ),
    "ubr.application.use_cases.resend_verification": (
        "ResendVerification",
        "ResendVerificationCommand",
    ),
    "ubr.application.use_cases.undo_email_change": (
        "UndoEmailChange",
        "UndoEmailChangeCommand",
    ),
    "ubr.application.use_cases.deliver_mail": ("DeliverMail",),
    "ubr.application.use_cases.list_mail": (
        "LetterResult",
        "ListMail",
        "ListMailCommand",
    ),
    "ubr.application.use_cases.retry_mail": (
        "RetryMail",
        "RetryMailCommand",
    ),
    "ubr.application.use_cases.settle_restore": (
        "SettledResult",
        "SettleRestore",
        "SettleRestoreCommand",
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
