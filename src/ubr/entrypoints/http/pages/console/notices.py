"""The texts that the shared parts of pages look up: what an act has done, and the labels of fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_NOTICES: Final[Mapping[str, str]] = {
    "user-created": "The user is created.",
    "user-renamed": "The full name is changed.",
    "user-email-changed": "The e-mail is changed, and all sessions of the user have ended.",
    "user-disabled": "The user is disabled, and all sessions have ended.",
    "user-enabled": "The user is enabled.",
    "user-unlocked": "The locks of the account have ended.",
    "user-verification-mailed": "If the e-mail is not confirmed yet, a mail with a link is on its way.",
    "user-sessions-ended": "All sessions of the user have ended.",
    "user-session-ended": "The session has ended.",
    "user-deleted": "The user is deleted.",
    "user-erased": "The user is erased.",
    "role-assigned": "The role is assigned.",
    "role-unassigned": "The role is taken away.",
    "role-created": "The role is created.",
    "role-changed": "The role is changed.",
    "role-deleted": "The role is deleted.",
    "machine-created": "The machine is created. It needs a key to log in.",
    "machine-changed": "The machine is changed.",
    "machine-disabled": "The machine is disabled, and all its sessions have ended.",
    "machine-enabled": "The machine is enabled.",
    "machine-deleted": "The machine is deleted.",
    "key-revoked": "The key is revoked, and its sessions have ended.",
    "mail-retried": "The mail is sent with the next delivery.",
    "signing-key-rotated": "A new signing key is published. It signs as soon as every verifier can know it.",
    "signing-key-revoked": "The signing key is revoked: no worker accepts its tokens any more.",
}

_FIELDS: Final[Mapping[str, str]] = {
    "confirmation": "Confirmation",
    "description": "Description",
    "expires_at": "End",
    "name": "Name",
    "permissions": "Permissions",
    "q": "Search",
    "role": "Role",
    "scope": "Scope",
    "since": "From",
    "status": "Status",
    "until": "Until",
}

TEXTS: Final[Mapping[str, str]] = {
    **{f"notice.{name}": text for name, text in _NOTICES.items()},
    **{f"field.{name}": text for name, text in _FIELDS.items()},
}
