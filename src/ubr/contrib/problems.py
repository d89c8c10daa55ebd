"""Errors of the catalogue as answers of a program: as those of ubr, without its web framework."""

from __future__ import annotations

from ubr.domain.errors import UbrError
from ubr.entrypoints.http.problems.rendering import problem_response
from ubr.entrypoints.http.response import Response


def answer(error: UbrError, path: str) -> Response:
    """The answer to a request for `path`. It is not cached, and names the id of its request.

    The middleware of the framework sets that id.
    """
    return problem_response(error, path, {"cache-control": "no-store"})
