"""The parts of the application that several use cases share, and those that run beside requests."""

from __future__ import annotations

from dataclasses import dataclass

from ubr.application.access.authorization import Authorize
from ubr.application.access.session_cache import View
from ubr.application.audit.denials import Refusals
from ubr.application.audit.maintenance import Bookkeeping
from ubr.application.audit.sequencer import Sequencer
from ubr.application.kernel.idempotency import Replaying
from ubr.application.kernel.paging import Pager
from ubr.application.keys.key_ring import KnownKeys
from ubr.application.mail.queue import Post
from ubr.application.operations.janitor import Janitor
from ubr.application.ports.revocation import WorkerId
from ubr.application.ports.unit_of_work import EndingUnitOfWork
from ubr.application.protection.password_throttle import PasswordThrottle
from ubr.application.protection.rate_limits import Limits
from ubr.application.revocation.feed_follower import Tail
from ubr.application.revocation.propagation import SettledUnitOfWork, Settlement
from ubr.application.revocation.worker_reaper import Census
from ubr.application.sessions.token_issuer import TokenIssuer
from ubr.bootstrap.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """One of each for an application."""

    view: View
    unit_of_work: EndingUnitOfWork
    authorize: Authorize
    denials: Refusals
    limits: Limits
    passwords: PasswordThrottle
    keys: KnownKeys
    issuer: TokenIssuer
    sequencer: Sequencer
    pager: Pager
    post: Post
    replaying: Replaying

    tail: Tail
    bookkeeping: Bookkeeping
    janitor: Janitor


def services_of(ports: Ports) -> Services:
    """Built by constructors alone: nothing is asked and nothing started."""
    view = View(
        worker=WorkerId(ports.new_id()),
        unit_of_work=ports.unit_of_work,
        feed=ports.background_feed,
        elapsed=ports.elapsed,
        times=ports.policy.times,
    )
    settlement = Settlement(view=view, feed=ports.feed, nudges=ports.nudges, elapsed=ports.elapsed)
    unit_of_work = SettledUnitOfWork(inner=ports.unit_of_work, settle=settlement)
    limits = Limits(counters=ports.counters, quotas=ports.policy.quotas)
    denials = Refusals(unit_of_work=unit_of_work, clock=ports.clock)
    sequencer = Sequencer(unit_of_work=ports.background_unit_of_work, signing=ports.security.log_signing)
    census = Census(feed=ports.background_feed, elapsed=ports.elapsed, row=ports.policy.times.row)
    return Services(
        view=view,
        unit_of_work=unit_of_work,
        authorize=Authorize(view=view, clock=ports.clock),
        denials=denials,
        limits=limits,
        passwords=PasswordThrottle(
            unit_of_work=unit_of_work,
            limits=limits,
            hasher=ports.security.hasher,
            signer=ports.security.signer,
            elapsed=ports.elapsed,
        ),
        keys=KnownKeys(
            view=view,
            unit_of_work=ports.background_unit_of_work,
            access_tokens=ports.security.access_tokens,
            elapsed=ports.elapsed,
        ),
        issuer=TokenIssuer(access_tokens=ports.security.access_tokens, new_id=ports.new_id, rules=ports.policy.rules),
        sequencer=sequencer,
        pager=Pager(ports.security.signer),
        post=Post(new_id=ports.new_id),
        replaying=Replaying(unit_of_work=unit_of_work, signer=ports.security.signer),
        tail=Tail(view=view, nudges=ports.nudges, census=census),
        bookkeeping=Bookkeeping(sequencer=sequencer, refusals=denials),
        janitor=Janitor(
            unit_of_work=unit_of_work, feed=ports.background_feed, counters=ports.counters, quotas=ports.policy.quotas
        ),
    )
