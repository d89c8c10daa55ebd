"""What a verifier knows: nothing is accepted that it cannot know to be good."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from ubr.domain.keys.access_token import HORIZON
from ubr.domain.revocation.changes import Change, ChangeRecord
from ubr.verifier.revocation_cache import RevocationCache, Told
from ubr.verifier.tokens import Claims, VerifiedToken

NOW = datetime(2030, 1, 1, tzinfo=UTC)
EPOCH, OTHER = "0123456789abcdef", "fedcba9876543210"
USER, SESSION = uuid4(), uuid4()


def token(version: int, *, epoch: str = EPOCH, user: UUID = USER, session: UUID = SESSION) -> Claims:
    said = VerifiedToken(
        user_id=user,
        session_id=session,
        token_id=uuid4(),
        roles=frozenset({"user"}),
        auth_time=NOW,
        issued_at=NOW,
        expires_at=NOW + timedelta(minutes=10),
    )
    return Claims(said, version, epoch)


def told(number: int, *rows: tuple[int, Change], epoch: str = EPOCH, fresh_for: float = 1.0) -> Told:
    found = tuple(ChangeRecord(at, change) for at, change in rows)
    return Told(epoch=epoch, number=number, rows=found, fresh_for=fresh_for)


def noise(*numbers: int) -> list[tuple[int, Change]]:
    return [(number, Change("session", str(uuid4()))) for number in numbers]


@pytest.fixture
def view() -> RevocationCache:
    """One that stands at 10, of which it knows 6 to 10."""
    made = RevocationCache()
    made.begin_anew(EPOCH)
    made.apply(0.0, told(10, *noise(6, 7, 8, 9, 10)))
    return made


def test_one_that_was_told_nothing_objects_to_everything() -> None:
    view = RevocationCache()
    assert not view.fresh(0)
    assert view.objection(token(10)) is not None
    view.begin_anew(EPOCH)
    assert not view.fresh(0)
    assert view.objection(token(10)) is not None


def test_it_is_fresh_from_when_the_question_was_sent(view: RevocationCache) -> None:
    assert view.fresh(1.0)
    assert not view.fresh(1.000001)
    view.apply(5.0, told(10, fresh_for=0.5))
    assert view.fresh(5.5)
    assert not view.fresh(5.6)


@pytest.mark.parametrize(("version", "good"), [(4, False), (5, True), (10, True), (11, True)])
def test_a_token_of_before_what_it_knows_is_refused(view: RevocationCache, version: int, good: bool) -> None:
    assert (view.objection(token(version)) is None) == good


@pytest.mark.parametrize(
    "change", [Change("session", str(SESSION)), Change("user", str(USER)), Change("role", str(uuid4()))]
)
def test_a_later_row_counts_and_an_earlier_one_does_not(view: RevocationCache, change: Change) -> None:
    view.apply(0.1, told(12, *noise(11), (12, change)))
    assert view.objection(token(11)) is not None
    assert view.objection(token(12)) is None
    other = token(11, user=uuid4(), session=uuid4())
    assert (view.objection(other) is None) == (change.kind != "role")
    view.apply(0.2, told(13, *noise(13)))
    assert view.objection(token(11)) is not None
    assert view.objection(token(12)) is None


def test_the_latest_row_about_a_thing_is_the_one_that_counts(view: RevocationCache) -> None:
    view.apply(0.1, told(13, *((number, Change("user", str(USER))) for number in (11, 12, 13))))
    assert view.objection(token(12)) is not None
    assert view.objection(token(13)) is None


@pytest.mark.parametrize("missing", [11, 12, 13])
def test_missing_rows_make_it_start_again(view: RevocationCache, missing: int) -> None:
    view.apply(0.1, told(13, *noise(*(number for number in (11, 12, 13) if number != missing))))
    assert view.objection(token(missing)) is None
    assert view.objection(token(missing - 1)) is not None


def test_whoever_is_told_a_number_and_no_rows_begins_anew_there(view: RevocationCache) -> None:
    view.apply(0.1, told(20))
    assert view.objection(token(19)) is not None
    assert view.objection(token(20)) is None


def test_what_is_forgotten_takes_older_tokens_with_it(view: RevocationCache) -> None:
    view.apply(1.0, told(11, (11, Change("user", str(USER)))))
    later = 1.0 + HORIZON.total_seconds()
    view.apply(later, told(12, *noise(12)))
    assert view.objection(token(10, user=uuid4())) is None, "it is known for the horizon"
    assert view.objection(token(10)) is not None
    view.apply(later + 0.1, told(12))
    assert view.objection(token(10)) is not None
    assert view.objection(token(10, user=uuid4(), session=uuid4())) is not None
    assert view.objection(token(11)) is None


def test_it_does_not_grow_without_end(view: RevocationCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ubr.verifier.revocation_cache._MAX_ROWS", 3)
    view.apply(0.1, told(15, *noise(11, 12, 13, 14, 15)))
    assert view.objection(token(11)) is not None
    assert view.objection(token(12)) is None


def test_tokens_of_another_epoch_are_refused_with_every_number(view: RevocationCache) -> None:
    assert view.objection(token(99, epoch=OTHER)) is not None
    view.begin_anew(OTHER)
    view.apply(1.0, told(7, *noise(6, 7), epoch=OTHER))
    assert view.objection(token(7, epoch=OTHER)) is None
    for version in (7, 10, 2**62):
        assert view.objection(token(version)) is not None
    assert view.has_left(EPOCH)
    assert not view.has_left(OTHER)


def test_an_answer_of_another_epoch_is_not_mixed_in(view: RevocationCache) -> None:
    with pytest.raises(ValueError, match="epoch"):
        view.apply(0.1, told(11, epoch=OTHER))


def test_ends_do_not_apply_to_another_epoch(view: RevocationCache) -> None:
    view.apply(0.1, told(11, (11, Change("role", "x"))))
    view.begin_anew(OTHER)
    view.apply(0.2, told(5, *noise(4, 5), epoch=OTHER))
    assert view.objection(token(4, epoch=OTHER)) is None


def test_where_the_feed_went_back_the_clock_has_to_do(view: RevocationCache) -> None:
    view.begin_anew(None, NOW)
    assert not view.fresh(0)
    view.begin_anew(EPOCH)
    view.apply(1.0, told(5, *noise(4, 5)))
    assert view.objection(token(5)) is not None
    later = token(5)
    issued = VerifiedToken(
        user_id=USER,
        session_id=SESSION,
        token_id=uuid4(),
        roles=frozenset(),
        auth_time=NOW,
        issued_at=NOW + timedelta(seconds=1),
        expires_at=NOW + timedelta(minutes=10),
    )
    assert view.objection(Claims(issued, later.version, EPOCH)) is None
