"""The body, the status and the header fields of a problem (RFC 9457). Needs no web framework."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec import UNSET, UnsetType

from ubr.application.kernel.origin import current_origin
from ubr.domain.errors import (
    InputError,
    Invalid,
    InvalidClient,
    InvalidScope,
    InvalidToken,
    RateLimited,
    UbrError,
    Unauthenticated,
    Unavailable,
    UnsupportedGrantType,
)
from ubr.entrypoints.http.problems.catalogue import TYPE, status_of
from ubr.entrypoints.http.problems.errors import UnsupportedMediaType
from ubr.entrypoints.http.response import Response

MEDIA_TYPE: Final = "application/problem+json"


class ProblemFlaw(msgspec.Struct, frozen=True, kw_only=True):
    """One error in the input: where (RFC 6901) and why."""

    pointer: str
    detail: str


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every problem response. `errors` is present for invalid input.

    Errors of `POST /api/auth/token` are error responses of RFC 6749 (5.2) too: with `error` and `error_description`.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[ProblemFlaw] | UnsetType = UNSET
    error: str | UnsetType = UNSET
    error_description: str | UnsetType = UNSET


_encode: Final = msgspec.json.Encoder().encode
_OAUTH_ERRORS: Final[Mapping[type[UbrError], str]] = {
    InvalidClient: "invalid_client",
    InvalidScope: "invalid_scope",
    UnsupportedGrantType: "unsupported_grant_type",
    Invalid: "invalid_request",
}
"""The most specific ones first."""


def oauth_error(error: type[UbrError]) -> str | None:
    """The name of an error in RFC 6749 (5.2); None if that has no name for it."""
    return next((name for kind, name in _OAUTH_ERRORS.items() if issubclass(error, kind)), None)


def problem_response(
    error: UbrError, path: str, headers: Mapping[str, str] | None = None, *, oauth: bool = False
) -> Response:
    """The response to a request for `path` that met this error; with `oauth`, in the form of RFC 6749."""
    status = status_of(type(error))
    flaws = error.flaws if isinstance(error, Invalid) else ()
    details = ProblemDetails(
        type=TYPE.format(slug=error.code),
        title=error.title,
        status=status,
        # The details of an adapter's error are only for the log.
        detail=_detail(error, flaws) if status < HTTPStatus.INTERNAL_SERVER_ERROR else error.title,
        instance=quote(path, safe="/:@!$&'()*+,;=~", errors="replace"),
        request_id=current_origin().request_id or "",
        errors=[_flaw(flaw) for flaw in flaws] or UNSET,
    )
    media_type = MEDIA_TYPE
    if oauth and (name := oauth_error(type(error))) is not None:
        # The members of both. The media type is that of RFC 6749, whose clients may read no other.
        described = details.detail.replace('"', "'").replace("\\", "/")
        details = msgspec.structs.replace(details, error=name, error_description=described)
        media_type = "application/json"
    return Response(
        _encode(details), status=status, media_type=media_type, headers={**problem_headers(error), **(headers or {})}
    )


def _detail(error: UbrError, flaws: tuple[InputError, ...]) -> str:
    """The detail in one sentence. An input error alone does not name its field."""
    return "; ".join(f"{flaw.pointer[1:] or 'The input'} {flaw.detail}" for flaw in flaws) or error.detail


def _flaw(flaw: InputError) -> ProblemFlaw:
    return ProblemFlaw(pointer=flaw.pointer, detail=flaw.detail)


def problem_headers(error: UbrError) -> dict[str, str]:
    """The header fields that belong to an error."""
    match error:
        case InvalidClient():
            return {"www-authenticate": 'Basic realm="ubr", charset="UTF-8"'}
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
