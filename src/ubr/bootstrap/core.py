"""What every environment shares: security, ids, and the use cases wired to their ports."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from dependency_injector import containers, providers

from ubr.adapters.security.common_passwords import common_and_listed, is_common
from ubr.adapters.security.link_tokens import OpaqueLinkTokens
from ubr.adapters.security.log_signing import Ed25519LogSigning
from ubr.adapters.security.passwords import Argon2PasswordHasher, cores
from ubr.adapters.security.refresh_tokens import OpaqueRefreshTokens
from ubr.adapters.security.secrets import HmacSigner, SecretKeys
from ubr.adapters.security.system import Uuid7, random_bytes
from ubr.adapters.security.tokens import JwtAccessTokens
from ubr.application.access.authorization import Authorize
from ubr.application.access.session_cache import View, ViewTimes
from ubr.application.accounts.change_password import ChangePassword
from ubr.application.accounts.create_admin import CreateAdmin
from ubr.application.accounts.create_user import CreateUser
from ubr.application.accounts.delete_user import DeleteUser
from ubr.application.accounts.get_user import GetUser
from ubr.application.accounts.list_users import ListUsers
from ubr.application.accounts.register_user import RegisterUser
from ubr.application.accounts.request_email_change import RequestEmailChange
from ubr.application.accounts.request_password_reset import RequestPasswordReset
from ubr.application.accounts.resend_verification import ResendVerification
from ubr.application.accounts.reset_password import ResetPassword
from ubr.application.accounts.undo_email_change import UndoEmailChange
from ubr.application.accounts.update_user import UpdateUser
from ubr.application.accounts.verify_email import VerifyEmail
from ubr.application.app import Application
from ubr.application.audit.compare_checkpoint import CompareCheckpoint
from ubr.application.audit.denials import Refusals, noting_refusals
from ubr.application.audit.export_log import ExportLog
from ubr.application.audit.get_checkpoint import GetCheckpoint
from ubr.application.audit.list_log_keys import ListLogKeys
from ubr.application.audit.list_logs import ListLogs
from ubr.application.audit.maintenance import Bookkeeping
from ubr.application.audit.prove_log_entry import ProveLogEntry
from ubr.application.audit.prune_log import PruneLog
from ubr.application.audit.recorder import Recorder
from ubr.application.audit.rotate_log_key import RotateLogKey
from ubr.application.audit.sequencer import Sequencer
from ubr.application.audit.verify_log import VerifyLog
from ubr.application.kernel.idempotency import Replaying
from ubr.application.kernel.operator_policy import Rules
from ubr.application.kernel.paging import Pager
from ubr.application.keys.get_public_keys import GetPublicKeys
from ubr.application.keys.key_ring import KnownKeys
from ubr.application.keys.list_signing_keys import ListSigningKeys
from ubr.application.keys.revoke_signing_key import RevokeSigningKey
from ubr.application.keys.rewrap_signing_keys import RewrapSigningKeys
from ubr.application.keys.rotate_signing_key import RotateSigningKey
from ubr.application.mail.deliver_mail import DeliverMail
from ubr.application.mail.list_mail import ListMail
from ubr.application.mail.queue import Post
from ubr.application.mail.retry_mail import RetryMail
from ubr.application.operations.check_health import CheckHealth
from ubr.application.operations.janitor import Janitor
from ubr.application.operations.prepare import Prepare
from ubr.application.operations.settle_restore import SettleRestore
from ubr.application.ports.accounts import CommonPasswords
from ubr.application.ports.protection import Counters, Quota
from ubr.application.ports.revocation import Elapsed, Feed, Nudges, WorkerId
from ubr.application.ports.system import Clock, NewId
from ubr.application.ports.unit_of_work import Store, UnitOfWork
from ubr.application.protection.password_throttle import PasswordGuard
from ubr.application.protection.rate_limits import Limits, Quotas
from ubr.application.revocation.feed_follower import Tail
from ubr.application.revocation.follow_revocations import FollowRevocations
from ubr.application.revocation.leave_revocations import LeaveRevocations
from ubr.application.revocation.propagation import SettledUnitOfWork, Settlement
from ubr.application.revocation.worker_reaper import Census
from ubr.application.roles.assign_role import AssignRole
from ubr.application.roles.create_role import CreateRole
from ubr.application.roles.delete_role import DeleteRole
from ubr.application.roles.get_role import GetRole
from ubr.application.roles.list_roles import ListRoles
from ubr.application.roles.list_user_roles import ListUserRoles
from ubr.application.roles.unassign_role import UnassignRole
from ubr.application.roles.update_role import UpdateRole
from ubr.application.sessions.authenticate import Authenticate
from ubr.application.sessions.list_sessions import ListSessions
from ubr.application.sessions.log_in import LogIn
from ubr.application.sessions.log_out import LogOut
from ubr.application.sessions.refresh_session import RefreshSession
from ubr.application.sessions.revoke_other_sessions import RevokeOtherSessions
from ubr.application.sessions.revoke_session import RevokeSession
from ubr.application.sessions.revoke_user_sessions import RevokeUserSessions
from ubr.application.sessions.token_issuer import TokenIssuer
from ubr.bootstrap.mailing import composer_of, mailer_of
from ubr.domain.roles.permissions import Permission, Permissions
from ubr.domain.sessions.session import SessionLimits
from ubr.settings import Limit, LoginRateLimit, Settings, WrongSetting


def rules_of(settings: Settings) -> Rules:
    """The operator's decisions, as the use cases know them."""
    return Rules(
        registration=settings.registration,
        password_min_length=settings.password_min_length,
        access_token_lifetime=settings.access_token_lifetime,
        sessions=SessionLimits(
            idle=settings.session_idle, lifetime=settings.session_lifetime, per_user=settings.sessions_per_user
        ),
        own_permissions=Permissions.of(Permission(name) for name in settings.permissions),
    )


def common_of(settings: Settings) -> CommonPasswords:
    """The passwords that nobody may set. Errors: `WrongSetting` where the operator's list is of no use."""
    path = settings.password_block_list
    if path is None:
        return is_common
    try:
        return common_and_listed(path)
    except ValueError as error:
        raise WrongSetting(f"UBR_PASSWORD_BLOCK_LIST names {path}, which {error}.") from None


def quotas_of(settings: Settings) -> Quotas:
    """Where both of the operator's limits are off, so are the others."""
    chosen = settings.login_rate_limit
    if chosen == LoginRateLimit(None, None):
        return Quotas.off()
    return Quotas(account=_quota(chosen.per_account), log_in=_quota(chosen.per_ip))


def _quota(limit: Limit | None) -> Quota | None:
    return None if limit is None else Quota(limit=limit.count, per=limit.per)


class System(containers.DeclarativeContainer):
    """Ids and log entries, which stores need too."""

    clock: providers.Provider[Clock] = providers.Dependency()
    new_id = providers.Singleton(Uuid7, clock=clock)
    recorder = providers.Singleton(Recorder, new_id=new_id, random_bytes=providers.Object(random_bytes))


def hashing_threads(settings: Settings) -> int:
    """As many as there are cores, shared among the workers of one service: more would only make each slower."""
    return max(1, cores() // settings.workers)


def times_of(settings: Settings) -> ViewTimes:
    """How often the feed is read, and how long an end may take."""
    return ViewTimes(
        poll=settings.revocation_poll.total_seconds(),
        bound=settings.revocation_bound.total_seconds(),
        horizon=(settings.access_token_lifetime + _CLOCKS_AND_UNITS).total_seconds(),
    )


_CLOCKS_AND_UNITS: Final = timedelta(seconds=30 + 60)
"""How far clocks may differ, and how long a unit of work may last."""


class Following(containers.DeclarativeContainer):
    """The view of this worker, what keeps it fresh, and units of work that wait until an end holds everywhere."""

    settings = providers.Dependency(instance_of=Settings)
    new_id: providers.Provider[NewId] = providers.Dependency()
    elapsed: providers.Provider[Elapsed] = providers.Dependency()
    unit_of_work: providers.Provider[UnitOfWork] = providers.Dependency()
    feed: providers.Provider[Feed] = providers.Dependency()
    lifeline: providers.Provider[Feed] = providers.Dependency()
    """The same feed, by a way that no request can stand in."""
    lifeline_units: providers.Provider[UnitOfWork] = providers.Dependency()
    """Units of work by that way."""
    nudges: providers.Provider[Nudges] = providers.Dependency()

    times = providers.Singleton(times_of, settings)
    view = providers.Singleton(
        View,
        worker=providers.Singleton(lambda new_id: WorkerId(new_id()), new_id),
        unit_of_work=unit_of_work,
        feed=lifeline,
        elapsed=elapsed,
        times=times,
    )
    settlement = providers.Singleton(Settlement, view=view, feed=feed, nudges=nudges, elapsed=elapsed)
    settled = providers.Singleton(SettledUnitOfWork, inner=unit_of_work, settle=settlement)
    tail = providers.Singleton(
        Tail,
        view=view,
        nudges=nudges,
        census=providers.Singleton(Census, feed=lifeline, elapsed=elapsed, row=times.provided.row),
    )


class Core(containers.DeclarativeContainer):
    """The part that is the same everywhere. An environment fills in where things are stored.

    Everything is made by ordinary constructors: an asynchronous resource would make every provider that depends on
    it, and so every use case, a future.
    """

    settings = providers.Dependency(instance_of=Settings)
    clock: providers.Provider[Clock] = providers.Dependency()
    new_id: providers.Provider[NewId] = providers.Dependency()
    unit_of_work: providers.Provider[UnitOfWork] = providers.Dependency()
    store: providers.Provider[Store] = providers.Dependency()
    view: providers.Provider[View] = providers.Dependency()
    feed: providers.Provider[Feed] = providers.Dependency()
    lifeline_units: providers.Provider[UnitOfWork] = providers.Dependency()
    nudges: providers.Provider[Nudges] = providers.Dependency()
    elapsed: providers.Provider[Elapsed] = providers.Dependency()
    counters: providers.Provider[Counters] = providers.Dependency()

    rules = providers.Singleton(rules_of, settings)
    secret_keys = providers.Singleton(SecretKeys, settings.provided.secret_keys)
    signer = providers.Singleton(HmacSigner, secret_keys)
    hasher = providers.Singleton(
        Argon2PasswordHasher,
        settings.provided.argon2_memory_kib,
        settings.provided.argon2_time,
        settings.provided.argon2_parallelism,
        workers=providers.Callable(hashing_threads, settings),
    )
    common = providers.Singleton(common_of, settings)
    access_tokens = providers.Singleton(
        JwtAccessTokens,
        settings.provided.issuer,
        settings.provided.audience,
        secret_keys,
        algorithm=settings.provided.jwt_algorithm,
    )
    mint = providers.Singleton(OpaqueRefreshTokens)
    issuer = providers.Singleton(TokenIssuer, access_tokens=access_tokens, new_id=new_id, rules=rules)
    pager = providers.Singleton(Pager, signer)
    link_tokens = providers.Singleton(OpaqueLinkTokens)
    post = providers.Singleton(Post, new_id=new_id)
    mailer = providers.Singleton(mailer_of, settings, clock)
    composer = providers.Singleton(composer_of, settings)
    replaying = providers.Singleton(Replaying, unit_of_work=unit_of_work, signer=signer)

    quotas = providers.Singleton(quotas_of, settings)
    limits = providers.Singleton(Limits, counters=counters, quotas=quotas)
    guard = providers.Singleton(PasswordGuard, unit_of_work=unit_of_work, limits=limits, signer=signer, elapsed=elapsed)
    authorize = providers.Singleton(Authorize, view=view, clock=clock)
    refusals = providers.Singleton(Refusals, unit_of_work=unit_of_work, clock=clock)
    log_signing = providers.Singleton(
        Ed25519LogSigning, secret_keys, settings.provided.issuer, providers.Object(random_bytes)
    )
    sequencer = providers.Singleton(Sequencer, unit_of_work=lifeline_units, signing=log_signing)
    keys = providers.Singleton(
        KnownKeys, view=view, unit_of_work=lifeline_units, access_tokens=access_tokens, elapsed=elapsed
    )

    use_cases = providers.Singleton(
        Application,
        register_user=providers.Singleton(
            RegisterUser,
            unit_of_work=unit_of_work,
            hasher=hasher,
            is_common=common,
            new_id=new_id,
            post=post,
            limits=limits,
            rules=rules,
            replaying=replaying,
        ),
        log_in=providers.Singleton(
            LogIn,
            unit_of_work=unit_of_work,
            guard=guard,
            hasher=hasher,
            keys=keys,
            mint=mint,
            issuer=issuer,
            new_id=new_id,
            rules=rules,
        ),
        refresh_session=providers.Singleton(
            RefreshSession,
            unit_of_work=unit_of_work,
            limits=limits,
            keys=keys,
            mint=mint,
            issuer=issuer,
            rules=rules,
        ),
        log_out=providers.Singleton(LogOut, unit_of_work=unit_of_work),
        change_password=providers.Singleton(
            ChangePassword,
            authorize=authorize,
            unit_of_work=unit_of_work,
            guard=guard,
            hasher=hasher,
            is_common=common,
            rules=rules,
        ),
        authenticate=providers.Singleton(
            Authenticate, authorize=authorize, access_tokens=access_tokens, keys=keys, clock=clock
        ),
        request_password_reset=providers.Singleton(
            RequestPasswordReset, unit_of_work=unit_of_work, post=post, limits=limits
        ),
        reset_password=providers.Singleton(
            ResetPassword,
            unit_of_work=unit_of_work,
            tokens=link_tokens,
            limits=limits,
            hasher=hasher,
            is_common=common,
            rules=rules,
        ),
        request_email_change=providers.Singleton(
            RequestEmailChange,
            authorize=authorize,
            unit_of_work=unit_of_work,
            guard=guard,
            limits=limits,
            hasher=hasher,
            post=post,
        ),
        verify_email=providers.Singleton(
            VerifyEmail,
            unit_of_work=unit_of_work,
            tokens=link_tokens,
            limits=limits,
            hasher=hasher,
            is_common=common,
            new_id=new_id,
            post=post,
            rules=rules,
        ),
        resend_verification=providers.Singleton(
            ResendVerification, unit_of_work=unit_of_work, post=post, limits=limits
        ),
        undo_email_change=providers.Singleton(
            UndoEmailChange, unit_of_work=unit_of_work, tokens=link_tokens, limits=limits, post=post
        ),
        deliver_mail=providers.Singleton(
            DeliverMail, unit_of_work=unit_of_work, tokens=link_tokens, composer=composer, mailer=mailer
        ),
        list_mail=providers.Singleton(ListMail, unit_of_work=unit_of_work, pager=pager),
        retry_mail=providers.Singleton(RetryMail, unit_of_work=unit_of_work),
        list_sessions=providers.Singleton(ListSessions, authorize=authorize, unit_of_work=unit_of_work, pager=pager),
        revoke_session=providers.Singleton(RevokeSession, unit_of_work=unit_of_work),
        revoke_other_sessions=providers.Singleton(RevokeOtherSessions, unit_of_work=unit_of_work),
        revoke_user_sessions=providers.Singleton(RevokeUserSessions, unit_of_work=unit_of_work),
        follow_revocations=providers.Singleton(
            FollowRevocations, authorize=authorize, view=view, feed=feed, nudges=nudges, elapsed=elapsed
        ),
        leave_revocations=providers.Singleton(LeaveRevocations, authorize=authorize, feed=feed),
        get_user=providers.Singleton(GetUser, authorize=authorize, unit_of_work=unit_of_work, clock=clock),
        list_users=providers.Singleton(ListUsers, authorize=authorize, unit_of_work=unit_of_work, pager=pager),
        create_user=providers.Singleton(
            CreateUser,
            authorize=authorize,
            unit_of_work=unit_of_work,
            hasher=hasher,
            is_common=common,
            new_id=new_id,
            post=post,
            rules=rules,
            replaying=replaying,
        ),
        update_user=providers.Singleton(UpdateUser, unit_of_work=unit_of_work, post=post),
        delete_user=providers.Singleton(DeleteUser, unit_of_work=unit_of_work),
        get_role=providers.Singleton(GetRole, authorize=authorize, unit_of_work=unit_of_work),
        list_roles=providers.Singleton(ListRoles, authorize=authorize, unit_of_work=unit_of_work, pager=pager),
        create_role=providers.Singleton(
            CreateRole, unit_of_work=unit_of_work, new_id=new_id, rules=rules, replaying=replaying
        ),
        update_role=providers.Singleton(UpdateRole, unit_of_work=unit_of_work, rules=rules),
        delete_role=providers.Singleton(DeleteRole, unit_of_work=unit_of_work),
        assign_role=providers.Singleton(AssignRole, unit_of_work=unit_of_work, clock=clock),
        unassign_role=providers.Singleton(UnassignRole, unit_of_work=unit_of_work),
        list_user_roles=providers.Singleton(ListUserRoles, authorize=authorize, unit_of_work=unit_of_work, pager=pager),
        list_logs=providers.Singleton(ListLogs, authorize=authorize, unit_of_work=unit_of_work, pager=pager),
        get_checkpoint=providers.Singleton(
            GetCheckpoint, authorize=authorize, unit_of_work=unit_of_work, sequencer=sequencer
        ),
        prove_log_entry=providers.Singleton(
            ProveLogEntry, authorize=authorize, unit_of_work=unit_of_work, sequencer=sequencer
        ),
        compare_checkpoint=providers.Singleton(
            CompareCheckpoint, unit_of_work=unit_of_work, sequencer=sequencer, signing=log_signing
        ),
        verify_log=providers.Singleton(VerifyLog, unit_of_work=unit_of_work, verify=log_signing.provided.verify),
        export_log=providers.Singleton(ExportLog, unit_of_work=unit_of_work, sequencer=sequencer),
        prune_log=providers.Singleton(PruneLog, unit_of_work=unit_of_work, clock=clock),
        list_log_keys=providers.Singleton(ListLogKeys, unit_of_work=unit_of_work),
        rotate_log_key=providers.Singleton(
            RotateLogKey, unit_of_work=unit_of_work, signing=log_signing, sequencer=sequencer
        ),
        settle_restore=providers.Singleton(
            SettleRestore,
            unit_of_work=unit_of_work,
            access_tokens=access_tokens,
            signing=log_signing,
            sequencer=sequencer,
            view=view,
        ),
        create_admin=providers.Singleton(
            CreateAdmin, unit_of_work=unit_of_work, hasher=hasher, is_common=common, new_id=new_id, rules=rules
        ),
        list_signing_keys=providers.Singleton(ListSigningKeys, unit_of_work=unit_of_work),
        rotate_signing_key=providers.Singleton(
            RotateSigningKey, unit_of_work=unit_of_work, access_tokens=access_tokens
        ),
        revoke_signing_key=providers.Singleton(
            RevokeSigningKey, unit_of_work=unit_of_work, access_tokens=access_tokens
        ),
        rewrap_signing_keys=providers.Singleton(
            RewrapSigningKeys, unit_of_work=unit_of_work, access_tokens=access_tokens, log_signing=log_signing
        ),
        get_public_keys=providers.Singleton(GetPublicKeys, access_tokens=access_tokens, keys=keys, clock=clock),
        check_health=providers.Singleton(CheckHealth, store),
        prepare=providers.Singleton(
            Prepare, unit_of_work=unit_of_work, access_tokens=access_tokens, keys=keys, log_signing=log_signing
        ),
    )
    application = providers.Singleton(noting_refusals, use_cases, refusals)

    bookkeeping = providers.Singleton(Bookkeeping, sequencer=sequencer, refusals=refusals)
    janitor = providers.Singleton(Janitor, unit_of_work=unit_of_work, feed=feed, counters=counters, quotas=quotas)
