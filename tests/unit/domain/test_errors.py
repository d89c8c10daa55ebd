import re

import pytest

from ubr.domain import errors
from ubr.domain.errors import InputError, Invalid, RateLimited, StoreUnavailable, UbrError, Unavailable

KINDS = {
    errors.Invalid,
    errors.Unauthenticated,
    errors.Forbidden,
    errors.NotFound,
    errors.Conflict,
    errors.PreconditionFailed,
    errors.Contradictory,
    errors.RateLimited,
    errors.Unavailable,
}
CATALOGUE = [found for found in vars(errors).values() if isinstance(found, type) and issubclass(found, UbrError)]


def test_the_kinds_are_those_that_entry_points_know() -> None:
    # Entry points add kinds of their own, for what goes wrong before a use case is reached.
    ours = {kind for kind in UbrError.__subclasses__() if kind.__module__ == UbrError.__module__}
    assert ours == KINDS


def test_every_leaf_has_one_kind() -> None:
    for failure in set(CATALOGUE) - KINDS - {UbrError}:
        assert len(KINDS & set(failure.__mro__)) == 1


def test_codes_are_unique_and_fit_an_address() -> None:
    # A leaf that only the inside tells apart keeps the code of its parent.
    # A link is told like a token, but what holds it is no one's authentication: it is a matter of input.
    leaves = [failure for failure in CATALOGUE if "code" in vars(failure) and failure is not errors.InvalidLink]
    assert errors.InvalidLink.code == errors.InvalidToken.code
    codes = [failure.code for failure in leaves]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)


def test_titles_are_unique_and_for_people() -> None:
    titles = [failure.title for failure in CATALOGUE if "title" in vars(failure)]
    assert len(set(titles)) == len(titles)


def test_the_detail_defaults_to_the_title() -> None:
    assert errors.UserNotFound().detail == errors.UserNotFound.title == str(errors.UserNotFound())
    assert errors.UserNotFound("gone").detail == "gone"


def test_flaws_make_the_detail() -> None:
    failure = Invalid(None, InputError("/a", "is wrong"), InputError("/b", "is missing"))
    assert failure.detail == "is wrong; is missing"
    assert [flaw.pointer for flaw in failure.flaws] == ["/a", "/b"]
    assert Invalid().detail == Invalid.title


@pytest.mark.parametrize("seconds", [-1, 0, 1])
def test_retry_after_is_at_least_a_second(seconds: int) -> None:
    assert RateLimited(seconds).retry_after == 1
    assert Unavailable(retry_after=seconds).retry_after == 1
    assert StoreUnavailable().retry_after == 1
    assert RateLimited(7).retry_after == 7
