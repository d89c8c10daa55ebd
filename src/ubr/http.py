"""The HTTP interface, for programs that embed ubr: mount it, or answer errors as it does."""

from ubr.extras import require

require("server")

from ubr.entrypoints.http.app import HttpOptions, create_app  # noqa: E402
from ubr.entrypoints.http.problems.rendering import problem_response  # noqa: E402

__all__ = ["HttpOptions", "create_app", "problem_response"]
