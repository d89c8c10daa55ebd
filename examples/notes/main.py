"""The service as a process: `granian --interface asgi examples.notes.main:app`.

| variable        | value                                                                                    |
| --------------- | ---------------------------------------------------------------------------------------- |
| NOTES_WAY       | library, http or verifier                                                                |
| NOTES_FRAMEWORK | fastapi (the default) or litestar                                                        |
| NOTES_DATABASE  | the database of the notes; with the library, the one that UBR_DATABASE_URL names         |
| USERS_URL       | the address of ubr, unless with the library                                              |
| USERS_KEY       | the key of this service, with users:read, users:write and, to verify, revocations:read   |
"""

import os
from typing import Any

import httpx

from examples.notes import with_fastapi, with_litestar
from examples.notes.store import open_store
from examples.notes.users import Invite, InviteInTransaction, InviteOverHttp, Machine, OverHttp
from ubr.contrib.auth import Library, Source, Tokens
from ubr.contrib.fastapi import FastApiAuth
from ubr.contrib.litestar import LitestarAuth
from ubr.verifier import Verifier


def create_app() -> Any:
    """The ASGI application. Errors: `KeyError` for a missing variable."""
    way = os.environ["NOTES_WAY"]
    source: Source[Any] = Library(background=True)
    abroad: InviteOverHttp | None = None
    if way != "library":
        url = os.environ["USERS_URL"]
        users = httpx.AsyncClient(base_url=url)
        machine = Machine(users, os.environ["USERS_KEY"])
        source = Tokens(Verifier(url, machine.token, issuer=url)) if way == "verifier" else OverHttp(users)
        abroad = InviteOverHttp(users, machine)
    engine = open_store(os.environ["NOTES_DATABASE"])
    fastapi = os.environ.get("NOTES_FRAMEWORK", "fastapi") == "fastapi"
    auth: FastApiAuth[Any] | LitestarAuth[Any] = FastApiAuth(source) if fastapi else LitestarAuth(source)
    invite: Invite = abroad or InviteInTransaction(auth)
    if isinstance(auth, FastApiAuth):
        return with_fastapi.create_app(auth, invite, engine, mounted=abroad is None)
    return with_litestar.create_app(auth, invite, engine, mounted=abroad is None)


app = create_app()
