"""The public keys, and the OpenAPI document."""

from __future__ import annotations

import asyncio
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec

from ubr.application.kernel.command import Result
from ubr.application.kernel.fields import EXAMPLE_HASH, example
from ubr.application.keys.get_public_keys import GetPublicKeys
from ubr.domain.errors import NotFound
from ubr.domain.keys.signing_key import JWKS_CACHE
from ubr.entrypoints.http import docs_page, files
from ubr.entrypoints.http.call import Call, operation
from ubr.entrypoints.http.files import Described, File, described_by, serve
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.routing import Controller, get

_JSON: Final = "application/json"
_BRIEFLY: Final = f"public, max-age={JWKS_CACHE.seconds}"
_ASKED_FOR_EACH_TIME: Final = "public, no-cache"
"""An outdated page would request assets that no longer exist."""
_FOR_GOOD: Final = "public, max-age=31536000, immutable"
_KID: Final = EXAMPLE_HASH[:43]
"""The same hash in base64url."""


class KeySetResult(Result, frozen=True, kw_only=True):
    """A JWK set (RFC 7517, 5)."""

    keys: Annotated[
        list[dict[str, str]],
        example([{"kty": "OKP", "crv": "Ed25519", "kid": _KID, "use": "sig", "alg": "EdDSA", "x": _KID}]),
    ]


class Documents(Controller):
    path = "/"

    @get(
        "/",
        operation(
            None,
            "service",
            name="get_root",
            summary="Go to the documentation",
            status=302,
            answer=str,
            public=True,
            described=False,
        ),
    )
    async def root(self, _: Call) -> Response:
        return to_the_documentation()

    @get(
        "/.well-known/jwks.json",
        operation(
            GetPublicKeys,
            "service",
            summary="Read the public keys",
            answer=KeySetResult,
            public=True,
            tagged=True,
            cache_control=_BRIEFLY,
        ),
    )
    async def public_keys(self, call: Call) -> Response:
        # RFC 9111, 5.2.1.4: a client that sends `no-cache` wants no stored response.
        asked = b",".join(call.fields.get(b"cache-control", ())).lower()
        keys = ",".join(await call.ubr.get_public_keys(current=b"no-cache" in asked))
        return serve(call, File.of(f'{{"keys":[{keys}]}}'.encode(), _JSON, pack=False), cache_control=_BRIEFLY)

    @get(
        "/api/openapi.json",
        operation(
            None,
            "service",
            name="get_openapi",
            summary="Read this document",
            answer=dict[str, Any],
            public=True,
            tagged=True,
            cache_control=_BRIEFLY,
        ),
    )
    async def openapi(self, call: Call) -> Response:
        return serve(call, await asyncio.to_thread(_openapi, described_by(call)), cache_control=_BRIEFLY)

    @get(
        "/api/docs",
        operation(
            None,
            "service",
            name="get_docs",
            summary="Read this document as a page",
            answer=str,
            media_type="text/html",
            public=True,
            tagged=True,
            cache_control=_ASKED_FOR_EACH_TIME,
        ),
    )
    async def docs(self, call: Call) -> Response:
        response = serve(call, await asyncio.to_thread(_docs), cache_control=_ASKED_FOR_EACH_TIME)
        response.headers["content-security-policy"] = docs_page.POLICY
        return response

    @get(
        "/api/docs/{revision}/{asset}",
        operation(
            None,
            "service",
            name="get_docs_asset",
            summary="Load an asset of the page",
            answer=str,
            public=True,
            tagged=True,
            cache_control=_FOR_GOOD,
            described=False,
        ),
    )
    async def docs_asset(self, call: Call) -> Response:
        assets = await asyncio.to_thread(files.assets)
        wanted = assets.get(call.path_params["asset"])
        if wanted is None or call.path_params["revision"] != files.assets_revision():
            raise NotFound("This path does not exist")
        return serve(call, wanted, cache_control=_FOR_GOOD)


def to_the_documentation() -> Response:
    # Relative, because a proxy may serve this path under another one.
    return Response(status=HTTPStatus.FOUND, headers={"location": "api/docs"})


# Only the first request for one of these waits until it is made.


@cache
def _openapi(described: Described) -> File:
    return File.of(msgspec.json.encode(described()), _JSON)


@cache
def _docs() -> File:
    return File.of(docs_page.page(files.assets_revision()).encode(), "text/html")
