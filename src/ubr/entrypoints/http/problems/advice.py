"""The meaning and the remedy of each problem. Problem pages and examples are generated from this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ubr.domain.errors import InvalidLink
from ubr.entrypoints.http.problems.catalogue import TYPE, Problem, status_of


class Advice(msgspec.Struct, frozen=True):
    """`detail`, `at` (a path) and `pointer` belong to the example: its detail and where the problem occurred."""

    meaning: str
    remedy: str
    detail: str = ""
    at: str = "/api/users/me"
    pointer: str | None = None


_AN_ID: Final = "01926e5c-7b0e-7f3a-9c55-0d2f6f1c8a10"

ADVICE: Final[Mapping[str, Advice]] = {
    "invalid-cursor": Advice(
        "The `cursor` was not issued by this service, or belongs to another list, other filters or another sort.",
        "Take `next_cursor` from the previous page, and send it with the filters and the sort of that page. To change "
        "them, start again without a cursor.",
        at="/api/users",
    ),
    "invalid-input": Advice(
        "A field, a parameter or a header breaks a rule that does not depend on stored data. Nothing was done.",
        "`errors` names each place (a JSON pointer, RFC 6901; for a parameter, its name) and the error there. Correct "
        "it: the same request will fail again.",
        detail="is required",
        at="/api/auth/register",
        pointer="/email",
    ),
    "malformed-body": Advice(
        "The body is not one JSON text in UTF-8: it is truncated, is nested more than 32 levels deep, or contains a "
        "number that JSON parsers read differently.",
        "Produce the body with a JSON library, and send all of it.",
        at="/api/auth/login",
    ),
    "weak-password": Advice(
        "The password is too short, is a common password, takes few guesses (for example a common word with digits), "
        "or consists of the e-mail, the name or the service's name.",
        "Ask for a longer one; a few unrelated words are enough. Any characters are allowed.",
        detail="must have at least 15 characters",
        at="/api/auth/register",
        pointer="/password",
    ),
    "invalid-credentials": Advice(
        "Login with this e-mail and this password failed. The answer does not reveal whether the e-mail is unknown, "
        "the password is wrong or the user is disabled.",
        "Ask for both again. After many failures the account or the client has to wait: see `rate-limited`.",
        at="/api/auth/login",
    ),
    "invalid-client": Advice(
        "The login of a machine failed. The answer does not reveal whether the key is unknown, wrong, revoked or "
        "expired, belongs to another machine, or whether the machine is disabled.",
        "Operators: the entry `machine.token_refused` of the audit log has the reason. Create another key if this one "
        "has ended.",
        at="/api/auth/token",
    ),
    "invalid-scope": Advice(
        "The requested scope is not a list of permissions separated by spaces, or contains one that the key or its "
        "machine does not have.",
        "Request fewer permissions, or none: the token then has all that the key allows. For more, create a key with "
        "a wider scope, or assign a role to the machine.",
        detail="The scope is wider than the permissions of the key",
        at="/api/auth/token",
    ),
    "unsupported-grant-type": Advice(
        "The token endpoint supports only the client credentials grant (RFC 6749, 4.4).",
        "Send `grant_type=client_credentials`. People log in at `POST /api/auth/login`.",
        detail="This service supports client_credentials alone",
        at="/api/auth/token",
    ),
    "machine-account": Advice(
        "The account belongs to a machine. It has no password and no mailbox, and the operations for people do not "
        "change it.",
        "Use `/api/machines/{machine_id}`.",
        at=f"/api/users/{_AN_ID}",
    ),
    "machine-not-found": Advice(
        "No machine has this id. It may have been deleted, or the id may be that of a person.",
        "Take the id from `GET /api/machines`.",
        at=f"/api/machines/{_AN_ID}",
    ),
    "machine-name-taken": Advice(
        "Another machine has this name.",
        "Use another name, or the machine that exists: `GET /api/machines` lists it.",
        at="/api/machines",
    ),
    "machine-key-not-found": Advice(
        "The machine has no key with this id. Keys are deleted 30 days after their end.",
        "Take the id from `GET /api/machines/{machine_id}/keys`.",
        at=f"/api/machines/{_AN_ID}/keys/{_AN_ID}",
    ),
    "machine-key-ended": Advice(
        "The key was revoked or has expired, so it cannot be rotated.",
        "Create a key for the machine instead.",
        at=f"/api/machines/{_AN_ID}/keys/{_AN_ID}/rotate",
    ),
    "too-many-machine-keys": Advice(
        "The machine has as many keys as it may have.",
        "Revoke a key that is no longer used: `last_used_at` shows the last use.",
        at=f"/api/machines/{_AN_ID}/keys",
    ),
    "invalid-token": Advice(
        "The token or the session cookie is malformed, has expired, was used or replaced before, or its session, "
        "account or link is no longer valid.",
        "For an access token, exchange the refresh token at `POST /api/auth/refresh` and repeat the request. For a "
        "refresh token or a session cookie, log in again. For a link token (status 400), request another link.",
    ),
    "contradictory": Advice(
        "The request contradicts an earlier request that it claims to repeat.",
        "Send it as a new request.",
        at="/api/users",
    ),
    "idempotency-key-reused": Advice(
        "A request with this `Idempotency-Key` was answered within the last day, and it had another body. The answer "
        "reveals nothing about that request. After five of these, the stored answer is deleted, and the first request "
        "gets this problem too.",
        "Generate a new key for each call, and reuse it only to repeat that same call.",
        at="/api/users",
    ),
    "unauthenticated": Advice(
        "The request is not authenticated: it has neither an `Authorization: Bearer` header nor a session cookie, or a "
        "cookie where only a token counts.",
        "Log in at `POST /api/auth/login`, and send the access token.",
    ),
    "forbidden": Advice(
        "The caller is authenticated, but none of their roles has the required permission. The answer does not reveal "
        "whether a resource of another user exists.",
        "Ask an administrator for a role with the permission; the description of the operation names it.",
        at=f"/api/users/{_AN_ID}",
    ),
    "cross-origin-request": Advice(
        "The request would change something, and a page of another origin made the browser send it, or neither "
        "`Sec-Fetch-Site` nor `Origin` shows that a page of this service did. Nothing was done.",
        "Send it from a page of this service, or of an origin in `UBR_TRUSTED_ORIGINS`. If it was a page of this "
        "service, its address in the browser has to begin with `UBR_PUBLIC_URL`: open it there, or correct the "
        "setting. A program sends a token in `Authorization` instead of a cookie.",
        at="/api/auth/logout",
    ),
    "grant-exceeds-own": Advice(
        "The user or the role has, or would have, a permission that the caller does not hold.",
        "Ask a user who holds all of these permissions.",
        at=f"/api/users/{_AN_ID}/roles/admin",
    ),
    "reauthentication-required": Advice(
        "This cannot be undone, so it requires a login within the last ten minutes. A refresh does not count.",
        "Ask for the password, log in at `POST /api/auth/login`, and repeat the request with the new token.",
        at=f"/api/users/{_AN_ID}",
    ),
    "registration-closed": Advice(
        "This service does not accept self-registration.",
        "Ask an administrator for an account.",
        at="/api/auth/register",
    ),
    "wrong-password": Advice(
        "The access token is valid, but the current password is wrong. The session continues.",
        "Ask for the current password again. Do not log the user out.",
        at="/api/auth/password",
    ),
    "log-entry-not-found": Advice(
        "No audit log entry has this id.",
        "Take the id from `GET /api/logs`.",
        at=f"/api/logs/{_AN_ID}/proof",
    ),
    "not-found": Advice(
        "This path does not exist, or is not in its canonical form: an extra escape or slash makes it another path.",
        "Compare the path with the OpenAPI document.",
        detail="This path does not exist",
        at="/api/user",
    ),
    "role-not-found": Advice(
        "No role has this id or name. It may have been deleted or renamed.",
        "Take it from `GET /api/roles`.",
        at=f"/api/roles/{_AN_ID}",
    ),
    "session-not-found": Advice(
        "No session has this id. An ended session remains for a while, and can be revoked again without an error.",
        "Take the id from `GET /api/auth/sessions` or `GET /api/users/{user_id}/sessions`.",
        at=f"/api/auth/sessions/{_AN_ID}",
    ),
    "user-not-found": Advice(
        "No user has this id. Only callers who may read all users get this answer.",
        "Take the id from `GET /api/users`; ids are lower-case UUIDs with dashes.",
        at=f"/api/users/{_AN_ID}",
    ),
    "method-not-allowed": Advice(
        "The path exists, but does not support the method.",
        "The `Allow` header lists the methods of the path.",
        at="/api/users/me",
    ),
    "request-timeout": Advice(
        "The body did not arrive within ten seconds. Nothing was done.",
        "Send it again, over a better connection.",
        at="/api/auth/login",
    ),
    "built-in-role": Advice(
        "`admin` and `user` are built in. Their names and the permissions of `admin` cannot be changed, and every user "
        "has `user`.",
        "Create a role of your own.",
        at=f"/api/roles/{_AN_ID}",
    ),
    "conflict": Advice(
        "The request conflicts with the stored state.",
        "Read the resource again, and decide again.",
        at=f"/api/users/{_AN_ID}",
    ),
    "email-taken": Advice(
        "Another account has this e-mail. Case and Unicode variants of the same letters make no difference.",
        "Log in to that account, or use another e-mail.",
        at="/api/auth/register",
    ),
    "last-admin": Advice(
        "This is the last active user with the admin role and no end date.",
        "Make another user an administrator first.",
        at=f"/api/users/{_AN_ID}/roles/admin",
    ),
    "role-name-taken": Advice(
        "Another role has this name.",
        "Use another name, or change that role.",
        at="/api/roles",
    ),
    "too-many-roles": Advice(
        "The user has as many roles as fit into an access token.",
        "Remove a role from the user, or combine the permissions of several roles in one.",
        at=f"/api/users/{_AN_ID}/roles/editor",
    ),
    "precondition-failed": Advice(
        "None of the entity tags in `If-Match` matches the current resource: it has been changed since. Nothing was "
        "done.",
        "Read the resource again, decide again, and send the new `ETag`.",
        at=f"/api/users/{_AN_ID}",
    ),
    "body-too-large": Advice(
        "The body has more than 64 KiB.",
        "Send less. No operation needs a body of this size.",
        at="/api/roles",
    ),
    "uri-too-long": Advice(
        "Path and query have more than 8,192 bytes together.",
        "Shorten the query. Send a cursor unchanged; it is short enough.",
        at="/api/users",
    ),
    "unsupported-media-type": Advice(
        "The body is not declared as JSON (for `POST /api/auth/token`: as a form), has another charset than UTF-8, or "
        "is compressed.",
        "Usually, send `Content-Type: application/json`; the `Accept` header of the answer lists the accepted types.",
        detail="Send application/json, in UTF-8 and without a content coding",
        at="/api/auth/login",
    ),
    "rate-limited": Advice(
        "There were too many attempts for this account, or from this client, or too many requests of this client are "
        "running.",
        "Wait for the number of seconds in the `Retry-After` header. An earlier attempt does not shorten the wait.",
        at="/api/auth/login",
    ),
    "internal-error": Advice(
        "The service failed. The details are in the service's own log, not in the answer.",
        "Report it to the operator with the `request_id`. Check whether the request took effect.",
    ),
    "busy": Advice(
        "Too many passwords are waiting to be checked. Nothing was done.",
        "Repeat the request after the number of seconds in the `Retry-After` header.",
        at="/api/auth/login",
    ),
    "log-damaged": Advice(
        "The audit log does not match its signatures. The service issues no proofs from it until an operator "
        "investigates.",
        "Operators: `ubr audit verify` names the error; `docs/audit.md` describes the remedy.",
        at="/api/logs/checkpoint",
    ),
    "store-too-slow": Advice(
        "The database is reachable, but did not finish the request in time. Nothing was changed. Its log and the log "
        "of the service contain details.",
        "Repeat the request after the number of seconds in the `Retry-After` header. If the problem persists, request "
        "less: a smaller `limit`, a narrower filter.",
        at="/api/users",
    ),
    "log-key-locked": Advice(
        "No secret decrypts the key that signs the audit log, so new entries would not be protected.",
        "Operators: `UBR_SECRET_KEY` of this process is not the secret that encrypted the key; `docs/keys.md` "
        "describes the remedy.",
        at="/health/ready",
    ),
    "no-signing-key": Advice(
        "The service cannot issue tokens: no secret decrypts the signing key. Tokens of other keys are accepted.",
        "Repeat the request later. Operators: `UBR_SECRET_KEY` of this process is not the secret that encrypted the "
        "key; `ubr keys list` shows the keys, and `docs/keys.md` describes the remedy.",
        at="/api/auth/login",
    ),
    "store-unavailable": Advice(
        "The database did not answer in time. A requested change may or may not have happened.",
        "Repeat the request after the number of seconds in the `Retry-After` header. Before you repeat a request that "
        "creates a resource, check whether it already exists.",
    ),
    "unavailable": Advice(
        "The request is valid, but a part of the service has failed.",
        "Repeat the request after the number of seconds in the `Retry-After` header.",
    ),
}


_OF_STATUS: Final[Mapping[tuple[str, int], Advice]] = {
    (InvalidLink.code, status_of(InvalidLink)): Advice(
        ADVICE[InvalidLink.code].meaning,
        ADVICE[InvalidLink.code].remedy,
        detail="is not a valid link token, or has expired",
        at="/api/auth/password/reset",
        pointer="/token",
    ),
}
"""Examples of problems that have more than one status."""


def example(problem: Problem) -> dict[str, Any]:
    """An example answer with this problem."""
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
