"""The response to a request that met an error."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from litestar.exceptions import HTTPException, NotFoundException
from litestar.types import Scope

from ubr.domain.errors import Invalid, NotFound, UbrError
from ubr.entrypoints.http.problems.catalogue import status_of
from ubr.entrypoints.http.problems.errors import InternalError
from ubr.entrypoints.http.problems.faults import log_fault, unavailable
from ubr.entrypoints.http.problems.rendering import problem_response
from ubr.entrypoints.http.request_facts import Facts, facts_of
from ubr.entrypoints.http.response import Response


def problem(
    scope: Scope, error: Exception, headers: Mapping[str, str] | None = None, *, oauth: bool = False
) -> Response:
    """The response to an error of any kind; with `oauth`, in the form of RFC 6749 if that has a name for it."""
    facts = facts_of(scope)
    known = known_error(error, facts)
    return problem_response(known, scope["path"], headers, oauth=oauth)


def known_error(error: Exception, facts: Facts) -> UbrError:
    """The matching error of our own catalogue, noted in the facts.

    Any other error is logged and not revealed to the client.
    """
    known = _known(error, facts)
    facts.problem = known.code
    return known


def _known(error: Exception, facts: Facts) -> UbrError:
    match error:
        case InternalError():  # the cause of this answer is noted already
            return error
        case UbrError():
            if status_of(type(error)) >= HTTPStatus.INTERNAL_SERVER_ERROR:
                facts.cause = unavailable(error, facts)
            return error
        case NotFoundException():
            return NotFound("This path does not exist")
        case HTTPException() if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
            return Invalid("The request is malformed")
        case _:
            facts.cause = log_fault(error, facts)
            return InternalError()
