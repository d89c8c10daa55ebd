from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubr.domain.events import SessionOpened, SessionRefreshed, SessionRevoked, TokenReused
from ubr.domain.ids import SessionId, TokenDigest, UserId
from ubr.domain.sessions.session import RefreshToken, Session, SessionLimits
from ubr.domain.sessions.termination import SecurityEvent

NOW = datetime(2030, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)
ID = SessionId(UUID(int=4))
USER_ID = UserId(UUID(int=1))
LIMITS = SessionLimits(idle=timedelta(days=14), lifetime=timedelta(days=90), per_user=50)


def opened(limits: SessionLimits = LIMITS) -> Session:
    session = Session.open(id=ID, user_id=USER_ID, limits=limits, ip="192.0.2.1", user_agent="test", now=NOW)
    session.events.clear()
    return session


def test_a_new_session() -> None:
    session = Session.open(id=ID, user_id=USER_ID, limits=LIMITS, ip=None, user_agent=None, now=NOW)
    assert (session.created_at, session.last_seen_at, session.ended_at) == (NOW, NOW, None)
    assert (session.idle_expires_at, session.expires_at) == (NOW + LIMITS.idle, NOW + LIMITS.lifetime)
    assert session.events == [SessionOpened(session_id=ID, user_id=USER_ID, kind="tokens")]


def test_it_lives_until_just_before_its_idle_end() -> None:
    session = opened()
    assert session.live_at(NOW + LIMITS.idle - TICK)
    assert not session.live_at(NOW + LIMITS.idle)


def test_use_moves_the_idle_end_but_never_beyond_the_absolute_one() -> None:
    session = opened()
    for day in range(10, 90, 10):
        now = NOW + timedelta(days=day)
        session.refresh(limits=LIMITS, now=now)
        assert session.last_seen_at == now
        assert session.idle_expires_at == min(now + LIMITS.idle, NOW + LIMITS.lifetime)
    assert session.live_at(NOW + LIMITS.lifetime - TICK)
    assert not session.live_at(NOW + LIMITS.lifetime)
    assert session.expires_at == NOW + LIMITS.lifetime
    assert session.events == [SessionRefreshed(session_id=ID, user_id=USER_ID)] * 8


@pytest.mark.parametrize(("log_all", "events"), [(True, 4), (False, 2)])
def test_the_first_refresh_of_a_utc_day_is_an_event_or_each_one(log_all: bool, events: int) -> None:
    midnight = datetime(NOW.year, NOW.month, NOW.day, tzinfo=UTC) + timedelta(days=1)
    session = opened()
    for now in (NOW, midnight, midnight + timedelta(hours=23), midnight + timedelta(hours=24)):
        session.refresh(limits=LIMITS, now=now.astimezone(timezone(timedelta(hours=5))), log_all=log_all)
    assert session.events == [SessionRefreshed(session_id=ID, user_id=USER_ID)] * events


@given(
    st.timedeltas(timedelta(seconds=1), timedelta(days=400)), st.timedeltas(timedelta(seconds=1), timedelta(days=400))
)
def test_the_idle_end_never_lies_behind_the_absolute_one(idle: timedelta, lifetime: timedelta) -> None:
    limits = SessionLimits(idle=idle, lifetime=lifetime, per_user=1)
    session = opened(limits)
    assert session.idle_expires_at <= session.expires_at == NOW + lifetime
    session.refresh(limits=limits, now=NOW + lifetime / 2)
    assert session.idle_expires_at <= session.expires_at


@pytest.mark.parametrize("cause", list(SecurityEvent))
def test_it_ends_once_and_says_why(cause: SecurityEvent) -> None:
    session = opened()
    session.end(cause, now=NOW + TICK)
    assert session.ended_at == NOW + TICK
    assert not session.live_at(NOW + TICK)
    revoked = SessionRevoked(session_id=ID, user_id=USER_ID, cause=cause.value)
    reused = [TokenReused(session_id=ID, user_id=USER_ID)] if cause is SecurityEvent.TOKEN_REUSED else []
    assert session.events == [*reused, revoked]
    session.end(SecurityEvent.LOG_OUT, now=NOW + 2 * TICK)
    assert (session.ended_at, len(session.events)) == (NOW + TICK, 1 + len(reused))


def test_the_repr_of_a_refresh_token_does_not_show_its_successor() -> None:
    token = RefreshToken(digest=TokenDigest(b"d" * 32), session_id=ID, issued_at=NOW, successor=b"canary")
    assert "canary" not in repr(token)
