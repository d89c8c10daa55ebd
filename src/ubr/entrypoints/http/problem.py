"""Problems as RFC 9457 has them. The only file that knows the status of an error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, Final
from urllib.parse import quote

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from msgspec import UNSET, UnsetType

from ubr.application.kernel.origin import current_origin
from ubr.domain.errors import (
    Conflict,
    Contradictory,
    Forbidden,
    InputError,
    Invalid,
    InvalidToken,
    NotFound,
    PreconditionFailed,
    RateLimited,
    UbrError,
    Unauthenticated,
    Unavailable,
)

MEDIA_TYPE: Final = "application/problem+json"
TYPE: Final = "/problems/{slug}"
"""A problem's `type`, and the path of the page about it."""
PROBLEM: Final = "problem"
"""Where the code of what went wrong is left for the edge, in the state of the request."""

_log = structlog.get_logger("ubr.http")


# --- what can go wrong before a use case is reached ------------------------------------------------------------------


class MethodNotAllowed(UbrError):
    code = "method-not-allowed"
    title = "The path does not take this method"


class RequestTimeout(UbrError):
    code = "request-timeout"
    title = "The body did not arrive in time"


class BodyTooLarge(UbrError):
    code = "body-too-large"
    title = "The body is too large"


class UriTooLong(UbrError):
    code = "uri-too-long"
    title = "The path and the query are too long"


class UnsupportedMediaType(UbrError):
    """`accepted` is what the route would take."""

    code = "unsupported-media-type"
    title = "The body is not of a media type that is taken here"

    def __init__(self, *accepted: str) -> None:
        super().__init__(f"Send {' or '.join(accepted)}, in UTF-8 and without a content coding")
        self.accepted = accepted


class MalformedBody(Invalid):
    code = "malformed-body"
    title = "The body is not JSON that can be read"


class InternalError(UbrError):
    code = "internal-error"
    title = "Something went wrong inside the service"


class ClientGone(Exception):
    """The server has no more of the body, and not all of it: the client hung up, or what it sent is not HTTP."""


_STATUS: Final[Mapping[type[UbrError], int]] = {
    Invalid: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    MethodNotAllowed: 405,
    RequestTimeout: 408,
    Conflict: 409,
    PreconditionFailed: 412,
    BodyTooLarge: 413,
    UriTooLong: 414,
    UnsupportedMediaType: 415,
    Contradictory: 422,
    RateLimited: 429,
    InternalError: 500,
    Unavailable: 503,
}


def status_of(error: type[UbrError]) -> int:
    """The status of an error: that of its kind."""
    return next(_STATUS[kind] for kind in error.__mro__ if kind in _STATUS)


@dataclass(frozen=True, slots=True)
class Problem:
    """A row of the table of problems. Its slug may stand in another row too, with another status."""

    slug: str
    status: int
    title: str


def problems() -> list[Problem]:
    """Every problem that the service can answer with, by status and name."""
    return rows(_errors(UbrError))


def rows(errors: Iterable[type[UbrError]]) -> list[Problem]:
    """These errors as a table: a row for each name and status."""
    found = {(status_of(error), error.code): Problem(error.code, status_of(error), error.title) for error in errors}
    return [found[key] for key in sorted(found)]


def _errors(root: type[UbrError]) -> Iterator[type[UbrError]]:
    for error in root.__subclasses__():
        if error.__module__.startswith("ubr."):
            yield error
            yield from _errors(error)


# --- the answer ------------------------------------------------------------------------------------------------------


class ProblemFlaw(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with the input: where (RFC 6901) and why."""

    pointer: str
    detail: str


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True):
    """What every refusal says. `errors` is there where the input was bad."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[ProblemFlaw] | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class ProblemResponse:
    """A problem on its way out."""

    status: int
    headers: dict[str, str]
    body: bytes

    _encode: ClassVar = msgspec.json.Encoder().encode

    @classmethod
    def of(cls, error: UbrError, path: str) -> ProblemResponse:
        """What to answer to a request for `path` that met this error."""
        status = status_of(type(error))
        flaws = error.flaws if isinstance(error, Invalid) else ()
        details = ProblemDetails(
            type=TYPE.format(slug=error.code),
            title=error.title,
            status=status,
            # What an adapter says of its trouble is for the log alone.
            detail=_detail(error, flaws) if status < HTTPStatus.INTERNAL_SERVER_ERROR else error.title,
            instance=quote(path, safe="/:@!$&'()*+,;=~", errors="replace"),
            request_id=current_origin().request_id or "",
            errors=[_flaw(flaw) for flaw in flaws] or UNSET,
        )
        return cls(status, {"content-type": MEDIA_TYPE, **_headers(error)}, cls._encode(details))


def _detail(error: UbrError, flaws: tuple[InputError, ...]) -> str:
    """What happened in a sentence. A flaw alone does not say what it is about."""
    return "; ".join(f"{flaw.pointer[1:] or 'The input'} {flaw.detail}" for flaw in flaws) or error.detail


def _flaw(flaw: InputError) -> ProblemFlaw:
    return ProblemFlaw(pointer=flaw.pointer, detail=flaw.detail)


def _headers(error: UbrError) -> dict[str, str]:
    match error:
        case InvalidToken():
            return {"www-authenticate": 'Bearer error="invalid_token"'}
        case Unauthenticated():
            return {"www-authenticate": "Bearer"}
        case RateLimited() | Unavailable():
            return {"retry-after": str(error.retry_after)}
        case UnsupportedMediaType():
            return {"accept": ", ".join(error.accepted)}
        case _:
            return {}


def answer(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's handler for every exception."""
    if isinstance(error, ClientGone):
        raise error
    known = _known(error)
    request.scope["state"][PROBLEM] = known.code
    refusal = ProblemResponse.of(known, request.scope["path"])
    headers = dict(refusal.headers)
    media_type = headers.pop("content-type")
    if isinstance(error, MethodNotAllowedException):
        headers["allow"] = (error.headers or {}).get("allow", "")
    return Response(refusal.body, status_code=refusal.status, headers=headers, media_type=media_type)


def _known(error: Exception) -> UbrError:
    """The error of our own catalogue that this is. What is none of ours is logged, and told to nobody."""
    match error:
        case UbrError():
            if status_of(type(error)) >= HTTPStatus.INTERNAL_SERVER_ERROR:
                _log.warning("unavailable", problem=error.code, exc_info=error.__cause__)
            return error
        case NotFoundException():
            return NotFound("There is nothing at this path")
        case MethodNotAllowedException():
            return MethodNotAllowed()
        case HTTPException() if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
            return Invalid("The request is malformed")
        case _:
            _log.error("failed", exc_info=error)
            return InternalError()
