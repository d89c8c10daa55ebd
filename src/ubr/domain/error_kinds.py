"""The kinds of errors, each with what the caller can do about it, and the leaves that belong to no capability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class InputError:
    """One thing wrong with the input: where (an RFC 6901 pointer, `""` for the whole) and why. Never the value."""

    pointer: str
    detail: str


class UbrError(Exception):
    """Root of the catalogue. `code` is stable and public; `detail` is for people and holds no secret."""

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "The request failed"

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or self.title
        super().__init__(self.detail)


class Invalid(UbrError):
    """The input breaks a rule that is known without looking at any state. Sending it again cannot help."""

    code = "invalid-input"
    title = "The input is not valid"

    def __init__(self, detail: str | None = None, *flaws: InputError) -> None:
        super().__init__(detail or ("; ".join(f.detail for f in flaws) or None))
        self.flaws = flaws

    @classmethod
    def at(cls, pointer: str, detail: str) -> Invalid:
        """One flaw at one place."""
        return cls(None, InputError(pointer, detail))


class Unauthenticated(UbrError):
    """It is not known who is asking."""

    code = "unauthenticated"
    title = "Authentication is required"


class Forbidden(UbrError):
    """It is known who is asking, and they may not."""

    code = "forbidden"
    title = "This is not permitted"


class NotFound(UbrError):
    """What was named does not exist."""

    code = "not-found"
    title = "There is no such thing"


class Conflict(UbrError):
    """The input is right, but the present state stands against it."""

    code = "conflict"
    title = "The present state does not allow this"


class PreconditionFailed(UbrError):
    """The thing has changed since the caller read it."""

    code = "precondition-failed"
    title = "The thing has changed since it was read"


class Contradictory(UbrError):
    """The input is right by itself, but it is not what the same caller has said before."""

    code = "contradictory"
    title = "The request is not the one that it says it is"


class RateLimited(UbrError):
    """Too many tries. `retry_after` is in whole seconds, at least 1."""

    code = "rate-limited"
    title = "Too many tries"

    def __init__(self, retry_after: int, detail: str | None = None) -> None:
        super().__init__(detail)
        self.retry_after = max(1, retry_after)


class Unavailable(UbrError):
    """Nothing is wrong with the request; a part of the service is. `retry_after` is in whole seconds, at least 1."""

    code = "unavailable"
    title = "The service cannot answer at the moment"

    def __init__(self, detail: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = max(1, retry_after)


class InvalidCursor(Invalid):
    code = "invalid-cursor"
    title = "The cursor does not belong to this list"


class IdempotencyKeyReused(Contradictory):
    """Of the call that the key belongs to nothing is told."""

    code = "idempotency-key-reused"
    title = "The idempotency key belongs to another request"


class StoreUnavailable(Unavailable):
    """The database did not answer in time. What was asked for may or may not have happened."""

    code = "store-unavailable"
    title = "The database is out of reach"


class StoreTooSlow(StoreUnavailable):
    """The database answers, but this took too long for it: a statement, or the wait for what others hold."""

    code = "store-too-slow"
    title = "The database took too long"


class TransactionConflict(StoreUnavailable):
    """Two units of work stood in each other's way. This one had no effect, for certain, and can be repeated."""
