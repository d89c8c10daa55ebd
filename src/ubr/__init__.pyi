# The public face of ubr, name by name: type checkers read this file, and `ubr.__getattr__` does too.

from ubr import errors as errors
from ubr import events as events
from ubr import sync as sync
from ubr.application.accounts.change_password import (
    ChangePassword as ChangePassword,
)
from ubr.application.accounts.change_password import (
    ChangePasswordCommand as ChangePasswordCommand,
)
from ubr.application.accounts.create_admin import CreateAdmin as CreateAdmin
from ubr.application.accounts.create_admin import CreateAdminCommand as CreateAdminCommand
from ubr.application.accounts.create_user import CreateUser as CreateUser
from ubr.application.accounts.create_user import CreateUserCommand as CreateUserCommand
from ubr.application.accounts.delete_user import DeleteUser as DeleteUser
from ubr.application.accounts.delete_user import DeleteUserCommand as DeleteUserCommand
from ubr.application.accounts.erase_user import (
    ErasedUserResult as ErasedUserResult,
)
from ubr.application.accounts.erase_user import (
    EraseUser as EraseUser,
)
from ubr.application.accounts.erase_user import (
    EraseUserCommand as EraseUserCommand,
)
from ubr.application.accounts.explain_login import (
    ExplainLogin as ExplainLogin,
)
from ubr.application.accounts.explain_login import (
    ExplainLoginCommand as ExplainLoginCommand,
)
from ubr.application.accounts.explain_login import (
    FailedLoginResult as FailedLoginResult,
)
from ubr.application.accounts.explain_login import (
    LoginExplanationResult as LoginExplanationResult,
)
from ubr.application.accounts.explain_login import (
    LoginLockResult as LoginLockResult,
)
from ubr.application.accounts.export_user import (
    ExportUser as ExportUser,
)
from ubr.application.accounts.export_user import (
    ExportUserCommand as ExportUserCommand,
)
from ubr.application.accounts.export_user import (
    FormerEmailResult as FormerEmailResult,
)
from ubr.application.accounts.export_user import (
    HeldKeyResult as HeldKeyResult,
)
from ubr.application.accounts.export_user import (
    HeldLinkResult as HeldLinkResult,
)
from ubr.application.accounts.export_user import (
    HeldMailResult as HeldMailResult,
)
from ubr.application.accounts.export_user import (
    HeldResultsResult as HeldResultsResult,
)
from ubr.application.accounts.export_user import (
    HeldSessionResult as HeldSessionResult,
)
from ubr.application.accounts.export_user import (
    UserExportResult as UserExportResult,
)
from ubr.application.accounts.get_me import GetMe as GetMe
from ubr.application.accounts.get_me import MeResult as MeResult
from ubr.application.accounts.get_user import GetUser as GetUser
from ubr.application.accounts.get_user import GetUserCommand as GetUserCommand
from ubr.application.accounts.get_user_by_email import (
    GetUserByEmail as GetUserByEmail,
)
from ubr.application.accounts.get_user_by_email import (
    GetUserByEmailCommand as GetUserByEmailCommand,
)
from ubr.application.accounts.index_user_fields import IndexedFieldsResult as IndexedFieldsResult
from ubr.application.accounts.index_user_fields import IndexUserFields as IndexUserFields
from ubr.application.accounts.list_users import ListUsers as ListUsers
from ubr.application.accounts.list_users import ListUsersCommand as ListUsersCommand
from ubr.application.accounts.register_user import (
    RegisterUser as RegisterUser,
)
from ubr.application.accounts.register_user import (
    RegisterUserCommand as RegisterUserCommand,
)
from ubr.application.accounts.request_email_change import (
    RequestEmailChange as RequestEmailChange,
)
from ubr.application.accounts.request_email_change import (
    RequestEmailChangeCommand as RequestEmailChangeCommand,
)
from ubr.application.accounts.request_password_reset import (
    RequestPasswordReset as RequestPasswordReset,
)
from ubr.application.accounts.request_password_reset import (
    RequestPasswordResetCommand as RequestPasswordResetCommand,
)
from ubr.application.accounts.resend_verification import (
    ResendVerification as ResendVerification,
)
from ubr.application.accounts.resend_verification import (
    ResendVerificationCommand as ResendVerificationCommand,
)
from ubr.application.accounts.reset_password import (
    ResetPassword as ResetPassword,
)
from ubr.application.accounts.reset_password import (
    ResetPasswordCommand as ResetPasswordCommand,
)
from ubr.application.accounts.undo_email_change import (
    UndoEmailChange as UndoEmailChange,
)
from ubr.application.accounts.undo_email_change import (
    UndoEmailChangeCommand as UndoEmailChangeCommand,
)
from ubr.application.accounts.unlock_user import (
    UnlockedUserResult as UnlockedUserResult,
)
from ubr.application.accounts.unlock_user import (
    UnlockUser as UnlockUser,
)
from ubr.application.accounts.unlock_user import (
    UnlockUserCommand as UnlockUserCommand,
)
from ubr.application.accounts.update_user import (
    UpdateUser as UpdateUser,
)
from ubr.application.accounts.update_user import (
    UpdateUserCommand as UpdateUserCommand,
)
from ubr.application.accounts.update_user import (
    UserChanges as UserChanges,
)
from ubr.application.accounts.verify_email import VerifyEmail as VerifyEmail
from ubr.application.accounts.verify_email import VerifyEmailCommand as VerifyEmailCommand
from ubr.application.app import Application as Application
from ubr.application.app import HostedUseCases as HostedUseCases
from ubr.application.audit.compare_checkpoint import (
    CompareCheckpoint as CompareCheckpoint,
)
from ubr.application.audit.compare_checkpoint import (
    CompareCheckpointCommand as CompareCheckpointCommand,
)
from ubr.application.audit.export_log import ExportLog as ExportLog
from ubr.application.audit.export_log import ExportResult as ExportResult
from ubr.application.audit.get_activity import ActivityResult as ActivityResult
from ubr.application.audit.get_activity import GetActivity as GetActivity
from ubr.application.audit.get_checkpoint import GetCheckpoint as GetCheckpoint
from ubr.application.audit.list_log_keys import KnownLogKeyResult as KnownLogKeyResult
from ubr.application.audit.list_log_keys import ListLogKeys as ListLogKeys
from ubr.application.audit.list_logs import ListLogs as ListLogs
from ubr.application.audit.list_logs import ListLogsCommand as ListLogsCommand
from ubr.application.audit.prove_log_entry import (
    ProofResult as ProofResult,
)
from ubr.application.audit.prove_log_entry import (
    ProveLogEntry as ProveLogEntry,
)
from ubr.application.audit.prove_log_entry import (
    ProveLogEntryCommand as ProveLogEntryCommand,
)
from ubr.application.audit.prune_log import (
    PrunedResult as PrunedResult,
)
from ubr.application.audit.prune_log import (
    PruneLog as PruneLog,
)
from ubr.application.audit.prune_log import (
    PruneLogCommand as PruneLogCommand,
)
from ubr.application.audit.read_events import (
    EventResult as EventResult,
)
from ubr.application.audit.read_events import (
    EventsResult as EventsResult,
)
from ubr.application.audit.read_events import (
    ReadEvents as ReadEvents,
)
from ubr.application.audit.read_events import (
    ReadEventsCommand as ReadEventsCommand,
)
from ubr.application.audit.rotate_log_key import LogKeyResult as LogKeyResult
from ubr.application.audit.rotate_log_key import RotateLogKey as RotateLogKey
from ubr.application.audit.verify_log import (
    VerifiedLogResult as VerifiedLogResult,
)
from ubr.application.audit.verify_log import (
    VerifyLog as VerifyLog,
)
from ubr.application.audit.verify_log import (
    VerifyLogCommand as VerifyLogCommand,
)
from ubr.application.kernel.field_declarations import FieldRules as FieldRules
from ubr.application.kernel.field_declarations import fields_from as fields_from
from ubr.application.kernel.home_loop import WrongEventLoop as WrongEventLoop
from ubr.application.kernel.hooks import HookedUnit as HookedUnit
from ubr.application.kernel.hooks import Hooks as Hooks
from ubr.application.kernel.idempotency import IdempotencyKey as IdempotencyKey
from ubr.application.kernel.origin import Origin as Origin
from ubr.application.kernel.origin import calling_from as calling_from
from ubr.application.kernel.representations import (
    AccessTokenResult as AccessTokenResult,
)
from ubr.application.kernel.representations import (
    BrowserLoginResult as BrowserLoginResult,
)
from ubr.application.kernel.representations import (
    BrowserSessionResult as BrowserSessionResult,
)
from ubr.application.kernel.representations import (
    CheckpointResult as CheckpointResult,
)
from ubr.application.kernel.representations import (
    GrantResult as GrantResult,
)
from ubr.application.kernel.representations import (
    LogEntryResult as LogEntryResult,
)
from ubr.application.kernel.representations import (
    MachineKeyResult as MachineKeyResult,
)
from ubr.application.kernel.representations import (
    Page as Page,
)
from ubr.application.kernel.representations import (
    Revised as Revised,
)
from ubr.application.kernel.representations import (
    RoleResult as RoleResult,
)
from ubr.application.kernel.representations import (
    SessionCookieResult as SessionCookieResult,
)
from ubr.application.kernel.representations import (
    SessionResult as SessionResult,
)
from ubr.application.kernel.representations import (
    SigningKeyResult as SigningKeyResult,
)
from ubr.application.kernel.representations import (
    TargetResult as TargetResult,
)
from ubr.application.kernel.representations import (
    TokensResult as TokensResult,
)
from ubr.application.kernel.representations import (
    UserResult as UserResult,
)
from ubr.application.keys.get_public_keys import GetPublicKeys as GetPublicKeys
from ubr.application.keys.list_signing_keys import ListSigningKeys as ListSigningKeys
from ubr.application.keys.revoke_signing_key import (
    RevokeSigningKey as RevokeSigningKey,
)
from ubr.application.keys.revoke_signing_key import (
    RevokeSigningKeyCommand as RevokeSigningKeyCommand,
)
from ubr.application.keys.rewrap_signing_keys import (
    RewrapResult as RewrapResult,
)
from ubr.application.keys.rewrap_signing_keys import (
    RewrapSigningKeys as RewrapSigningKeys,
)
from ubr.application.keys.rotate_signing_key import RotateSigningKey as RotateSigningKey
from ubr.application.machines.create_machine import CreateMachine as CreateMachine
from ubr.application.machines.create_machine import CreateMachineCommand as CreateMachineCommand
from ubr.application.machines.create_machine_key import CreateMachineKey as CreateMachineKey
from ubr.application.machines.create_machine_key import CreateMachineKeyCommand as CreateMachineKeyCommand
from ubr.application.machines.create_machine_key import KeyToCreate as KeyToCreate
from ubr.application.machines.delete_machine import DeleteMachine as DeleteMachine
from ubr.application.machines.delete_machine import DeleteMachineCommand as DeleteMachineCommand
from ubr.application.machines.get_machine import GetMachine as GetMachine
from ubr.application.machines.get_machine import GetMachineCommand as GetMachineCommand
from ubr.application.machines.list_machine_keys import ListMachineKeys as ListMachineKeys
from ubr.application.machines.list_machine_keys import ListMachineKeysCommand as ListMachineKeysCommand
from ubr.application.machines.list_machines import ListMachines as ListMachines
from ubr.application.machines.list_machines import ListMachinesCommand as ListMachinesCommand
from ubr.application.machines.log_in_machine import LogInMachine as LogInMachine
from ubr.application.machines.log_in_machine import LogInMachineCommand as LogInMachineCommand
from ubr.application.machines.log_in_machine import MachineTokenResult as MachineTokenResult
from ubr.application.machines.representations import MachineResult as MachineResult
from ubr.application.machines.representations import NewMachineKeyResult as NewMachineKeyResult
from ubr.application.machines.revoke_machine_key import RevokeMachineKey as RevokeMachineKey
from ubr.application.machines.revoke_machine_key import RevokeMachineKeyCommand as RevokeMachineKeyCommand
from ubr.application.machines.rotate_machine_key import KeyRotation as KeyRotation
from ubr.application.machines.rotate_machine_key import RotateMachineKey as RotateMachineKey
from ubr.application.machines.rotate_machine_key import RotateMachineKeyCommand as RotateMachineKeyCommand
from ubr.application.machines.update_machine import MachineChanges as MachineChanges
from ubr.application.machines.update_machine import UpdateMachine as UpdateMachine
from ubr.application.machines.update_machine import UpdateMachineCommand as UpdateMachineCommand
from ubr.application.mail.deliver_mail import DeliverMail as DeliverMail
from ubr.application.mail.list_mail import (
    ListMail as ListMail,
)
from ubr.application.mail.list_mail import (
    ListMailCommand as ListMailCommand,
)
from ubr.application.mail.list_mail import (
    QueuedMailResult as QueuedMailResult,
)
from ubr.application.mail.retry_mail import RetryMail as RetryMail
from ubr.application.mail.retry_mail import RetryMailCommand as RetryMailCommand
from ubr.application.operations.acknowledge_restore import (
    AcknowledgedRestoreResult as AcknowledgedRestoreResult,
)
from ubr.application.operations.acknowledge_restore import (
    AcknowledgeRestore as AcknowledgeRestore,
)
from ubr.application.operations.acknowledge_restore import (
    AcknowledgeRestoreCommand as AcknowledgeRestoreCommand,
)
from ubr.application.operations.check_health import CheckHealth as CheckHealth
from ubr.application.operations.initialize import Initialize as Initialize
from ubr.application.operations.inspect_installation import (
    InspectInstallation as InspectInstallation,
)
from ubr.application.operations.inspect_installation import (
    InspectionResult as InspectionResult,
)
from ubr.application.operations.inspect_installation import (
    KeysInspection as KeysInspection,
)
from ubr.application.operations.inspect_installation import (
    KeyToReview as KeyToReview,
)
from ubr.application.operations.inspect_installation import (
    LogInspection as LogInspection,
)
from ubr.application.operations.inspect_installation import (
    MachineKeysInspection as MachineKeysInspection,
)
from ubr.application.operations.inspect_installation import (
    OutboxInspection as OutboxInspection,
)
from ubr.application.ports.accounts import SlowHasher as SlowHasher
from ubr.application.ports.hosting import NotCommitted as NotCommitted
from ubr.application.ports.hosting import WrongConnection as WrongConnection
from ubr.application.ports.mail import Mail as Mail
from ubr.application.ports.mail import Mailer as Mailer
from ubr.application.ports.revocation import ChangeNotifier as ChangeNotifier
from ubr.application.ports.revocation import Listener as Listener
from ubr.application.ports.revocation import WorkerId as WorkerId
from ubr.application.ports.schema import WrongSchema as WrongSchema
from ubr.application.revocation.follow_revocations import (
    FollowRevocations as FollowRevocations,
)
from ubr.application.revocation.follow_revocations import (
    FollowRevocationsCommand as FollowRevocationsCommand,
)
from ubr.application.revocation.follow_revocations import (
    RevocationResult as RevocationResult,
)
from ubr.application.revocation.follow_revocations import (
    RevocationsResult as RevocationsResult,
)
from ubr.application.revocation.stop_following_revocations import (
    StopFollowingRevocations as StopFollowingRevocations,
)
from ubr.application.revocation.stop_following_revocations import (
    StopFollowingRevocationsCommand as StopFollowingRevocationsCommand,
)
from ubr.application.roles.assign_role import AssignRole as AssignRole
from ubr.application.roles.assign_role import AssignRoleCommand as AssignRoleCommand
from ubr.application.roles.create_role import CreateRole as CreateRole
from ubr.application.roles.create_role import CreateRoleCommand as CreateRoleCommand
from ubr.application.roles.delete_role import DeleteRole as DeleteRole
from ubr.application.roles.delete_role import DeleteRoleCommand as DeleteRoleCommand
from ubr.application.roles.get_role import GetRole as GetRole
from ubr.application.roles.get_role import GetRoleCommand as GetRoleCommand
from ubr.application.roles.list_roles import ListRoles as ListRoles
from ubr.application.roles.list_roles import ListRolesCommand as ListRolesCommand
from ubr.application.roles.list_user_roles import (
    ListUserRoles as ListUserRoles,
)
from ubr.application.roles.list_user_roles import (
    ListUserRolesCommand as ListUserRolesCommand,
)
from ubr.application.roles.permits import Permits as Permits
from ubr.application.roles.unassign_role import UnassignRole as UnassignRole
from ubr.application.roles.unassign_role import UnassignRoleCommand as UnassignRoleCommand
from ubr.application.roles.update_role import (
    RoleChanges as RoleChanges,
)
from ubr.application.roles.update_role import (
    UpdateRole as UpdateRole,
)
from ubr.application.roles.update_role import (
    UpdateRoleCommand as UpdateRoleCommand,
)
from ubr.application.sessions.authenticate import Authenticate as Authenticate
from ubr.application.sessions.authenticate_cookie import (
    AuthenticateCookie as AuthenticateCookie,
)
from ubr.application.sessions.issue_access_token import (
    IssueAccessToken as IssueAccessToken,
)
from ubr.application.sessions.issue_access_token import (
    IssueAccessTokenCommand as IssueAccessTokenCommand,
)
from ubr.application.sessions.list_sessions import (
    ListSessions as ListSessions,
)
from ubr.application.sessions.list_sessions import (
    ListSessionsCommand as ListSessionsCommand,
)
from ubr.application.sessions.log_in import LogIn as LogIn
from ubr.application.sessions.log_in import LogInCommand as LogInCommand
from ubr.application.sessions.log_in_browser import (
    LogInBrowser as LogInBrowser,
)
from ubr.application.sessions.log_in_browser import (
    LogInBrowserCommand as LogInBrowserCommand,
)
from ubr.application.sessions.log_out import LogOut as LogOut
from ubr.application.sessions.refresh_session import (
    RefreshSession as RefreshSession,
)
from ubr.application.sessions.refresh_session import (
    RefreshSessionCommand as RefreshSessionCommand,
)
from ubr.application.sessions.revoke_other_sessions import RevokeOtherSessions as RevokeOtherSessions
from ubr.application.sessions.revoke_session import (
    RevokeSession as RevokeSession,
)
from ubr.application.sessions.revoke_session import (
    RevokeSessionCommand as RevokeSessionCommand,
)
from ubr.application.sessions.revoke_user_sessions import (
    RevokeUserSessions as RevokeUserSessions,
)
from ubr.application.sessions.revoke_user_sessions import (
    RevokeUserSessionsCommand as RevokeUserSessionsCommand,
)
from ubr.application.sessions.token_issuer import TokenClaims as TokenClaims
from ubr.application.sessions.token_issuer import TokenSubject as TokenSubject
from ubr.bootstrap import Extensions as Extensions
from ubr.bootstrap import connect as connect
from ubr.domain.accounts.passwords import PasswordHash as PasswordHash
from ubr.domain.actor import SYSTEM as SYSTEM
from ubr.domain.actor import Actor as Actor
from ubr.domain.errors import UbrError as UbrError
from ubr.domain.revocation.changes import Change as Change
from ubr.domain.revocation.changes import ChangeRecord as ChangeRecord
from ubr.extras import MissingExtra as MissingExtra
from ubr.settings import Settings as Settings
from ubr.settings import WrongSetting as WrongSetting

__all__: list[str]  # noqa: PYI035 - made of the imports above when it is asked for
