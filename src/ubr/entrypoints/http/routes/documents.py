"""What others build on: the public keys, and the description of this interface."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from litestar import Controller, Response, get

from ubr.application.command import Result
from ubr.application.use_cases.get_public_keys import GetPublicKeys
from ubr.domain.signing_key import JWKS_CACHE
from ubr.entrypoints.http import conditional
from ubr.entrypoints.http.answers import unchanged
from ubr.entrypoints.http.call import Call, Ubr, operation

_JSON: Final = "application/json"
_BRIEFLY: Final = f"public, max-age={JWKS_CACHE.seconds}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """The documents that are the same for as long as the process runs."""

    openapi: bytes
    docs: bytes
    docs_policy: str


class KeySetResult(Result, frozen=True, kw_only=True):
    """A JWK set (RFC 7517, 5)."""

    keys: list[dict[str, str]]


class Documents(Controller):
    path = "/"

    @get(
        "/.well-known/jwks.json",
        **operation(
            GetPublicKeys,
            "service",
            summary="Read the public keys",
            answer=KeySetResult,
            public=True,
            tagged=True,
        ),
    )
    async def public_keys(self, request: Call, ubr: Ubr) -> Response[bytes]:
        # RFC 9111, 5.2.1.4: whoever says so wants no answer of before.
        asked = request.headers.get("cache-control", "").lower()
        keys = ",".join(await ubr.get_public_keys(current="no-cache" in asked))
        return _cacheable(request, f'{{"keys":[{keys}]}}'.encode(), _JSON)

    @get(
        "/api/openapi.json",
        **operation(
            None,
            "service",
            name="get_openapi",
            summary="Read this document",
            answer=dict[str, Any],
            public=True,
            tagged=True,
        ),
    )
    async def openapi(self, request: Call) -> Response[bytes]:
        return _cacheable(request, _pages(request).openapi, _JSON)

    @get(
        "/api/docs",
        **operation(
            None,
            "service",
            name="get_docs",
            summary="Read this document as a page",
            answer=str,
            media_type="text/html",
            public=True,
            tagged=True,
        ),
    )
    async def docs(self, request: Call) -> Response[bytes]:
        pages = _pages(request)
        response = _cacheable(request, pages.docs, "text/html")
        response.headers["content-security-policy"] = pages.docs_policy
        return response


def _pages(request: Call) -> Pages:
    pages: Pages = request.app.state["pages"]
    return pages


def _cacheable(request: Call, content: bytes, media_type: str) -> Response[bytes]:
    revision = hashlib.sha256(content).hexdigest()[:32]
    if conditional.none_match(request.scope["headers"], revision):
        response = Response(content, media_type=media_type, headers={"etag": f'"{revision}"'})
    else:
        response = unchanged(revision)
    response.headers["cache-control"] = _BRIEFLY
    return response
