"""The helpers that several use cases share, and the background jobs."""

from __future__ import annotations

import msgspec

from ubr.application.access.authorization import Authorize
from ubr.application.access.session_cache import SessionCache
from ubr.application.audit.denials import DenialRecorder
from ubr.application.audit.maintenance import AuditMaintenance
from ubr.application.audit.sequencer import Sequencer
from ubr.application.kernel.idempotency import Idempotency
from ubr.application.kernel.paging import Pager
from ubr.application.keys.key_ring import KeyRing
from ubr.application.mail.queue import MailQueue
from ubr.application.operations.backlogs import ReadBacklogs
from ubr.application.operations.field_indexer import LEASE, FieldIndexer
from ubr.application.operations.janitor import Janitor
from ubr.application.operations.leader import Leader
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.revocation import WorkerId
from ubr.application.ports.unit_of_work import EndingUnitOfWork
from ubr.application.protection.account_locks import AccountLocks
from ubr.application.protection.password_throttle import PasswordThrottle
from ubr.application.protection.rate_limits import RateLimiter
from ubr.application.revocation.feed_follower import FeedFollower
from ubr.application.revocation.propagation import PropagatingUnitOfWork, RevocationBarrier
from ubr.application.revocation.worker_reaper import WorkerReaper
from ubr.application.sessions.authenticate_cookie import AuthenticateCookie
from ubr.application.sessions.browser_sessions import BrowserSessions
from ubr.application.sessions.session_renewal import SessionRenewal
from ubr.application.sessions.token_issuer import TokenIssuer
from ubr.bootstrap.ports import Ports


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """The shared helpers of one application."""

    session_cache: SessionCache
    unit_of_work: EndingUnitOfWork
    authorize: Authorize
    denials: DenialLog
    rate_limiter: RateLimiter
    passwords: PasswordThrottle
    account_locks: AccountLocks
    keys: KeyRing
    issuer: TokenIssuer
    authenticate_cookie: AuthenticateCookie
    browser_sessions: BrowserSessions
    sequencer: Sequencer
    pager: Pager
    mail_queue: MailQueue
    idempotency: Idempotency

    barrier: RevocationBarrier
    denial_recorder: DenialRecorder
    feed_follower: FeedFollower
    audit_maintenance: AuditMaintenance
    janitor: Janitor
    leader: Leader
    field_indexer: FieldIndexer
    read_backlogs: ReadBacklogs


def services_of(ports: Ports) -> Services:
    """Calls only constructors: runs no query and starts no job."""
    session_cache = SessionCache(
        worker=WorkerId(ports.new_id()),
        unit_of_work=ports.unit_of_work,
        feed=ports.background_feed,
        elapsed=ports.elapsed,
        times=ports.decisions.times,
        capacity=ports.decisions.cached_sessions,
        home=ports.home,
    )
    barrier = RevocationBarrier(
        session_cache=session_cache,
        feed=ports.feed,
        notifier=ports.notifier,
        elapsed=ports.elapsed,
        metrics=ports.metrics,
    )
    unit_of_work = PropagatingUnitOfWork(inner=ports.unit_of_work, barrier=barrier, hooks=ports.hooks)
    rate_limiter = RateLimiter(
        rate_limit_store=ports.rate_limit_store, quotas=ports.decisions.quotas, metrics=ports.metrics
    )
    denials = DenialRecorder(unit_of_work=unit_of_work, clock=ports.clock)
    sequencer = Sequencer(unit_of_work=ports.background_unit_of_work, signing=ports.security.log_signing)
    reaper = WorkerReaper(feed=ports.background_feed, elapsed=ports.elapsed, row=ports.decisions.times.row)
    passwords = PasswordThrottle(
        unit_of_work=unit_of_work,
        rate_limiter=rate_limiter,
        hasher=ports.security.hasher,
        signer=ports.security.signer,
        elapsed=ports.elapsed,
    )
    authorize = Authorize(session_cache=session_cache, clock=ports.clock)
    return Services(
        session_cache=session_cache,
        unit_of_work=unit_of_work,
        authorize=authorize,
        denials=denials,
        rate_limiter=rate_limiter,
        passwords=passwords,
        account_locks=AccountLocks(passwords),
        keys=KeyRing(
            session_cache=session_cache,
            unit_of_work=ports.background_unit_of_work,
            access_tokens=ports.security.access_tokens,
            elapsed=ports.elapsed,
        ),
        issuer=TokenIssuer(
            access_tokens=ports.security.access_tokens,
            new_id=ports.new_id,
            policy=ports.decisions.policy,
            token_claims=ports.token_claims,
            user_fields=ports.user_fields,
        ),
        authenticate_cookie=AuthenticateCookie(
            authorize=authorize,
            cookies=ports.security.session_cookies,
            renewal=SessionRenewal(
                unit_of_work=unit_of_work,
                session_cache=session_cache,
                clock=ports.clock,
                policy=ports.decisions.policy,
            ),
        ),
        browser_sessions=BrowserSessions(
            mint=ports.security.session_cookies, new_id=ports.new_id, policy=ports.decisions.policy
        ),
        sequencer=sequencer,
        pager=Pager(ports.security.signer),
        mail_queue=MailQueue(new_id=ports.new_id),
        idempotency=Idempotency(unit_of_work=unit_of_work, signer=ports.security.signer),
        barrier=barrier,
        denial_recorder=denials,
        feed_follower=FeedFollower(session_cache=session_cache, notifier=ports.notifier, reaper=reaper),
        audit_maintenance=AuditMaintenance(sequencer=sequencer, denials=denials),
        janitor=Janitor(
            unit_of_work=unit_of_work,
            feed=ports.background_feed,
            rate_limit_store=ports.rate_limit_store,
            quotas=ports.decisions.quotas,
            policy=ports.decisions.policy,
        ),
        leader=Leader(unit_of_work=ports.background_unit_of_work, worker=session_cache.worker, elapsed=ports.elapsed),
        field_indexer=FieldIndexer(
            unit_of_work=ports.background_unit_of_work,
            leader=Leader(
                unit_of_work=ports.background_unit_of_work,
                worker=session_cache.worker,
                elapsed=ports.elapsed,
                name=LEASE,
                does="indexes users whose index is of another declaration of fields",
            ),
            elapsed=ports.elapsed,
            user_fields=ports.user_fields,
        ),
        read_backlogs=ReadBacklogs(ports.background_unit_of_work),
    )
