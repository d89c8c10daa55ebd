"""When keys sign, are published and are accepted: whatever is done to them, as a function of their times."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.values import replace
from ubr.domain.keys.signing_key import (
    JWKS_CACHE,
    LEEWAY,
    MAX_ACCESS_TOKEN_LIFETIME,
    NOTICE,
    OVERLAP,
    SigningKey,
    newest_first,
    scheduled,
    signer,
)
from ubr.settings import Settings, WrongSetting

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)


def key(kid: str, signs_from: datetime = NOW, **more: datetime | None) -> SigningKey:
    times = {"created_at": signs_from, **more}
    return SigningKey(kid=kid, algorithm="EdDSA", public="{}", private=b"", signs_from=signs_from, **times)  # type: ignore[arg-type]


def all_scheduled(keys: list[SigningKey], now: datetime) -> list[SigningKey]:
    changed = {each.kid: each for each in scheduled(keys, now)}
    return [changed.get(each.kid, each) for each in keys]


def test_the_spans() -> None:
    assert NOTICE >= JWKS_CACHE + LEEWAY
    assert OVERLAP >= MAX_ACCESS_TOKEN_LIFETIME + LEEWAY


def test_no_operator_can_make_tokens_outlive_their_key() -> None:
    def lifetime(text: str) -> timedelta:
        settings = Settings.from_env({"UBR_DATABASE_URL": "memory:", "UBR_ACCESS_TOKEN_LIFETIME": text})
        return settings.access_token_lifetime

    assert lifetime("15m") == MAX_ACCESS_TOKEN_LIFETIME
    with pytest.raises(WrongSetting):
        lifetime("901s")


@pytest.mark.parametrize(
    ("late", "state", "accepted"),
    [
        (-TICK, "published", True),
        (timedelta(0), "signing", True),
        (timedelta(hours=1) - TICK, "signing", True),
        (timedelta(hours=1), "retiring", True),
        (timedelta(hours=1) + OVERLAP - TICK, "retiring", True),
        (timedelta(hours=1) + OVERLAP, "retired", False),
    ],
)
def test_the_life_of_a_key(late: timedelta, state: str, accepted: bool) -> None:
    one = key("a", retired_at=NOW + timedelta(hours=1) + OVERLAP)
    assert (one.state_at(NOW + late), one.accepted_at(NOW + late)) == (state, accepted)
    assert one.signs_at(NOW + late) == (state == "signing")
    gone = replace(one, revoked_at=NOW)
    assert (gone.state_at(NOW + late), gone.accepted_at(NOW + late)) == ("revoked", False)
    assert not gone.may_sign_at(NOW + late)


def test_the_last_key_that_has_begun_signs() -> None:
    old, new = key("old", NOW - timedelta(days=1)), key("new")
    for keys in ([old, new], [new, old]):
        assert signer(keys, NOW) is new
        assert signer(keys, NOW - TICK) is old
        assert signer(keys, NOW - timedelta(days=2)) is old
    assert signer([], NOW) is None
    assert signer([replace(old, revoked_at=NOW)], NOW) is None
    assert signer([replace(old, retired_at=NOW + OVERLAP)], NOW) is None
    assert signer([replace(old, retired_at=NOW + OVERLAP + TICK)], NOW) is not None


def test_each_key_ends_when_the_next_has_followed_it() -> None:
    times = [NOW - timedelta(days=1), NOW, NOW + NOTICE]
    keys = [key(f"k{number}", time) for number, time in enumerate(times)]
    done = all_scheduled(keys[::-1], NOW - TICK)
    assert [each.retired_at for each in done] == [None, times[2] + OVERLAP, times[1] + OVERLAP]
    assert scheduled(done, NOW - TICK) == []
    # The one that waits is given up: the one that signs goes on.
    without = all_scheduled([replace(done[0], revoked_at=NOW), *done[1:]], NOW)
    assert [each.retired_at for each in without] == [None, None, times[1] + OVERLAP]


def test_a_key_that_was_followed_is_never_brought_back() -> None:
    old = key("old", NOW - timedelta(days=1), retired_at=NOW + OVERLAP)
    new = key("new", revoked_at=NOW + TICK)
    assert scheduled([old, new], NOW + TICK) == []
    assert signer([old, new], NOW + TICK) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=6), st.integers(0, 6))
def test_however_keys_lie_one_signs_at_a_time_and_none_goes_while_its_tokens_are_good(
    times: list[tuple[int, int]], at: int
) -> None:
    hours = [timedelta(hours=number) for number in range(7)]
    keys = [
        key(f"k{number}", NOW + hours[signs], created_at=NOW + hours[min(created, signs)])
        for number, (created, signs) in enumerate(times)
    ]
    done = all_scheduled(keys, NOW + hours[at])
    assert scheduled(done, NOW + hours[at]) == []
    moments = [NOW + hour + slip for hour in hours[at:] for slip in (-TICK, timedelta(0), OVERLAP - TICK, OVERLAP)]
    for moment in [moment for moment in moments if moment >= NOW + hours[at]]:
        signing = signer(done, moment)
        assert (signing is not None) == bool(keys)
        if signing is not None:
            assert signing.accepted_at(moment + OVERLAP - TICK)
            assert sum(each.signs_at(moment) for each in done) <= 1


def test_the_newest_comes_first() -> None:
    keys = [key("b"), key("a"), key("c", NOW - TICK)]
    assert [each.kid for each in newest_first(keys)] == ["b", "a", "c"]
