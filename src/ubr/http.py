"""The HTTP interface, for programs that embed ubr: mount it, or answer errors as it does."""

from ubr.entrypoints.http.app import HttpOptions, create_app
from ubr.entrypoints.http.problems.response import ProblemResponse

__all__ = ["HttpOptions", "ProblemResponse", "create_app"]
