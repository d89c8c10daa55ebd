"""Statements that are built once and compiled once.

SQLAlchemy describes them. Building and compiling one takes longer than PostgreSQL needs to run it, so the repositories
hold their statements as values, with bind parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, Protocol, TypeAlias

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Executable,
    Insert,
    Select,
    Table,
    any_,
    bindparam,
    func,
    insert,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect

Parameters: TypeAlias = Mapping[str, Any]
Row: TypeAlias = Sequence[Any]
"""The values of a row, in the order of the columns."""

POSTGRESQL: Final = "postgresql"

_DIALECT: Final = asyncpg_dialect()  # type: ignore[no-untyped-call]

_Convert: TypeAlias = Callable[[Any], Any]


class Statement:
    """A statement with named parameters."""

    def __init__(self, statement: Executable | Callable[[str], Executable]) -> None:
        """`statement` is a function of the dialect's name if the dialects need different statements."""
        self._statement = statement

    def on(self, dialect: str) -> Executable:
        return self._sqlite if dialect == "sqlite" else self._postgresql

    @cached_property
    def _sqlite(self) -> Executable:
        return self._build("sqlite")

    @cached_property
    def _postgresql(self) -> Executable:
        return self._build(POSTGRESQL)

    def _build(self, dialect: str) -> Executable:
        return self._statement if isinstance(self._statement, Executable) else self._statement(dialect)

    @cached_property
    def compiled(self) -> CompiledStatement:
        """For PostgreSQL."""
        return CompiledStatement(self._postgresql)


class Lockable(Protocol):
    @property
    def locking(self) -> bool:
        """True if reads must lock."""


class Locking:
    """A query that locks the rows it finds in a unit that may change them. Their keys may still be referenced."""

    def __init__(self, query: Select[Any]) -> None:
        self._plain = Statement(query)
        self._locking = Statement(query.with_for_update(key_share=True))

    def on(self, connection: Lockable) -> Statement:
        return self._locking if connection.locking else self._plain


class CompiledStatement:
    """The text of a statement for asyncpg, and the conversions that its types require."""

    def __init__(self, statement: Executable) -> None:
        # An IN with a list gets a parameter for each value, so its statement can be compiled only with the values.
        compiled: Any = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})  # type: ignore[attr-defined]
        self.text: str = compiled.string
        required = {name for bind, name in compiled.bind_names.items() if bind.required}
        self._defaults: Mapping[str, Any] = {
            name: value for name, value in compiled.params.items() if name not in required
        }
        # SQLAlchemy's public ways to these two belong to one execution.
        to_driver = compiled._bind_processors  # noqa: SLF001
        columns = compiled._result_columns  # noqa: SLF001
        self._order: list[tuple[str, _Convert | None]] = [
            (name, to_driver.get(name)) for name in compiled.positiontup or ()
        ]
        from_driver = [column.type.dialect_impl(_DIALECT).result_processor(_DIALECT, None) for column in columns]
        self._from_driver: list[_Convert | None] = from_driver if any(from_driver) else []
        self.json_columns: Final = [
            index for index, column in enumerate(columns) if isinstance(column.type.dialect_impl(_DIALECT), JSON)
        ]
        """The positions of values that SQLAlchemy's connections decode, and plain ones of asyncpg leave as texts."""

    def arguments(self, given: Parameters | None) -> list[Any]:
        """Errors: `KeyError` for a missing parameter."""
        values = self._defaults if given is None else {**self._defaults, **given}
        return [values[name] if convert is None else convert(values[name]) for name, convert in self._order]

    def rows(self, records: Sequence[Row]) -> Sequence[Row]:
        if not self._from_driver:
            return records
        return [
            tuple(
                value if convert is None else convert(value)
                for value, convert in zip(record, self._from_driver, strict=True)
            )
            for record in records
        ]


def inserting(table: Table, columns: Iterable[Column[Any]] | None = None) -> Statement:
    """Inserts rows with these columns, or all of them. The parameters have the names of the columns."""
    return Statement(insertion(table, columns))


def insertion(table: Table, columns: Iterable[Column[Any]] | None = None) -> Insert:
    """The statement of `inserting`, for use in a larger one."""
    return insert(table).values(_parameters(table.columns if columns is None else columns))


def updating(table: Table, *where: ColumnElement[bool], columns: Iterable[Column[Any]] | None = None) -> Statement:
    """Sets these columns, or all of them. The parameters have the names of the columns."""
    return Statement(update(table).where(*where).values(_parameters(table.columns if columns is None else columns)))


def upserting(dialect: str, table: Table) -> Any:
    """An INSERT that supports ON CONFLICT, without values yet."""
    return (sqlite if dialect == "sqlite" else postgresql).insert(table)


def _parameters(columns: Iterable[Column[Any]]) -> dict[str, Any]:
    return {column.name: bindparam(column.name, type_=column.type) for column in columns}


def moment(dialect: str, given: ColumnElement[Any]) -> ColumnElement[Any]:
    """The given time, or on PostgreSQL that of the query if it is NULL."""
    return given if dialect == "sqlite" else func.coalesce(given, func.statement_timestamp())


def among(dialect: str, column: Column[Any], parameter: str) -> ColumnElement[bool]:
    """True for a column that is among the values of a parameter, which is a list."""
    if dialect == "sqlite":
        return column.in_(bindparam(parameter, expanding=True))
    values: ColumnElement[Any] = bindparam(parameter, type_=ARRAY(column.type))
    return column == any_(values)
