"""Everything that ubr does, on one screen."""

from __future__ import annotations

from dataclasses import dataclass

from ubr.application.use_cases.assign_role import AssignRole
from ubr.application.use_cases.authenticate import Authenticate
from ubr.application.use_cases.change_password import ChangePassword
from ubr.application.use_cases.check_health import CheckHealth
from ubr.application.use_cases.compare_checkpoint import CompareCheckpoint
from ubr.application.use_cases.create_admin import CreateAdmin
from ubr.application.use_cases.create_role import CreateRole
from ubr.application.use_cases.create_user import CreateUser
from ubr.application.use_cases.delete_role import DeleteRole
from ubr.application.use_cases.delete_user import DeleteUser
from ubr.application.use_cases.deliver_mail import DeliverMail
from ubr.application.use_cases.export_log import ExportLog
from ubr.application.use_cases.follow_revocations import FollowRevocations
from ubr.application.use_cases.get_checkpoint import GetCheckpoint
from ubr.application.use_cases.get_public_keys import GetPublicKeys
from ubr.application.use_cases.get_role import GetRole
from ubr.application.use_cases.get_user import GetUser
from ubr.application.use_cases.leave_revocations import LeaveRevocations
from ubr.application.use_cases.list_log_keys import ListLogKeys
from ubr.application.use_cases.list_logs import ListLogs
from ubr.application.use_cases.list_mail import ListMail
from ubr.application.use_cases.list_roles import ListRoles
from ubr.application.use_cases.list_sessions import ListSessions
from ubr.application.use_cases.list_signing_keys import ListSigningKeys
from ubr.application.use_cases.list_user_roles import ListUserRoles
from ubr.application.use_cases.list_users import ListUsers
from ubr.application.use_cases.log_in import LogIn
from ubr.application.use_cases.log_out import LogOut
from ubr.application.use_cases.prepare import Prepare
from ubr.application.use_cases.prove_log_entry import ProveLogEntry
from ubr.application.use_cases.prune_log import PruneLog
from ubr.application.use_cases.refresh_session import RefreshSession
from ubr.application.use_cases.register_user import RegisterUser
from ubr.application.use_cases.request_email_change import RequestEmailChange
from ubr.application.use_cases.request_password_reset import RequestPasswordReset
from ubr.application.use_cases.resend_verification import ResendVerification
from ubr.application.use_cases.reset_password import ResetPassword
from ubr.application.use_cases.retry_mail import RetryMail
from ubr.application.use_cases.revoke_other_sessions import RevokeOtherSessions
from ubr.application.use_cases.revoke_session import RevokeSession
from ubr.application.use_cases.revoke_signing_key import RevokeSigningKey
from ubr.application.use_cases.revoke_user_sessions import RevokeUserSessions
from ubr.application.use_cases.rewrap_signing_keys import RewrapSigningKeys
from ubr.application.use_cases.rotate_log_key import RotateLogKey
from ubr.application.use_cases.rotate_signing_key import RotateSigningKey
from ubr.application.use_cases.settle_restore import SettleRestore
from ubr.application.use_cases.unassign_role import UnassignRole
from ubr.application.use_cases.undo_email_change import UndoEmailChange
from ubr.application.use_cases.update_role import UpdateRole
from ubr.application.use_cases.update_user import UpdateUser
from ubr.application.use_cases.verify_email import VerifyEmail
from ubr.application.use_cases.verify_log import VerifyLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """The table of contents: each field is a use case, called as `await ubr.register_user(command, actor=…)`."""

    # signing in
    register_user: RegisterUser
    log_in: LogIn
    refresh_session: RefreshSession
    log_out: LogOut
    change_password: ChangePassword
    authenticate: Authenticate

    # what the mail decides
    request_password_reset: RequestPasswordReset
    reset_password: ResetPassword
    request_email_change: RequestEmailChange
    verify_email: VerifyEmail
    resend_verification: ResendVerification
    undo_email_change: UndoEmailChange
    deliver_mail: DeliverMail
    list_mail: ListMail
    retry_mail: RetryMail

    # sessions
    list_sessions: ListSessions
    revoke_session: RevokeSession
    revoke_other_sessions: RevokeOtherSessions
    revoke_user_sessions: RevokeUserSessions
    follow_revocations: FollowRevocations
    leave_revocations: LeaveRevocations

    # users
    get_user: GetUser
    list_users: ListUsers
    create_user: CreateUser
    update_user: UpdateUser
    delete_user: DeleteUser

    # roles
    get_role: GetRole
    list_roles: ListRoles
    create_role: CreateRole
    update_role: UpdateRole
    delete_role: DeleteRole
    assign_role: AssignRole
    unassign_role: UnassignRole
    list_user_roles: ListUserRoles

    # the log
    list_logs: ListLogs
    get_checkpoint: GetCheckpoint
    prove_log_entry: ProveLogEntry
    compare_checkpoint: CompareCheckpoint
    verify_log: VerifyLog
    export_log: ExportLog
    prune_log: PruneLog
    list_log_keys: ListLogKeys
    rotate_log_key: RotateLogKey

    # signing keys
    list_signing_keys: ListSigningKeys
    rotate_signing_key: RotateSigningKey
    revoke_signing_key: RevokeSigningKey
    rewrap_signing_keys: RewrapSigningKeys

    # the service itself
    create_admin: CreateAdmin
    get_public_keys: GetPublicKeys
    check_health: CheckHealth
    prepare: Prepare
    settle_restore: SettleRestore
