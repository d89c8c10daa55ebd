"""The outcome of an act, which a browser keeps for minutes, for the page after it.

An act ends with a redirect, so that a reload repeats nothing. Its outcome is on the way in a cookie, encrypted with a
key that only this installation can compute, and only from the cookie of this session. So every worker of every instance
can show it, the service stores nothing, and the end of the session makes it unreadable.
"""

from __future__ import annotations

import os
import zlib
from typing import Final, Generic, TypeVar

import msgspec

from ubr.adapters.security.secrets import Unsealable, seal, unseal
from ubr.domain.keys import base64url
from ubr.entrypoints.http.call import Call
from ubr.entrypoints.http.pages import cookies
from ubr.entrypoints.http.pages.page import site_of
from ubr.entrypoints.http.response import Response

_ROOM: Final = 6 * 1024
"""Maximum number of bytes of the values of one kind. Proxies such as nginx accept 8 KiB of cookies."""

T = TypeVar("T", bound=msgspec.Struct)


class Kept(Generic[T]):
    """A cookie for values of one type. The value of another session counts as none.

    With `about`, there is one cookie for each such text, so that several tabs keep theirs. All of them have a limited
    size, and the oldest give way.
    """

    def __init__(self, name: str, kind: type[T], *, seconds: int) -> None:
        self._name = name
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._seconds = seconds

    def give(self, call: Call, response: Response, value: T, *, about: str = "") -> Response:
        """The response, with the value for the browser. Its text has to fit in a cookie."""
        key = _key(call)
        if key is None:  # the session has ended, and with it the reader of the value
            return response
        name = self._named(about)
        content = zlib.compress(msgspec.msgpack.encode(value))
        sealed = base64url.encode(seal(key, content, name.encode(), os.urandom)).decode()
        room = _ROOM - len(sealed)
        others = cookies.beginning(call.fields, f"{self._name}-", secure=site_of(call).secure)
        for other, length in reversed([each for each in others.items() if each[0] != name]):
            room -= length
            if room < 0:
                _write(call, response, other, "", 0)
        return _write(call, response, name, sealed, self._seconds)

    def of(self, call: Call, *, about: str = "") -> T | None:
        """The value that the browser keeps; None without a readable one."""
        key, name = _key(call), self._named(about)
        sealed = cookies.read(call.fields, name, secure=site_of(call).secure, longest=cookies.MAX_BYTES)
        if key is None or sealed is None:
            return None
        try:
            content = unseal(key, base64url.decode(sealed.encode()), name.encode())
            return self._decode(zlib.decompress(content))
        except (Unsealable, ValueError, zlib.error, msgspec.DecodeError):  # not ours, or that of another version
            return None

    def drop(self, call: Call, response: Response) -> Response:
        """The response, which takes the value away from the browser."""
        return _write(call, response, self._name, "", 0)

    def _named(self, about: str) -> str:
        return f"{self._name}-{about}" if about else self._name


def _write(call: Call, response: Response, name: str, text: str, seconds: int) -> Response:
    response.cookies += (cookies.write(name, text, seconds=seconds, secure=site_of(call).secure),)
    return response


def _key(call: Call) -> bytes | None:
    cookie = call.replaced_cookie
    return None if cookie is None else call.ubr.authenticate_cookie.cookies.key(cookie)
