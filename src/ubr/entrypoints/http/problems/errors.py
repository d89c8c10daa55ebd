"""Errors that are met before a use case is reached."""

from __future__ import annotations

from ubr.domain.errors import Invalid, UbrError


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
