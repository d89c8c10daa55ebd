"""What the tests of the commands call by a name."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.support.service import UbrProcess


@dataclass
class Ended:
    """A command that has run."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]
Serve = Callable[..., UbrProcess]
