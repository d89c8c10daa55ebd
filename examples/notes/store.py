"""The notes, in tables of this service. They name users of ubr by their ids, and refer to none of its tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy import Column, Connection, ForeignKey, MetaData, Table, Text, Uuid, event, insert, or_, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from ubr import errors

TABLES = MetaData()
NOTES = Table(
    "notes",
    TABLES,
    Column("id", Uuid, primary_key=True),
    Column("author", Uuid, nullable=False, index=True),
    Column("text", Text, nullable=False),
)
SHARES = Table(
    "note_shares",
    TABLES,
    Column("note_id", Uuid, ForeignKey(NOTES.c.id, ondelete="CASCADE"), primary_key=True),
    Column("reader", Uuid, primary_key=True, index=True),
)


@dataclass(frozen=True)
class Note:
    """A note, as the service answers it."""

    id: UUID
    author: UUID
    text: str


def open_store(url: str) -> AsyncEngine:
    """The engine of the notes' database, such as `sqlite+aiosqlite:///notes.db`."""
    engine = create_async_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _check_references)
    return engine


def _check_references(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    """SQLite does this on request only, and ubr requires it of a connection that it shares."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def create_tables(connection: Connection) -> None:
    TABLES.create_all(connection)


async def write(connection: AsyncConnection, author: UUID, text: str) -> Note:
    note = Note(id=uuid4(), author=author, text=text)
    await connection.execute(insert(NOTES).values(id=note.id, author=author, text=text))
    return note


async def readable_by(connection: AsyncConnection, reader: UUID) -> Sequence[Note]:
    """The notes that this user wrote, and those that others share with this user."""
    shared = select(SHARES.c.note_id).where(SHARES.c.reader == reader)
    found = select(NOTES).where(or_(NOTES.c.author == reader, NOTES.c.id.in_(shared))).order_by(NOTES.c.id)
    rows = (await connection.execute(found)).mappings()
    return [Note(id=row[NOTES.c.id], author=row[NOTES.c.author], text=row[NOTES.c.text]) for row in rows]


async def share(connection: AsyncConnection, note_id: UUID, *, author: UUID, reader: UUID) -> None:
    """Errors: `NotFound` if this author has no such note."""
    own = select(NOTES.c.id).where(NOTES.c.id == note_id, NOTES.c.author == author)
    if (await connection.execute(own)).first() is None:
        raise errors.NotFound("You have no note with this id")
    known = select(SHARES).where(SHARES.c.note_id == note_id, SHARES.c.reader == reader)
    if (await connection.execute(known)).first() is None:
        await connection.execute(insert(SHARES).values(note_id=note_id, reader=reader))
