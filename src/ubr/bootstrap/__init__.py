"""Connects adapters to ports. The only package that knows dependency-injector; all other code calls `connect`."""

from ubr.adapters.security.guesses import is_guessable
from ubr.bootstrap.decisions import common_of
from ubr.bootstrap.environment import (
    CLEANING,
    Environment,
    connect,
    migrate,
    open_environment,
    preload,
    schema_state,
)

__all__ = [
    "CLEANING",
    "Environment",
    "common_of",
    "connect",
    "is_guessable",
    "migrate",
    "open_environment",
    "preload",
    "schema_state",
]
