"""Errors that occur before a use case is called."""

from __future__ import annotations

from ubr.domain.errors import Forbidden, Invalid, UbrError


class MethodNotAllowed(UbrError):
    code = "method-not-allowed"
    title = "The path does not support this method"


class CrossOriginRequest(Forbidden):
    """A browser sent its cookie with a request that a page of another origin made, as far as anyone can tell."""

    code = "cross-origin-request"
    title = "A page of another origin sent this request"


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
    """`accepted` lists the media types of the route."""

    code = "unsupported-media-type"
    title = "The media type of the body is not supported here"

    def __init__(self, *accepted: str) -> None:
        super().__init__(f"Send {' or '.join(accepted)}, in UTF-8 and without a content coding")
        self.accepted = accepted


class MalformedBody(Invalid):
    code = "malformed-body"
    title = "The body is not valid JSON"


class InternalError(UbrError):
    code = "internal-error"
    title = "The service failed unexpectedly"


class ClientGone(Exception):
    """The body is incomplete: the client disconnected, or sent invalid HTTP."""
