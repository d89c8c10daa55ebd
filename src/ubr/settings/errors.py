"""The error for wrong settings."""

from __future__ import annotations


class WrongSetting(Exception):
    """At least one setting is wrong. One sentence for each: the variable, its error and the allowed values.

    No sentence contains a secret, nor any part of a URL that may contain a password.
    """

    def __init__(self, *sentences: str) -> None:
        self.sentences = sentences
        super().__init__("\n".join(sentences))
