"""Errors about sessions."""

from __future__ import annotations

from ubr.domain.error_kinds import NotFound, Unauthenticated


class InvalidToken(Unauthenticated):
    """An access or refresh token that is malformed, forged, expired or spent, or whose session has ended."""

    code = "invalid-token"
    title = "The token is not valid"


class SessionNotFound(NotFound):
    code = "session-not-found"
    title = "Session not found"
