"""The user behind a request, and that user's permissions: the part that all frameworks share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from ubr.domain.accounts.user_fields import NO_FIELDS, UserFields
from ubr.domain.actor import Actor
from ubr.domain.errors import Forbidden, Invalid, InvalidToken, Unavailable
from ubr.entrypoints.http.bearer import bearer_token
from ubr.entrypoints.http.fields import Fields

if TYPE_CHECKING:
    from ubr.application.app import Application
    from ubr.settings import Settings, TrustedProxies
    from ubr.verifier import VerifiedToken, Verifier

# A service that only verifies tokens loads no use cases and no database toolkit. The other kind loads no verifier.
# ruff: noqa: PLC0415

Who = TypeVar("Who")
"""The user of a request: an `Actor` from the library, a `VerifiedToken` from a verifier. Both have `user_id`."""


class Gate(Protocol[Who]):
    """Authenticates, and looks up permissions. `ubr.Application` is one."""

    async def authenticate(self, token: str, /) -> Who:
        """The user of an access token. Errors: `InvalidToken`; `Unavailable` if that cannot be decided now."""
        ...

    async def permits(self, who: Who, permission: str, /) -> bool:
        """True if this user holds the permission now. Errors: those of `authenticate`; `Invalid` if it is unknown."""
        ...


class Source(Protocol[Who]):
    """Where the users of a program come from. It is opened once, in the event loop that serves the requests."""

    def open(self) -> AbstractAsyncContextManager[Gate[Who]]:
        """Open it, until the program ends."""
        ...

    @property
    def settings(self) -> Settings | None:
        """The settings of ubr, if it runs in this process."""
        ...

    @property
    def trusted_proxies(self) -> TrustedProxies:
        """Proxies whose `X-Forwarded-For` names the client."""
        ...


class Library:
    """ubr in this process. Without `settings`, they come from the environment.

    With `background`, this process also sends mails and cleans up, as `connect` describes. Set it in every process if
    no `ubr serve` uses the database: one of them does it. `user_fields` declares fields of users, as in `connect`.
    """

    def __init__(
        self, settings: Settings | None = None, *, background: bool = False, user_fields: type[Any] | None = None
    ) -> None:
        self._settings = settings
        self._background = background
        self._user_fields = user_fields

    @property
    def settings(self) -> Settings:
        """The settings. Errors: `WrongSetting`."""
        if self._settings is None:
            from ubr.settings import Settings

            self._settings = Settings.from_env()
        return self._settings

    @property
    def trusted_proxies(self) -> TrustedProxies:
        return self.settings.trusted_proxies

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Gate[Actor]]:
        from ubr.bootstrap import connect

        async with connect(self.settings, background=self._background, user_fields=self._user_fields) as ubr:
            yield ubr


class Tokens:
    """ubr in another process, whose access tokens a verifier checks. No request waits for a call to it.

    `trusted_proxies` has the form of `UBR_TRUSTED_PROXIES`, parsed: networks, or a number of hops.
    """

    def __init__(self, verifier: Verifier, *, trusted_proxies: TrustedProxies = ()) -> None:
        self._verifier = verifier
        self._trusted_proxies = trusted_proxies

    @property
    def settings(self) -> None:
        """None, because ubr runs in another process."""
        return None

    @property
    def trusted_proxies(self) -> TrustedProxies:
        return self._trusted_proxies

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Gate[VerifiedToken]]:
        async with self._verifier as verifier:
            yield TokenGate(verifier)


class TokenGate:
    """A verifier as a `Gate`: its errors become those of the catalogue."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    async def authenticate(self, token: str, /) -> VerifiedToken:
        from ubr.verifier import NotFresh, Refused

        try:
            return await self._verifier.verify(token)
        except Refused:
            raise InvalidToken from None
        except NotFresh:
            raise Unavailable("The token cannot be checked now") from None

    async def permits(self, who: VerifiedToken, permission: str, /) -> bool:
        from ubr.verifier import PermissionsOmitted

        try:
            return who.permits(permission)
        except PermissionsOmitted:
            raise Forbidden("The token omits the permissions, because there are too many") from None


class Auth(Generic[Who]):
    """The users of a program. Make one for each program, before its application; a module for a framework has a kind.

    It opens its source when the program starts, and closes it at the end.
    """

    def __init__(self, source: Source[Who]) -> None:
        self.source: Final = source
        self._gate: Gate[Who] | None = None
        self._replaced = False
        self._required: Final[set[str]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the source. Errors: `RuntimeError` if it is open already, and for a permission that a route requires
        and ubr does not have; those of opening the source.
        """
        if self._replaced:
            yield
            return
        if self._gate is not None:
            raise RuntimeError("The source of users is open already: one program opens it once")
        self._check_required()
        async with self.source.open() as gate:
            self._gate = gate
            try:
                yield
            finally:
                self._gate = None

    @contextmanager
    def using(self, gate: Gate[Who]) -> Iterator[None]:
        """Use this gate instead of the source, which is not opened: for tests, with the application of a double."""
        before = self._gate, self._replaced
        self._gate, self._replaced = gate, True
        try:
            yield
        finally:
            self._gate, self._replaced = before

    def leave(self) -> object:
        """In a fork: the open source belongs to the other process. Returns what has to be kept, and never closed."""
        left = self._gate
        if not self._replaced:
            self._gate = None
        return left

    @property
    def settings(self) -> Settings | None:
        """The settings of ubr; None if it runs in another process, and in tests."""
        return None if self._replaced else self.source.settings

    @property
    def trusted_proxies(self) -> TrustedProxies:
        """Proxies whose `X-Forwarded-For` names the client."""
        return () if self._replaced else self.source.trusted_proxies

    @property
    def user_fields(self) -> UserFields:
        """The fields of users that the program declares. None are known before ubr runs in this process."""
        from ubr.application.app import Application

        gate: object = self._gate
        return gate.list_users.user_fields if isinstance(gate, Application) else NO_FIELDS

    @property
    def gate(self) -> Gate[Who]:
        """The open gate. Errors: `RuntimeError` before the program starts and after it ends."""
        if self._gate is None:
            raise RuntimeError("The source of users is not open: give `lifespan` to the application")
        return self._gate

    @property
    def ubr(self) -> Application:
        """The use cases. Errors: `RuntimeError` if ubr does not run in this process."""
        from ubr.application.app import Application

        gate: object = self.gate
        if isinstance(gate, Application):
            return gate
        raise RuntimeError("ubr runs in another process, so its use cases are called over HTTP")

    async def identify(self, fields: Fields) -> Who:
        """The user of a request with these header fields, now.

        Nothing is kept with the request: a WebSocket or a stream may outlast its session, and a program may have a
        second `Auth` below a path, with other users. Errors: `Unauthenticated`; `InvalidToken`; `Unavailable`.
        """
        return await self.gate.authenticate(bearer_token(fields))

    async def identify_if_given(self, fields: Fields) -> Who | None:
        """The user; None for a request without an `Authorization` field. An invalid token is an error here too.

        Errors: those of `identify`.
        """
        return await self.identify(fields) if b"authorization" in fields else None

    async def check(self, who: Who, *permissions: str) -> None:
        """Errors: `Forbidden` unless the user holds each permission now; those of `Gate.authenticate`.

        Also `RuntimeError` for a permission that does not exist: the program is wrong, and not the request.
        """
        for permission in permissions:
            try:
                permitted = await self.gate.permits(who, permission)
            except Invalid:
                raise _unknown(permission) from None
            if not permitted:
                raise Forbidden(f"This requires the permission {permission}")

    def _requires(self, permissions: Iterable[str]) -> None:
        """Note the permissions of a route, so that a mistake in them stops the start and does not wait for a user."""
        self._required.update(permissions)

    def _check_required(self) -> None:
        settings = self.settings
        if settings is None:
            return
        from ubr.domain.roles.permissions import BUILT_IN_PERMISSIONS

        known = {*map(str, BUILT_IN_PERMISSIONS.names), *settings.permissions}
        if unknown := sorted(self._required - known):
            raise _unknown(unknown[0])


def _unknown(permission: str) -> RuntimeError:
    return RuntimeError(f"{permission} is not a permission of ubr: add it to UBR_PERMISSIONS")
