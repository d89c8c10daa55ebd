"""The values of session cookies: opaque, recognisable, and found without the store."""

from __future__ import annotations

import os
from typing import Final
from uuid import UUID

from ubr.adapters.security.opaque_tokens import digest
from ubr.application.ports.secrets import MintedToken, Signer
from ubr.application.ports.sessions import PresentedCookie
from ubr.application.ports.system import RandomBytes
from ubr.domain.actor import Actor
from ubr.domain.errors import InvalidToken
from ubr.domain.ids import SessionId, UserId
from ubr.domain.keys import base64url

PREFIX: Final = "ubr_bs_"
_PURPOSE: Final = "session cookie"
_KEY_PURPOSE: Final = "key of a session cookie"
_ID_BYTES: Final = 16
_RANDOM_BYTES: Final = 32
_NAMED_BYTES: Final = 2 * _ID_BYTES + _RANDOM_BYTES
_TAG_BYTES: Final = 32
_ENCODED: Final = (_NAMED_BYTES + _TAG_BYTES) // 3 * 4
"""Length in base64url characters."""


class SignedSessionCookies:
    """`ubr_bs_`, then 96 bytes in base64url: the ids of the user and of the session, 32 random bytes, and a tag.

    The tag is an HMAC of the bytes before it, so that only this installation makes a value that is looked up: guesses
    cost no query. The random bytes make the value a secret. The digest is SHA-256 of the whole text.
    """

    def __init__(self, signer: Signer, random_bytes: RandomBytes = os.urandom) -> None:
        self._signer = signer
        self._random_bytes = random_bytes

    def mint(self, actor: Actor) -> MintedToken:
        named = actor.user_id.bytes + actor.session_id.bytes + self._random_bytes(_RANDOM_BYTES)
        value = PREFIX + base64url.encode(named + self._signer.sign(_PURPOSE, named)).decode()
        return MintedToken(value, digest(value))

    def read(self, value: str) -> PresentedCookie:
        if len(value) != len(PREFIX) + _ENCODED or not value.startswith(PREFIX) or not value.isascii():
            raise InvalidToken
        try:
            raw = base64url.decode(value[len(PREFIX) :].encode())
        except ValueError:
            raise InvalidToken from None
        named, tag = raw[:_NAMED_BYTES], raw[_NAMED_BYTES:]
        if not self._signer.verify(_PURPOSE, named, tag):
            raise InvalidToken
        user_id, session_id = UUID(bytes=named[:_ID_BYTES]), UUID(bytes=named[_ID_BYTES : 2 * _ID_BYTES])
        return PresentedCookie(Actor(UserId(user_id), SessionId(session_id)), digest(value))

    def key(self, value: str) -> bytes:
        return self._signer.sign(_KEY_PURPOSE, value.encode())
