"""The HTTP interface, for programs that embed ubr: mount it, or answer errors as it does."""

from ubr.entrypoints.http.app import HttpOptions, create_app
from ubr.entrypoints.http.problems.rendering import problem_response

__all__ = ["HttpOptions", "create_app", "problem_response"]
