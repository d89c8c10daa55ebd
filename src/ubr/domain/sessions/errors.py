"""Errors about sessions."""

from __future__ import annotations

from ubr.domain.error_kinds import NotFound, Unauthenticated


class InvalidToken(Unauthenticated):
    """The access or refresh token is malformed, forged, expired or spent, or its session has ended."""

    code = "invalid-token"
    title = "The token is not valid"


class SessionNotFound(NotFound):
    code = "session-not-found"
    title = "There is no such session"
