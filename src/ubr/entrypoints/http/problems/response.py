"""The response to a request that met an error."""

from __future__ import annotations

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
    InputError,
    Invalid,
    InvalidToken,
    NotFound,
    RateLimited,
    UbrError,
    Unauthenticated,
    Unavailable,
)
from ubr.entrypoints.http.problems.catalogue import TYPE, status_of
from ubr.entrypoints.http.problems.errors import ClientGone, InternalError, MethodNotAllowed, UnsupportedMediaType

MEDIA_TYPE: Final = "application/problem+json"
PROBLEM: Final = "problem"
"""The key in the state of the request under which the edge finds the code of the error."""

_log = structlog.get_logger("ubr.http")


class ProblemFlaw(msgspec.Struct, frozen=True, kw_only=True):
    """One error in the input: where (RFC 6901) and why."""

    pointer: str
    detail: str


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every problem response. `errors` is present for invalid input."""

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
        """The response to a request for `path` that met this error."""
        status = status_of(type(error))
        flaws = error.flaws if isinstance(error, Invalid) else ()
        details = ProblemDetails(
            type=TYPE.format(slug=error.code),
            title=error.title,
            status=status,
            # The sentence of an adapter is for the log only.
            detail=_detail(error, flaws) if status < HTTPStatus.INTERNAL_SERVER_ERROR else error.title,
            instance=quote(path, safe="/:@!$&'()*+,;=~", errors="replace"),
            request_id=current_origin().request_id or "",
            errors=[_flaw(flaw) for flaw in flaws] or UNSET,
        )
        return cls(status, {"content-type": MEDIA_TYPE, **_headers(error)}, cls._encode(details))


def _detail(error: UbrError, flaws: tuple[InputError, ...]) -> str:
    """The detail in one sentence. An input error alone does not name its field."""
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
    known = _known(error, request)
    request.scope["state"][PROBLEM] = known.code
    response = ProblemResponse.of(known, request.scope["path"])
    headers = dict(response.headers)
    media_type = headers.pop("content-type")
    if isinstance(error, MethodNotAllowedException):
        headers["allow"] = (error.headers or {}).get("allow", "")
    return Response(response.body, status_code=response.status, headers=headers, media_type=media_type)


def _known(error: Exception, request: Request[Any, Any, Any]) -> UbrError:
    """The matching error of our own catalogue. Any other error is logged and not revealed to the client."""
    match error:
        case UbrError():
            if status_of(type(error)) >= HTTPStatus.INTERNAL_SERVER_ERROR:
                _log.warning(
                    "unavailable",
                    method=request.scope["method"],
                    route=request.scope.get("path_template"),
                    problem=error.code,
                    reason=getattr(error, "reason", None),
                    exc_info=error.__cause__,
                )
            return error
        case NotFoundException():
            return NotFound("This path does not exist")
        case MethodNotAllowedException():
            return MethodNotAllowed()
        case HTTPException() if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
            return Invalid("The request is malformed")
        case _:
            _log.error("failed", exc_info=error)
            return InternalError()
