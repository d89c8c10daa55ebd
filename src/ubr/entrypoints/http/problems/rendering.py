"""The body, the status and the header fields of a problem (RFC 9457). Needs no web framework."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec import UNSET, UnsetType

from ubr.application.kernel.origin import current_origin
from ubr.domain.errors import InputError, Invalid, InvalidToken, RateLimited, UbrError, Unauthenticated, Unavailable
from ubr.entrypoints.http.problems.catalogue import TYPE, status_of
from ubr.entrypoints.http.problems.errors import UnsupportedMediaType
from ubr.entrypoints.http.response import Response

MEDIA_TYPE: Final = "application/problem+json"


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


_encode: Final = msgspec.json.Encoder().encode


def problem_response(error: UbrError, path: str, headers: Mapping[str, str] | None = None) -> Response:
    """The response to a request for `path` that met this error."""
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
    return Response(
        _encode(details), status=status, media_type=MEDIA_TYPE, headers={**problem_headers(error), **(headers or {})}
    )


def _detail(error: UbrError, flaws: tuple[InputError, ...]) -> str:
    """The detail in one sentence. An input error alone does not name its field."""
    return "; ".join(f"{flaw.pointer[1:] or 'The input'} {flaw.detail}" for flaw in flaws) or error.detail


def _flaw(flaw: InputError) -> ProblemFlaw:
    return ProblemFlaw(pointer=flaw.pointer, detail=flaw.detail)


def problem_headers(error: UbrError) -> dict[str, str]:
    """The header fields that belong to an error."""
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
