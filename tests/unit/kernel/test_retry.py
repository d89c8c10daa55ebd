"""A use case that collided is done again; one whose outcome is unknown is not."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ubr.application.kernel.retry import retry_on_conflict
from ubr.domain.errors import StoreUnavailable, TransactionConflict


@dataclass
class _Colliding:
    """Fails so many times before it succeeds."""

    failures: int
    error: type[StoreUnavailable] = TransactionConflict
    calls: int = 0

    @retry_on_conflict
    async def __call__(self, word: str, /, *, actor: str) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return f"{word} {actor}"


async def test_a_collision_is_repeated_with_the_same_arguments() -> None:
    use_case = _Colliding(failures=2)
    assert await use_case("done", actor="somebody") == "done somebody"
    assert use_case.calls == 3


async def test_repeating_ends() -> None:
    use_case = _Colliding(failures=100)
    with pytest.raises(TransactionConflict):
        await use_case("done", actor="somebody")
    assert use_case.calls == 4


async def test_an_unknown_outcome_is_not_repeated() -> None:
    use_case = _Colliding(failures=1, error=StoreUnavailable)
    with pytest.raises(StoreUnavailable):
        await use_case("done", actor="somebody")
    assert use_case.calls == 1
