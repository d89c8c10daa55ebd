"""Connects adapters to ports. The only package that knows dependency-injector; all other code calls `connect`."""

from ubr.adapters.security.guesses import is_guessable
from ubr.bootstrap.decisions import common_of
from ubr.bootstrap.environment import (
    CLEANING,
    Environment,
    check_files,
    connect,
    downgrade,
    migrate,
    open_environment,
    preload,
    schema_state,
    upgrade_preview,
)
from ubr.bootstrap.extensions import NO_EXTENSIONS, Extensions
from ubr.bootstrap.mailing import mailer_of
from ubr.bootstrap.tracing import check_tracing, open_tracing

__all__ = [
    "CLEANING",
    "NO_EXTENSIONS",
    "Environment",
    "Extensions",
    "check_files",
    "check_tracing",
    "common_of",
    "connect",
    "downgrade",
    "is_guessable",
    "mailer_of",
    "migrate",
    "open_environment",
    "open_tracing",
    "preload",
    "schema_state",
    "upgrade_preview",
]
