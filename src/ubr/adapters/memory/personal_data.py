"""Reads everything that is stored about one person, on drafts of the tables."""

from __future__ import annotations

from dataclasses import replace

from ubr.adapters.memory.store import Drafts
from ubr.application.ports.personal_data import FormerEmail, PersonalRecords
from ubr.domain.accounts.one_time_link import OneTimeLink
from ubr.domain.accounts.user import User
from ubr.domain.ids import SessionId, UserId
from ubr.domain.mail.queued_mail import QueuedMail
from ubr.domain.sessions.session import Session


class MemoryPersonalData:
    def __init__(self, drafts: Drafts) -> None:
        self._drafts = drafts

    async def of(self, user: User) -> PersonalRecords:
        kept = [kept for kept in self._drafts.reserved_emails if kept.user_id == user.id]
        results = [each.expires_at for each in self._drafts.replays if user.id in {each.actor_id, each.user_id}]
        return PersonalRecords(
            former_emails=sorted(
                (FormerEmail(key=each.email_key, until=each.until) for each in kept), key=lambda each: each.until
            ),
            known_clients=sorted(seen for (owner, _), seen in self._drafts.known_clients.items() if owner == user.id),
            links=sorted(
                (link for link in self._drafts.links if link.user_id == user.id or _is_unowned(link, user)),
                key=lambda link: link.created_at,
            ),
            mails=sorted(
                (mail for mail in self._drafts.outbox if mail.user_id == user.id or _is_unowned(mail, user)),
                key=lambda mail: mail.created_at,
            ),
            results=len(results),
            results_until=max(results, default=None),
        )

    async def sessions(self, user_id: UserId, after: SessionId | None, limit: int) -> list[Session]:
        found = (
            session
            for session in self._drafts.sessions
            if session.user_id == user_id and (after is None or session.id > after)
        )
        return [replace(session, events=[]) for session in sorted(found, key=lambda session: session.id)[:limit]]


def _is_unowned(each: OneTimeLink | QueuedMail, user: User) -> bool:
    return each.user_id is None and each.email.key == user.email.key
