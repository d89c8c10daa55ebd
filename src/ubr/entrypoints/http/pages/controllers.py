"""The controllers of all pages. The application imports nothing else of this room."""

from __future__ import annotations

from ubr.entrypoints.http.page_options import PageOptions
from ubr.entrypoints.http.pages.console.controllers import CONSOLE
from ubr.entrypoints.http.pages.errors import answer_error, refused_page_of
from ubr.entrypoints.http.pages.rendering import SITE, Site, preload
from ubr.entrypoints.http.pages.routes.account import AccountPages
from ubr.entrypoints.http.pages.routes.assets import PageAssets
from ubr.entrypoints.http.pages.routes.links import LinkPages
from ubr.entrypoints.http.pages.routes.login import LoginPages
from ubr.entrypoints.http.pages.routes.registration import RegistrationPages
from ubr.entrypoints.http.routing import Controller

__all__ = ["SITE", "Site", "answer_error", "controllers_of", "preload", "refused_page_of"]

_ACCOUNT = (PageAssets, LoginPages, RegistrationPages, LinkPages, AccountPages)


def controllers_of(options: PageOptions) -> tuple[type[Controller], ...]:
    """The controllers of the pages that the operator wants."""
    return (*_ACCOUNT, *CONSOLE) if options.scope == "all" else _ACCOUNT
