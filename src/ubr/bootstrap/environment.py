"""Starts an application from its settings, and stops it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from msgspec.structs import replace

from ubr.adapters.security.system import utc_now
from ubr.application.kernel.periodic import always, running_beside
from ubr.application.ports.metrics import NO_METRICS, Load, Metrics
from ubr.application.ports.schema import FoundSchema, WrongSchema
from ubr.application.ports.system import Clock
from ubr.bootstrap.extensions import NO_EXTENSIONS, Extensions
from ubr.bootstrap.user_fields import user_fields_of
from ubr.domain.actor import SYSTEM
from ubr.extras import require
from ubr.settings import MEMORY, Settings, ensure_embedded_files

if TYPE_CHECKING:
    from ubr.adapters.sql.migrations.preview import Preview
    from ubr.application.access.session_cache import SessionCache
    from ubr.application.app import Application
    from ubr.application.audit.denials import DenialRecorder
    from ubr.application.operations.backlogs import ReadBacklogs
    from ubr.application.operations.janitor import Janitor
    from ubr.application.operations.leader import Leader
    from ubr.application.ports.unit_of_work import Store
    from ubr.bootstrap.memory import MemoryContainer
    from ubr.bootstrap.ports import Ports
    from ubr.bootstrap.sql import SqlContainer

# Each environment is imported only on demand, and the application and dependency-injector with it. So a test in memory
# loads no database toolkit, and a program that imports `connect` loads only what it may not do without.


_DELIVERING: Final = 1.0
"""Seconds between two checks for mails to send."""

CLEANING: Final = 60.0
"""Seconds between two runs of the janitor."""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a serving process: the application, its background jobs, and the parts that operators look at."""

    application: Application
    janitor: Janitor
    leader: Leader
    denials: DenialRecorder
    session_cache: SessionCache
    store: Store
    hashing: Callable[[], Load]
    """The passwords being hashed, and those waiting."""
    read_backlogs: ReadBacklogs


def _container(settings: Settings, clock: Clock | None, metrics: Metrics) -> MemoryContainer | SqlContainer:
    from dependency_injector import providers  # noqa: PLC0415

    require_extras(settings)
    container: MemoryContainer | SqlContainer
    if settings.database_url == MEMORY:
        from ubr.bootstrap.memory import MemoryContainer  # noqa: PLC0415

        container = MemoryContainer(settings=settings)
    else:
        from ubr.bootstrap.sql import SqlContainer  # noqa: PLC0415

        own = utc_now if settings.database_url.startswith("sqlite") else None
        container = SqlContainer(settings=settings, store_clock=providers.Object(clock or own))
    if clock is not None:
        container.clock.override(providers.Object(clock))
    container.metrics.override(providers.Object(metrics))
    return container


def require_extras(settings: Settings) -> None:
    """Look for the packages of the database and of Redis. Errors: `MissingExtra`."""
    if settings.database_url == MEMORY:
        return
    for url in {settings.database_url, settings.owner_url}:
        require("sqlite" if url.startswith("sqlite") else "postgres")
    if settings.redis_url is not None:
        require("redis")


def check_files(settings: Settings) -> None:
    """Read the files that settings name: forbidden passwords, templates of mails, and fields of users.

    Look for optional packages.

    Errors: `WrongSetting` if one cannot be used; `MissingExtra`.
    """
    from ubr.bootstrap.decisions import common_of  # noqa: PLC0415
    from ubr.bootstrap.mailing import mailer_of, renderer_of  # noqa: PLC0415
    from ubr.bootstrap.tracing import check_tracing  # noqa: PLC0415

    require_extras(settings)
    mailer_of(settings, utc_now)
    common_of(settings)
    user_fields_of(settings)
    renderer_of(settings)
    check_tracing(settings)


def preload(settings: Settings) -> None:
    """Import the modules of this environment, in a process whose forks will open it: they share the memory."""
    if settings.database_url == MEMORY:
        return
    require_extras(settings)
    modules = ["ubr.bootstrap.sql", "idna", "jwt.algorithms"]
    if not settings.database_url.startswith("sqlite"):
        modules.append("ubr.adapters.sql.postgresql")
    if settings.redis_url is not None:
        modules.append("ubr.adapters.redis")
    for module in modules:
        import_module(module)


@asynccontextmanager
async def open_environment(
    settings: Settings,
    *,
    clock: Clock | None = None,
    metrics: Metrics = NO_METRICS,
    prepared: bool = True,
    extensions: Extensions = NO_EXTENSIONS,
    user_fields: type[Any] | None = None,
    instrument: Callable[[Ports], Ports] | None = None,
    following: bool = True,
    delivering: bool = True,
    sequencing: bool = True,
    led: bool = False,
) -> AsyncIterator[Environment]:
    """The complete environment of a process, on an up-to-date schema. `clock` replaces every clock, for tests.

    `metrics` takes note of facts; by default nothing does. `extensions` are parts of the host, `user_fields`
    declares its fields, and `instrument` replaces adapters, for traces.

    Without `prepared`, the application can manage signing keys that no secret decrypts, but cannot sign or verify
    tokens.
    Without `following`, it leaves no trace in the database, and can only read the log.
    Without `delivering`, it leaves mails and the index of fields to longer-lived processes, and without `sequencing`
    the tree of the audit log.
    With `led`, it does these jobs while it is the leader among the processes that set `led`.
    The environment belongs to the event loop that opens it; a call from another loop raises `WrongEventLoop`.
    Errors: `MissingExtra` if these settings take packages that are not installed; `StoreUnavailable` if the database is
    unavailable; `SigningKeyLocked`; `WrongSetting` if an operator's template, or declaration of fields, cannot be used.
    """
    from dependency_injector import providers  # noqa: PLC0415

    container = _container(settings, clock, metrics)
    container.hooks.override(providers.Object(extensions.hooks))
    container.home().check()
    ports = extensions.applied(container.ports(), settings, container.hasher())
    ports = replace(ports, user_fields=user_fields_of(settings, user_fields))
    container.ports.override(providers.Object(ports if instrument is None else instrument(ports)))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(container.store().close)
        stack.callback(container.hasher().close)
        if (redis := container.redis()) is not None:
            stack.push_async_callback(redis.close)
        services, application = container.services(), container.application()
        leader = services.leader
        if prepared:
            await application.initialize()
        if following and settings.database_url != MEMORY:  # in memory, no job runs beside a test
            await stack.enter_async_context(services.feed_follower.following())
            if prepared:
                await stack.enter_async_context(services.keys.following())
            if prepared:
                await services.field_indexer.declare()
            if led:
                await stack.enter_async_context(leader.running())
            job = leader.led if led else always
            if prepared:
                maintenance = services.audit_maintenance
                await stack.enter_async_context(maintenance.running(job) if sequencing else maintenance.counting())
            if prepared and delivering:
                if application.deliver_mail.mailer.sends:
                    require("mail", "jinja2")
                deliver = partial(application.deliver_mail, actor=SYSTEM)
                await stack.enter_async_context(running_beside((job(deliver), _DELIVERING)))
                await stack.enter_async_context(services.field_indexer.running())
        yield Environment(
            application=application,
            janitor=services.janitor,
            leader=leader,
            denials=services.denial_recorder,
            session_cache=services.session_cache,
            store=container.store(),
            hashing=lambda: container.hasher().load,
            read_backlogs=services.read_backlogs,
        )


@asynccontextmanager
async def connect(
    settings: Settings,
    *,
    clock: Clock | None = None,
    background: bool = False,
    extensions: Extensions = NO_EXTENSIONS,
    user_fields: type[Any] | None = None,
) -> AsyncIterator[Application]:
    """Every use case, ready for in-process calls. The schema is migrated if `UBR_MIGRATE` is `auto`.

    With `background`, this process also does the jobs of `ubr serve`: it sends queued mails, adds entries to the tree
    of the audit log, deletes expired rows, and indexes users by fields whose declaration has changed. Set it in
    long-lived processes if no `ubr serve` uses this database. One of them does the jobs; if it dies, another one does
    them within ten seconds. In memory there are no background jobs.

    `extensions` are parts of this program: see docs/extending.md. `user_fields` is a `msgspec.Struct` that declares
    further fields of users: see docs/fields.md.

    Missing files of the embedded database are created. Errors: `MissingExtra` if these settings take packages that are
    not installed; `StoreUnavailable` if the database is unavailable; `WrongSchema` if its tables are not those of this
    version; `WrongSetting` if those files cannot be created; `TypeError` and `ValueError` for a structure that declares
    no fields.
    """
    settings = ensure_embedded_files(settings)
    if settings.migrate == "auto":
        await migrate(settings)
    elif (found := await schema_state(settings)) != "current":
        raise WrongSchema(found)
    async with AsyncExitStack() as stack:
        environment = await stack.enter_async_context(
            open_environment(
                settings,
                clock=clock,
                extensions=extensions,
                user_fields=user_fields,
                delivering=background,
                sequencing=background,
                led=background,
            )
        )
        if background and settings.database_url != MEMORY:
            clean = environment.leader.led(environment.janitor)
            await stack.enter_async_context(running_beside((clean, CLEANING)))
        yield environment.application


async def migrate(settings: Settings) -> None:
    """Migrate the schema. Safe to run from any number of processes at once.

    If another role owns the tables, the role of the service is granted the privileges it needs, and created if AWS IAM
    authenticates it. Errors: `ValueError` if that role has no name; `StoreUnavailable`; `WrongSchema` if a newer
    version of ubr upgraded the database.
    """
    if settings.database_url == MEMORY:
        return
    require_extras(settings)
    from ubr.adapters.sql import migrations  # noqa: PLC0415

    owner = settings.migration_database_url
    try:
        if owner is None:
            await migrations.upgrade(settings.database_url, schema=settings.database_schema)
        else:
            service = migrations.role_of(settings.database_url)
            iam = migrations.is_authenticated_by_iam(settings.database_url)
            await migrations.upgrade(owner, service=service, iam=iam, schema=settings.database_schema)
    except migrations.UnknownSchema:
        raise WrongSchema("unknown") from None


async def downgrade(settings: Settings, revision: str) -> None:
    """Downgrade the schema to a revision, as the owner of the tables. Data of later revisions is deleted.

    Errors: `StoreUnavailable`.
    """
    require_extras(settings)
    from ubr.adapters.sql import migrations  # noqa: PLC0415

    await migrations.downgrade(settings.owner_url, revision, schema=settings.database_schema)


async def upgrade_preview(settings: Settings) -> Preview:
    """The migrations that an upgrade would apply.

    Errors: `StoreUnavailable`, also if a newer version of ubr upgraded the database.
    """
    require_extras(settings)
    from ubr.adapters.sql.migrations.preview import preview  # noqa: PLC0415

    return await preview(settings.owner_url, schema=settings.database_schema)


async def schema_state(settings: Settings) -> Literal["current"] | FoundSchema:
    """Compare the schema with this version of ubr.

    Errors: `StoreUnavailable` if the database is unavailable.
    """
    if settings.database_url == MEMORY:
        return "current"
    require_extras(settings)
    from ubr.adapters.sql.migrations import SchemaState, check  # noqa: PLC0415

    match await check(settings.database_url, schema=settings.database_schema):
        case SchemaState.CURRENT:
            return "current"
        case SchemaState.UNKNOWN:
            return "unknown"
        case SchemaState.EMPTY:
            return "empty"
        case _:
            return "behind"
