"""Builds the use cases from their ports: one function per capability, checked by the types.

A use case that lacks a port, or gets the wrong one, fails `make check`.
"""

from __future__ import annotations

from functools import partial

from msgspec.structs import replace

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
from ubr.application.app import (
    AccountUseCases,
    Application,
    AuditUseCases,
    HostedUseCases,
    KeyUseCases,
    MachineUseCases,
    MailUseCases,
    OperationUseCases,
    RevocationUseCases,
    RoleUseCases,
    SessionUseCases,
)
from ubr.application.audit.compare_checkpoint import CompareCheckpoint
from ubr.application.audit.denials import CountedDenials
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
from ubr.application.revocation.hosted import HostedPropagation
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
from ubr.application.sessions.issue_access_token import IssueAccessToken
from ubr.application.sessions.list_sessions import ListSessions
from ubr.application.sessions.log_in import LogIn
from ubr.application.sessions.log_in_browser import LogInBrowser
from ubr.application.sessions.log_out import LogOut
from ubr.application.sessions.refresh_session import RefreshSession
from ubr.application.sessions.revoke_other_sessions import RevokeOtherSessions
from ubr.application.sessions.revoke_session import RevokeSession
from ubr.application.sessions.revoke_user_sessions import RevokeUserSessions
from ubr.bootstrap.ports import Ports
from ubr.bootstrap.services import Services


def application(ports: Ports, services: Services) -> Application:
    """Every use case."""
    return Application.of(
        accounts=accounts(ports, services),
        sessions=sessions(ports, services),
        roles=roles(ports, services),
        machines=machines(ports, services),
        mail=mail(ports, services),
        audit=audit(ports, services),
        keys=keys(ports, services),
        revocation=revocation(ports, services),
        operations=operations(ports, services),
        within=partial(within, ports, services),
    )


def within(ports: Ports, services: Services, connection: object) -> HostedUseCases:
    """Use cases in a transaction of the host. Errors: `WrongConnection`."""
    host = ports.hosting.within(connection)
    unit_of_work = HostedPropagation(host.unit_of_work, services.barrier)
    hosted = replace(
        services,
        unit_of_work=unit_of_work,
        idempotency=replace(services.idempotency, unit_of_work=unit_of_work),
    )
    if host.rate_limit_store is not None:
        # A connection of ubr would wait for the host's transaction.
        hosted = replace(
            hosted,
            rate_limiter=replace(services.rate_limiter, rate_limit_store=host.rate_limit_store),
            denials=CountedDenials(services.denial_recorder),
        )
    return HostedUseCases.of(
        accounts=accounts(ports, hosted),
        sessions=sessions(ports, hosted),
        roles=roles(ports, hosted),
        committed=unit_of_work.committed,
    )


def accounts(ports: Ports, services: Services) -> AccountUseCases:
    return AccountUseCases(
        register_user=RegisterUser(
            unit_of_work=services.unit_of_work,
            hasher=ports.security.hasher,
            passwords=services.passwords,
            is_common=ports.security.is_common,
            is_guessable=ports.security.is_guessable,
            new_id=ports.new_id,
            mail_queue=services.mail_queue,
            rate_limiter=services.rate_limiter,
            policy=ports.decisions.policy,
            idempotency=services.idempotency,
            denials=services.denials,
            hooks=ports.hooks,
        ),
        change_password=ChangePassword(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            passwords=services.passwords,
            hasher=ports.security.hasher,
            is_common=ports.security.is_common,
            is_guessable=ports.security.is_guessable,
            browser_sessions=services.browser_sessions,
            policy=ports.decisions.policy,
            denials=services.denials,
        ),
        request_password_reset=RequestPasswordReset(
            unit_of_work=services.unit_of_work,
            mail_queue=services.mail_queue,
            rate_limiter=services.rate_limiter,
            denials=services.denials,
        ),
        reset_password=ResetPassword(
            unit_of_work=services.unit_of_work,
            tokens=ports.security.link_tokens,
            rate_limiter=services.rate_limiter,
            hasher=ports.security.hasher,
            passwords=services.passwords,
            is_common=ports.security.is_common,
            is_guessable=ports.security.is_guessable,
            policy=ports.decisions.policy,
            denials=services.denials,
        ),
        request_email_change=RequestEmailChange(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            passwords=services.passwords,
            rate_limiter=services.rate_limiter,
            mail_queue=services.mail_queue,
            denials=services.denials,
        ),
        verify_email=VerifyEmail(
            unit_of_work=services.unit_of_work,
            tokens=ports.security.link_tokens,
            rate_limiter=services.rate_limiter,
            hasher=ports.security.hasher,
            passwords=services.passwords,
            is_common=ports.security.is_common,
            is_guessable=ports.security.is_guessable,
            new_id=ports.new_id,
            mail_queue=services.mail_queue,
            policy=ports.decisions.policy,
            denials=services.denials,
        ),
        resend_verification=ResendVerification(
            unit_of_work=services.unit_of_work,
            mail_queue=services.mail_queue,
            rate_limiter=services.rate_limiter,
            denials=services.denials,
        ),
        undo_email_change=UndoEmailChange(
            unit_of_work=services.unit_of_work,
            tokens=ports.security.link_tokens,
            rate_limiter=services.rate_limiter,
            mail_queue=services.mail_queue,
            denials=services.denials,
        ),
        get_me=GetMe(authorize=services.authorize, clock=ports.clock, denials=services.denials),
        get_user=GetUser(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            clock=ports.clock,
            denials=services.denials,
        ),
        get_user_by_email=GetUserByEmail(
            authorize=services.authorize, unit_of_work=services.unit_of_work, denials=services.denials
        ),
        list_users=ListUsers(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            pager=services.pager,
            denials=services.denials,
        ),
        create_user=CreateUser(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            hasher=ports.security.hasher,
            is_common=ports.security.is_common,
            is_guessable=ports.security.is_guessable,
            new_id=ports.new_id,
            mail_queue=services.mail_queue,
            policy=ports.decisions.policy,
            idempotency=services.idempotency,
            denials=services.denials,
            hooks=ports.hooks,
        ),
        update_user=UpdateUser(
            unit_of_work=services.unit_of_work,
            rate_limiter=services.rate_limiter,
            mail_queue=services.mail_queue,
            denials=services.denials,
            hooks=ports.hooks,
        ),
        delete_user=DeleteUser(unit_of_work=services.unit_of_work, denials=services.denials, hooks=ports.hooks),
        erase_user=EraseUser(unit_of_work=services.unit_of_work, denials=services.denials),
        unlock_user=UnlockUser(
            unit_of_work=services.unit_of_work, locks=services.account_locks, denials=services.denials
        ),
        explain_login=ExplainLogin(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            locks=services.account_locks,
            hasher=ports.security.hasher,
            policy=ports.decisions.policy,
            denials=services.denials,
        ),
        export_user=ExportUser(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            clock=ports.clock,
            locks=services.account_locks,
            rate_limiter=services.rate_limiter,
            feed=ports.feed,
            denials=services.denials,
        ),
        create_admin=CreateAdmin(
            unit_of_work=services.unit_of_work,
            hasher=ports.security.hasher,
            passwords=services.passwords,
            is_common=ports.security.is_common,
            is_guessable=ports.security.is_guessable,
            new_id=ports.new_id,
            policy=ports.decisions.policy,
            denials=services.denials,
        ),
    )


def sessions(ports: Ports, services: Services) -> SessionUseCases:
    return SessionUseCases(
        log_in=LogIn(
            unit_of_work=services.unit_of_work,
            passwords=services.passwords,
            keys=services.keys,
            mint=ports.security.refresh_tokens,
            issuer=services.issuer,
            new_id=ports.new_id,
            policy=ports.decisions.policy,
            denials=services.denials,
            hooks=ports.hooks,
        ),
        refresh_session=RefreshSession(
            unit_of_work=services.unit_of_work,
            rate_limiter=services.rate_limiter,
            keys=services.keys,
            mint=ports.security.refresh_tokens,
            issuer=services.issuer,
            policy=ports.decisions.policy,
            denials=services.denials,
        ),
        log_in_browser=LogInBrowser(
            unit_of_work=services.unit_of_work,
            passwords=services.passwords,
            authenticate=services.authenticate_cookie,
            sessions=services.browser_sessions,
            denials=services.denials,
            hooks=ports.hooks,
        ),
        issue_access_token=IssueAccessToken(
            unit_of_work=services.unit_of_work,
            authenticate=services.authenticate_cookie,
            rate_limiter=services.rate_limiter,
            keys=services.keys,
            issuer=services.issuer,
            denials=services.denials,
        ),
        log_out=LogOut(unit_of_work=services.unit_of_work, denials=services.denials),
        authenticate=Authenticate(
            authorize=services.authorize,
            access_tokens=ports.security.access_tokens,
            keys=services.keys,
            clock=ports.clock,
        ),
        authenticate_cookie=services.authenticate_cookie,
        list_sessions=ListSessions(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            clock=ports.clock,
            pager=services.pager,
            denials=services.denials,
        ),
        revoke_session=RevokeSession(unit_of_work=services.unit_of_work, denials=services.denials),
        revoke_other_sessions=RevokeOtherSessions(unit_of_work=services.unit_of_work, denials=services.denials),
        revoke_user_sessions=RevokeUserSessions(unit_of_work=services.unit_of_work, denials=services.denials),
    )


def roles(ports: Ports, services: Services) -> RoleUseCases:
    return RoleUseCases(
        get_role=GetRole(authorize=services.authorize, unit_of_work=services.unit_of_work, denials=services.denials),
        list_roles=ListRoles(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            pager=services.pager,
            denials=services.denials,
        ),
        create_role=CreateRole(
            unit_of_work=services.unit_of_work,
            new_id=ports.new_id,
            policy=ports.decisions.policy,
            idempotency=services.idempotency,
            denials=services.denials,
        ),
        update_role=UpdateRole(
            unit_of_work=services.unit_of_work, policy=ports.decisions.policy, denials=services.denials
        ),
        delete_role=DeleteRole(unit_of_work=services.unit_of_work, denials=services.denials),
        assign_role=AssignRole(
            unit_of_work=services.unit_of_work, clock=ports.clock, denials=services.denials, hooks=ports.hooks
        ),
        permits=Permits(authorize=services.authorize, policy=ports.decisions.policy),
        unassign_role=UnassignRole(unit_of_work=services.unit_of_work, denials=services.denials, hooks=ports.hooks),
        list_user_roles=ListUserRoles(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            clock=ports.clock,
            pager=services.pager,
            denials=services.denials,
        ),
    )


def machines(ports: Ports, services: Services) -> MachineUseCases:
    return MachineUseCases(
        create_machine=CreateMachine(unit_of_work=services.unit_of_work, new_id=ports.new_id, denials=services.denials),
        get_machine=GetMachine(
            authorize=services.authorize, unit_of_work=services.unit_of_work, denials=services.denials
        ),
        list_machines=ListMachines(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            pager=services.pager,
            denials=services.denials,
        ),
        update_machine=UpdateMachine(unit_of_work=services.unit_of_work, denials=services.denials),
        delete_machine=DeleteMachine(unit_of_work=services.unit_of_work, denials=services.denials),
        create_machine_key=CreateMachineKey(
            unit_of_work=services.unit_of_work,
            mint=ports.security.machine_keys,
            new_id=ports.new_id,
            policy=ports.decisions.policy,
            denials=services.denials,
        ),
        list_machine_keys=ListMachineKeys(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            pager=services.pager,
            denials=services.denials,
        ),
        rotate_machine_key=RotateMachineKey(
            unit_of_work=services.unit_of_work,
            mint=ports.security.machine_keys,
            new_id=ports.new_id,
            policy=ports.decisions.policy,
            denials=services.denials,
        ),
        revoke_machine_key=RevokeMachineKey(unit_of_work=services.unit_of_work, denials=services.denials),
        log_in_machine=LogInMachine(
            unit_of_work=services.unit_of_work,
            rate_limiter=services.rate_limiter,
            keys=services.keys,
            mint=ports.security.machine_keys,
            issuer=services.issuer,
            new_id=ports.new_id,
            policy=ports.decisions.policy,
            denials=services.denials,
        ),
    )


def mail(ports: Ports, services: Services) -> MailUseCases:
    return MailUseCases(
        deliver_mail=DeliverMail(
            unit_of_work=services.unit_of_work,
            tokens=ports.security.link_tokens,
            renderer=ports.renderer,
            mailer=ports.mailer,
            denials=services.denials,
        ),
        list_mail=ListMail(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            pager=services.pager,
            denials=services.denials,
        ),
        retry_mail=RetryMail(unit_of_work=services.unit_of_work, denials=services.denials),
    )


def audit(ports: Ports, services: Services) -> AuditUseCases:
    return AuditUseCases(
        list_logs=ListLogs(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            pager=services.pager,
            denials=services.denials,
        ),
        read_events=ReadEvents(
            unit_of_work=services.unit_of_work, sequencer=services.sequencer, denials=services.denials
        ),
        get_activity=GetActivity(
            authorize=services.authorize, unit_of_work=services.unit_of_work, denials=services.denials
        ),
        get_checkpoint=GetCheckpoint(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            sequencer=services.sequencer,
            denials=services.denials,
        ),
        prove_log_entry=ProveLogEntry(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            sequencer=services.sequencer,
            denials=services.denials,
        ),
        compare_checkpoint=CompareCheckpoint(
            unit_of_work=services.unit_of_work,
            sequencer=services.sequencer,
            signing=ports.security.log_signing,
            denials=services.denials,
        ),
        verify_log=VerifyLog(
            unit_of_work=services.unit_of_work, verify=ports.security.log_signing.verify, denials=services.denials
        ),
        export_log=ExportLog(
            unit_of_work=services.unit_of_work, sequencer=services.sequencer, denials=services.denials
        ),
        prune_log=PruneLog(unit_of_work=services.unit_of_work, clock=ports.clock, denials=services.denials),
        list_log_keys=ListLogKeys(
            authorize=services.authorize, unit_of_work=services.unit_of_work, denials=services.denials
        ),
        rotate_log_key=RotateLogKey(
            unit_of_work=services.unit_of_work,
            signing=ports.security.log_signing,
            sequencer=services.sequencer,
            denials=services.denials,
        ),
    )


def keys(ports: Ports, services: Services) -> KeyUseCases:
    return KeyUseCases(
        list_signing_keys=ListSigningKeys(
            authorize=services.authorize, unit_of_work=services.unit_of_work, denials=services.denials
        ),
        rotate_signing_key=RotateSigningKey(
            unit_of_work=services.unit_of_work, access_tokens=ports.security.access_tokens, denials=services.denials
        ),
        revoke_signing_key=RevokeSigningKey(
            unit_of_work=services.unit_of_work, access_tokens=ports.security.access_tokens, denials=services.denials
        ),
        rewrap_signing_keys=RewrapSigningKeys(
            hasher=ports.security.hasher,
            machine_keys=ports.security.machine_keys,
            unit_of_work=services.unit_of_work,
            access_tokens=ports.security.access_tokens,
            log_signing=ports.security.log_signing,
            denials=services.denials,
        ),
        get_public_keys=GetPublicKeys(
            access_tokens=ports.security.access_tokens, keys=services.keys, clock=ports.clock
        ),
    )


def revocation(ports: Ports, services: Services) -> RevocationUseCases:
    return RevocationUseCases(
        follow_revocations=FollowRevocations(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            rate_limiter=services.rate_limiter,
            policy=ports.decisions.policy,
            session_cache=services.session_cache,
            feed=ports.background_feed,
            notifier=ports.notifier,
            elapsed=ports.elapsed,
            denials=services.denials,
        ),
        stop_following_revocations=StopFollowingRevocations(
            authorize=services.authorize, feed=ports.background_feed, denials=services.denials
        ),
    )


def operations(ports: Ports, services: Services) -> OperationUseCases:
    return OperationUseCases(
        acknowledge_restore=AcknowledgeRestore(
            unit_of_work=services.unit_of_work,
            access_tokens=ports.security.access_tokens,
            signing=ports.security.log_signing,
            sequencer=services.sequencer,
            session_cache=services.session_cache,
            denials=services.denials,
        ),
        check_health=CheckHealth(ports.store),
        initialize=Initialize(
            hasher=ports.security.hasher,
            unit_of_work=services.unit_of_work,
            access_tokens=ports.security.access_tokens,
            keys=services.keys,
            log_signing=ports.security.log_signing,
        ),
        inspect_installation=InspectInstallation(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            access_tokens=ports.security.access_tokens,
            log_signing=ports.security.log_signing,
            hasher=ports.security.hasher,
            new_id=ports.new_id,
            denials=services.denials,
        ),
    )
