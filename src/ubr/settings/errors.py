"""How a wrong setting is reported."""

from __future__ import annotations


class WrongSetting(Exception):
    """Something set is wrong. One sentence for each: the variable, what is wrong with it, what is allowed.

    No sentence holds a secret, nor any part of a URL that may have a password in it.
    """

    def __init__(self, *sentences: str) -> None:
        self.sentences = sentences
        super().__init__("\n".join(sentences))
