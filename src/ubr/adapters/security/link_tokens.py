"""The tokens in one-time links."""

from __future__ import annotations

import os
from typing import Final

from ubr.adapters.security.opaque_tokens import OpaqueForm
from ubr.application.ports.secrets import MintedToken
from ubr.application.ports.system import RandomBytes
from ubr.domain.errors import InvalidLink
from ubr.domain.ids import TokenDigest

PREFIX: Final = "ubr_link_"
_FORM: Final = OpaqueForm(PREFIX, InvalidLink)


class OpaqueLinkTokens:
    """`ubr_link_` and 32 random bytes, see `OpaqueForm`."""

    def __init__(self, random_bytes: RandomBytes = os.urandom) -> None:
        self._random_bytes = random_bytes

    def mint(self) -> MintedToken:
        return _FORM.mint(self._random_bytes)

    def digest(self, secret: str) -> TokenDigest:
        return _FORM.digest(secret)
