"""The kinds of errors, each with the caller's way to react, and the leaves that belong to no capability."""

from __future__ import annotations

from typing import ClassVar

import msgspec


class InputError(msgspec.Struct, frozen=True):
    """One error in the input: where (an RFC 6901 pointer, `""` for the whole) and why. Never the value."""

    pointer: str
    detail: str


class UbrError(Exception):
    """Root of the catalogue. `code` is stable and public; `detail` is for people and contains no secret."""

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "The request failed"

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or self.title
        super().__init__(self.detail)


class Invalid(UbrError):
    """The input breaks a rule that does not depend on any state. Sending it again cannot help."""

    code = "invalid-input"
    title = "The input is not valid"

    def __init__(self, detail: str | None = None, *flaws: InputError) -> None:
        super().__init__(detail or ("; ".join(f.detail for f in flaws) or None))
        self.flaws = flaws

    @classmethod
    def at(cls, pointer: str, detail: str) -> Invalid:
        """One error at one place."""
        return cls(None, InputError(pointer, detail))


class Unauthenticated(UbrError):
    """The caller is unknown."""

    code = "unauthenticated"
    title = "Authentication is required"


class Forbidden(UbrError):
    """The caller is known and lacks permission."""

    code = "forbidden"
    title = "This is not permitted"


class NotFound(UbrError):
    """The named resource does not exist."""

    code = "not-found"
    title = "Not found"


class Conflict(UbrError):
    """The input is valid, but conflicts with the current state."""

    code = "conflict"
    title = "The request conflicts with the current state"


class PreconditionFailed(UbrError):
    """The resource has changed since the caller read it."""

    code = "precondition-failed"
    title = "The resource has changed since it was read"


class Contradictory(UbrError):
    """The input is valid by itself, but contradicts an earlier request of the same caller."""

    code = "contradictory"
    title = "The request contradicts an earlier request"


class RateLimited(UbrError):
    """Too many attempts. `retry_after` is in whole seconds, at least 1."""

    code = "rate-limited"
    title = "Too many attempts"

    def __init__(self, retry_after: int, detail: str | None = None) -> None:
        super().__init__(detail)
        self.retry_after = max(1, retry_after)


class Unavailable(UbrError):
    """The request is valid; a part of the service has failed. `retry_after` is in whole seconds, at least 1."""

    code = "unavailable"
    title = "The service is temporarily unavailable"

    def __init__(self, detail: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = max(1, retry_after)


class InvalidCursor(Invalid):
    code = "invalid-cursor"
    title = "The cursor does not belong to this list"


class IdempotencyKeyReused(Contradictory):
    """Reveals nothing about the call that the key belongs to."""

    code = "idempotency-key-reused"
    title = "The idempotency key belongs to another request"


class StoreUnavailable(Unavailable):
    """The database did not answer in time. The requested change may or may not have happened."""

    code = "store-unavailable"
    title = "The database is unreachable"


class StoreTooSlow(StoreUnavailable):
    """The database answers, but a statement, or the wait for a lock, took too long."""

    code = "store-too-slow"
    title = "The database took too long"


class TransactionConflict(StoreUnavailable):
    """Two units of work conflicted. This one certainly had no effect and can be repeated."""

    repeatable = True
    """False within a transaction of the host, which only the host can repeat, as a whole."""
