"""What each problem means to whoever meets it, and what can be done. Its page and its examples are made from this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ubr.domain.errors import InvalidLink
from ubr.entrypoints.http.problems.catalogue import TYPE, Problem, status_of


@dataclass(frozen=True, slots=True)
class Advice:
    """`detail`, `at` (a path) and `pointer` are those of the example: what is said of a case, and where it was met."""

    meaning: str
    remedy: str
    detail: str = ""
    at: str = "/api/users/me"
    pointer: str | None = None


_AN_ID: Final = "01926e5c-7b0e-7f3a-9c55-0d2f6f1c8a10"

ADVICE: Final[Mapping[str, Advice]] = {
    "invalid-cursor": Advice(
        "The `cursor` was not made by this service, or for another list, or for other filters or another sort.",
        "Take `next_cursor` from the page before, and send it with the filters and the sort of that page. To change "
        "them begin anew, without a cursor.",
        at="/api/users",
    ),
    "invalid-input": Advice(
        "A field, a parameter or a header breaks a rule that does not depend on what is stored. Nothing was done.",
        "`errors` names each place (a JSON pointer, RFC 6901; a parameter is pointed at by its name) and what is wrong "
        "there. Correct it: the same request will be refused again.",
        detail="is required",
        at="/api/auth/register",
        pointer="/email",
    ),
    "malformed-body": Advice(
        "The body is not one JSON text in UTF-8: it is cut off, nested more than 32 deep, or holds a number that JSON "
        "readers disagree about.",
        "Make the body with a JSON library, and send all of it.",
        at="/api/auth/login",
    ),
    "weak-password": Advice(
        "The password is too short, one of the common ones, or made of the e-mail, the name or the service's name.",
        "Ask for a longer one; a few words that do not belong together will do. Which characters it has is up to its "
        "owner.",
        detail="must have at least 15 characters",
        at="/api/auth/register",
        pointer="/password",
    ),
    "invalid-credentials": Advice(
        "Nobody can log in with this e-mail and this password. Whether the e-mail is unknown, the password wrong or "
        "the user disabled is not told.",
        "Ask for both again. After many failures the account or the client has to wait: see `rate-limited`.",
        at="/api/auth/login",
    ),
    "invalid-token": Advice(
        "The token is malformed, has expired, was used before, or what it belongs to has ended.",
        "Where it is an access token, exchange the refresh token at `POST /api/auth/refresh` and repeat the request. "
        "Where it is a refresh token, log in again. Where it is that of a link (status 400), ask for another link.",
    ),
    "contradictory": Advice(
        "The request says of itself that it is another one than it is.",
        "Send it as what it is.",
        at="/api/users",
    ),
    "idempotency-key-reused": Advice(
        "A request with this `Idempotency-Key` was answered within the last day, and it had another body. Of that "
        "request nothing is told.",
        "Make up a key for each call, and use it again only to repeat that very call.",
        at="/api/users",
    ),
    "unauthenticated": Advice(
        "The request names nobody: it has no `Authorization: Bearer` header.",
        "Log in at `POST /api/auth/login`, and send the access token along.",
    ),
    "forbidden": Advice(
        "It is known who asks, and none of their roles holds the permission that this takes. Of a thing that is not "
        "theirs it is not told whether it exists.",
        "Ask an administrator for a role that holds the permission; the description of the operation names it.",
        at=f"/api/users/{_AN_ID}",
    ),
    "grant-exceeds-own": Advice(
        "Nobody rises: the user or the role holds, or would hold, a permission that the caller does not.",
        "Let somebody do it who holds every permission in question.",
        at=f"/api/users/{_AN_ID}/roles/admin",
    ),
    "reauthentication-required": Advice(
        "This cannot be undone, so it takes a login of the last ten minutes. A refresh is none.",
        "Ask for the password, log in at `POST /api/auth/login`, and repeat the request with the new token.",
        at=f"/api/users/{_AN_ID}",
    ),
    "registration-closed": Advice(
        "This service does not let people make accounts of their own.",
        "Ask an administrator for an account.",
        at="/api/auth/register",
    ),
    "wrong-password": Advice(
        "The access token is good, but the current password is not the one of the account. The session goes on.",
        "Ask for the current password again. Do not sign the user out.",
        at="/api/auth/password",
    ),
    "log-entry-not-found": Advice(
        "The log has no entry with this id.",
        "Take the id from `GET /api/logs`.",
        at=f"/api/logs/{_AN_ID}/proof",
    ),
    "not-found": Advice(
        "There is nothing at this path, or the path is not written in its one form: an escape or a slash too many is "
        "another path.",
        "Compare the path with the description of the interface.",
        detail="There is nothing at this path",
        at="/api/user",
    ),
    "role-not-found": Advice(
        "There is no role with this id or name. It may have been deleted, or renamed.",
        "Take it from `GET /api/roles`.",
        at=f"/api/roles/{_AN_ID}",
    ),
    "session-not-found": Advice(
        "There is no session with this id. One that has ended is there for a while, and ends again without an error.",
        "Take the id from `GET /api/auth/sessions` or `GET /api/users/{user_id}/sessions`.",
        at=f"/api/auth/sessions/{_AN_ID}",
    ),
    "user-not-found": Advice(
        "There is no user with this id. Only those who may read all users are told so.",
        "Take the id from `GET /api/users`; ids are lower-case UUIDs with dashes.",
        at=f"/api/users/{_AN_ID}",
    ),
    "method-not-allowed": Advice(
        "The path is right, the method is not.",
        "The `Allow` header lists the methods of the path.",
        at="/api/users/me",
    ),
    "request-timeout": Advice(
        "The body did not arrive within ten seconds. Nothing was done.",
        "Send it again, over a better connection.",
        at="/api/auth/login",
    ),
    "built-in-role": Advice(
        "`admin` and `user` come with the service. Their names, the permissions of `admin`, and that everyone has "
        "`user` do not change.",
        "Make a role of your own.",
        at=f"/api/roles/{_AN_ID}",
    ),
    "conflict": Advice(
        "What is stored stands against it.",
        "Read the thing again and decide anew.",
        at=f"/api/users/{_AN_ID}",
    ),
    "email-taken": Advice(
        "Another account has this e-mail. Case, and other ways to write the same letters, make no difference.",
        "Log in to that account, or use another e-mail.",
        at="/api/auth/register",
    ),
    "last-admin": Advice(
        "Someone stays: this is the last active user who is an administrator without an end.",
        "Make somebody else an administrator first.",
        at=f"/api/users/{_AN_ID}/roles/admin",
    ),
    "role-name-taken": Advice(
        "Another role has this name.",
        "Use another name, or change that role.",
        at="/api/roles",
    ),
    "too-many-roles": Advice(
        "The user holds as many roles as fit into an access token.",
        "Take a role from the user, or put the permissions of several roles into one.",
        at=f"/api/users/{_AN_ID}/roles/editor",
    ),
    "precondition-failed": Advice(
        "None of the entity tags in `If-Match` is that of the thing as it is now: somebody has changed it since. "
        "Nothing was done.",
        "Read the thing again, decide anew, and send its new `ETag`.",
        at=f"/api/users/{_AN_ID}",
    ),
    "body-too-large": Advice(
        "The body has more than 64 KiB.",
        "Send less. Nothing that this interface takes is as long as that.",
        at="/api/roles",
    ),
    "uri-too-long": Advice(
        "Path and query have more than 8,192 bytes together.",
        "Shorten the query. A cursor is sent as it came, and is short enough.",
        at="/api/users",
    ),
    "unsupported-media-type": Advice(
        "The body is not said to be JSON, is in another charset than UTF-8, or is compressed.",
        "Send `Content-Type: application/json`; the `Accept` header of the answer lists what is taken.",
        detail="Send application/json, in UTF-8 and without a content coding",
        at="/api/auth/login",
    ),
    "rate-limited": Advice(
        "There were too many tries for this account, or from this client.",
        "Wait as many seconds as the `Retry-After` header says. Trying before that does not make it shorter.",
        at="/api/auth/login",
    ),
    "internal-error": Advice(
        "The service has a fault. The answer tells nothing of it, the service's own log does.",
        "Report it to the operator with the `request_id`. Whether anything was done has to be looked at.",
    ),
    "busy": Advice(
        "More passwords are waiting to be checked than the service takes at once. Nothing was done.",
        "Repeat the request after as many seconds as the `Retry-After` header says.",
        at="/api/auth/login",
    ),
    "log-damaged": Advice(
        "The log is not the one that was signed. Nothing is proved from it until an operator has looked.",
        "Operators: `ubr audit verify` says what is wrong; `docs/audit.md` says what to do.",
        at="/api/logs/checkpoint",
    ),
    "log-key-locked": Advice(
        "No secret opens the key that signs the log, so that nothing new in it would be protected.",
        "Operators: `UBR_SECRET_KEY` of this process is not the one that the key was sealed with; `docs/keys.md` says "
        "what to do.",
        at="/health/ready",
    ),
    "no-signing-key": Advice(
        "Tokens cannot be made: no secret opens the key whose time it is to sign. Tokens of other keys are accepted.",
        "Repeat the request later. Operators: `UBR_SECRET_KEY` of this process is not the one that the key was sealed "
        "with; `ubr keys list` shows the keys, and `docs/keys.md` says what to do.",
        at="/api/auth/login",
    ),
    "store-unavailable": Advice(
        "The database did not answer in time. A change that was asked for may or may not have happened.",
        "Repeat the request after as many seconds as the `Retry-After` header says. Before you repeat one that makes "
        "something, look whether it is there.",
    ),
    "unavailable": Advice(
        "Nothing is wrong with the request; a part of the service is.",
        "Repeat the request after as many seconds as the `Retry-After` header says.",
    ),
}


_OF_STATUS: Final[Mapping[tuple[str, int], Advice]] = {
    (InvalidLink.code, status_of(InvalidLink)): Advice(
        ADVICE[InvalidLink.code].meaning,
        ADVICE[InvalidLink.code].remedy,
        detail="is not that of a link that is good",
        at="/api/auth/password/reset",
        pointer="/token",
    ),
}
"""Examples of a problem that is met in more than one way."""


def example(problem: Problem) -> dict[str, Any]:
    """An answer as somebody who meets this problem gets it."""
    advice = _OF_STATUS.get((problem.slug, problem.status), ADVICE[problem.slug])
    told: dict[str, Any] = {
        "type": TYPE.format(slug=problem.slug),
        "title": problem.title,
        "status": problem.status,
        "detail": advice.detail or problem.title,
        "instance": advice.at,
        "request_id": "0b8d5f0f3c1e4a52",
    }
    if advice.pointer is not None:
        told["detail"] = f"{advice.pointer[1:]} {advice.detail}"
        told["errors"] = [{"pointer": advice.pointer, "detail": advice.detail}]
    return told
