"""The fields of log lines, for their documentation and its test."""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec


class Presence(Enum):
    """The lines that have a field."""

    EVERY = "every line"
    OF_A_REQUEST = "every line of a request"
    TRACED = "every line of a request that has a valid `traceparent`"
    CHOSEN = "every line of a request whose client chose the id"
    REQUEST = "`request`"
    SERVER_ERROR = "`request` with a status of 500 or more, `unavailable`, `failed`"
    ANSWERED = "`request`, `unavailable`"
    PLACED = "`request`, `unavailable`, `failed`"
    REPORTED = "`unavailable`, `failed`"
    ERROR = "lines of errors that have a traceback"


class Field(msgspec.Struct, frozen=True):
    name: str
    presence: Presence
    meaning: str


FIELDS: Final = (
    Field("timestamp", Presence.EVERY, "The time in UTC, in microseconds, by the clock of the machine."),
    Field("level", Presence.EVERY, "`debug`, `info`, `warning` or `error`. A status of 500 or more is an `error`."),
    Field(
        "event",
        Presence.EVERY,
        "`request` for the end of a request, `unavailable` and `failed` for the traceback of a server error, else a "
        "sentence.",
    ),
    Field("method", Presence.PLACED, "The method."),
    Field("route", Presence.PLACED, "The template of the path, as in the OpenAPI document; null if none matches."),
    Field(
        "path",
        Presence.REQUEST,
        "The path without its query. Only ids and the words of the templates are shown; `*` replaces every other part.",
    ),
    Field(
        "status", Presence.REQUEST, "The status of the response; 499 if the client disconnected before it was complete."
    ),
    Field("reason", Presence.ANSWERED, "The name of the problem ([problems](../problems.md)); null if there is none."),
    Field("ms", Presence.REQUEST, "Milliseconds from the head of the request to the end of the response."),
    Field("actor_id", Presence.REQUEST, "The user of the access token; null if there was none or it was not valid."),
    Field("session_id", Presence.REQUEST, "The session of the access token; null if there was none."),
    Field("ip", Presence.REQUEST, "The client IP, as `UBR_TRUSTED_PROXIES` determines it."),
    Field(
        "request_id",
        Presence.OF_A_REQUEST,
        "The id in the header `X-Request-ID` of the response and in its audit log entries.",
    ),
    Field("request_id_given", Presence.CHOSEN, "true: other requests can have the same id."),
    Field(
        "trace_id", Presence.TRACED, "The id of the trace ([W3C Trace Context](https://www.w3.org/TR/trace-context/))."
    ),
    Field(
        "cause",
        Presence.SERVER_ERROR,
        "The reason for a server error in a sentence, with the code of the database or the name of a limit. Clients "
        "do not see it.",
    ),
    Field(
        "omitted", Presence.REPORTED, "The number of tracebacks of this kind that were not logged since the last one."
    ),
    Field("exception", Presence.ERROR, "The traceback, without the values of variables."),
)
