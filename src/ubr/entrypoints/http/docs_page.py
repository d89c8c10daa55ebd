"""The page for reading and trying the OpenAPI document: Swagger UI, served only from files of the package."""

from __future__ import annotations

from typing import Final

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Forbids inline scripts and styles, and any connection to another host."""

ASSETS: Final = "docs/{revision}/{asset}"
"""Relative to the page, because a proxy may serve `/api` under another path."""

_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>ubr: HTTP interface</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{style}">
<script defer src="{bundle}"></script>
<script defer src="{start}"></script>
</head>
<body>
<noscript>
<p>This page requires JavaScript. <a href="openapi.json">The OpenAPI document</a> and
<a href="../problems">the pages about its problems</a> do not.</p>
</noscript>
<div id="interface"></div>
</body>
</html>
"""


def page(revision: str) -> str:
    """The page, with the assets of this revision."""

    def path(asset: str) -> str:
        return ASSETS.format(revision=revision, asset=asset)

    return _PAGE.format(style=path("swagger-ui.css"), bundle=path("swagger-ui-bundle.js"), start=path("start.js"))
