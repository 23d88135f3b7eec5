"""The table with our columns of a model, and the statements that read and write one of its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    Table,
    Update,
    and_,
    bindparam,
    inspect,
    null,
    select,
    update,
)
from sqlalchemy.orm import Mapper

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.sqlalchemy.clock import Epoch, is_past, moment
from opencode_sessions.store.keys import key_of, text_of, values_in, values_of
from opencode_sessions.store.record_columns import NOT_NULL, NOW, Later

__all__ = ["Identity", "MappedTable", "bound", "is_bound", "refers"]

Identity = tuple[Any, ...]

_JSON = ("parts", "asks", "error")


@dataclass(frozen=True)
class MappedTable:
    """The table that holds our columns of a model. The model can be any that maps attributes with their names.

    Attributes:
        mapper: The model's mapper.
        table: The table; with joined inheritance that of the class that has the columns.
        columns: The columns by attribute name.
        primary_key: The key's columns in that table, in the order of the model's identity.
    """

    mapper: Mapper[Any]
    table: Table
    columns: Mapping[str, Column[Any]]
    primary_key: tuple[Column[Any], ...]

    @classmethod
    def of(cls, model: type[Any], attributes: Sequence[str]) -> MappedTable:
        """Find the columns.

        Raises:
            ConfigurationError: The model is not mapped, or lacks one of them.
        """
        mapper = inspect(model, raiseerr=False)
        if not isinstance(mapper, Mapper):
            raise ConfigurationError(f"{model!r} is not a mapped class of SQLAlchemy")
        columns = {name: _column(mapper, name) for name in attributes}
        tables = {column.table for column in columns.values()}
        table = tables.pop()
        if tables or not isinstance(table, Table):
            raise ConfigurationError(
                f"{mapper.class_.__name__} must have all of {', '.join(columns)} in one table"
            )
        return cls(
            mapper, table, columns, tuple(_key_column(mapper, table, key) for key in mapper.primary_key)
        )

    def identity(self, primary_key: object) -> Identity:
        """The key as a tuple, made of a tuple or a single value.

        Raises:
            ConfigurationError: The key has too few or too many values.
        """
        identity = primary_key if isinstance(primary_key, tuple) else (primary_key,)
        if len(identity) != len(self.primary_key):
            raise ConfigurationError(
                f"{self.mapper.class_.__name__} has a primary key of {len(self.primary_key)} values "
                f"({', '.join(column.name for column in self.primary_key)}), not {primary_key!r}"
            )
        return identity

    def key(self, identity: Identity) -> str:
        """The row's key, such as ``"conversations:42"``."""
        return key_of(self.table.fullname, identity)

    def named(self, key: str, like: Identity) -> Identity | None:
        """The identity in a key, with the types of another row's; None if the key is not of this table."""
        return values_in(key, self.table.fullname, like)

    def text(self, identity: Identity) -> str:
        """The identity as text.

        Raises:
            ConfigurationError: The text could not be converted back.
        """
        text = text_of(identity)
        if self.identity_in(text) != identity:
            raise ConfigurationError(
                f"the primary key {identity!r} of {self.mapper.class_.__name__} cannot be made of its text, {text!r}: "
                "use integers, texts or UUIDs"
            )
        return text

    def identity_in(self, text: str) -> Identity | None:
        """The identity in a text; None if the text is not one of this table's."""
        return values_of(text, [_maker(column) for column in self.primary_key])

    def select(self, connection: Connection, identity: Identity, computed: str) -> Row[Any] | None:
        """The row's columns by attribute name, with the value that the database computes: `NOW` or `EXPIRED`.

        None if there is no such row.
        """
        statement = _select(self.primary_key, tuple(self.columns.items()), computed)
        return connection.execute(statement, bound(identity)).one_or_none()

    def update(
        self,
        connection: Connection,
        identity: Identity,
        *,
        expected: Mapping[str, object],
        values: Mapping[str, object],
    ) -> bool:
        """Compare and set, in one statement: write `values` if the row has the `expected` values.

        Returns:
            True if the row was written.
        """
        where = [*zip(self.primary_key, identity, strict=True), *self._with_columns(expected)]
        values_set = self._with_columns(values)
        statement = _update(self.table, _kinds(where), _kinds(values_set))
        return connection.execute(statement, _parameters([*where, *values_set])).rowcount == 1

    def _with_columns(self, values: Mapping[str, object]) -> list[tuple[Column[Any], object]]:
        return [(self.columns[name], value) for name, value in values.items()]

    def is_row(self, identity: Identity) -> ColumnElement[bool]:
        """The condition that selects this row."""
        return and_(*(column == value for column, value in zip(self.primary_key, identity, strict=True)))


def _maker(column: Column[Any]) -> Callable[[str], object]:
    """The function that converts a text into a value of the column."""
    try:
        kind = column.type.python_type
    except NotImplementedError:
        return str
    return getattr(kind, "fromisoformat", kind)


_Values = Sequence[tuple[Column[Any], object]]


class _Kind(Enum):
    """The form of a value in a statement; the value itself is a parameter."""

    NULL = auto()
    NOT_NULL = auto()
    LATER = auto()
    GIVEN = auto()

    @classmethod
    def of(cls, value: object) -> _Kind:
        if value is None or value is NOT_NULL:
            return cls.NULL if value is None else cls.NOT_NULL
        return cls.LATER if isinstance(value, Later) else cls.GIVEN


_Kinds = tuple[tuple[Column[Any], _Kind], ...]


def _name(place: int) -> str:
    return f"opencode_{place}"  # a name that no column of a host's has


def is_bound(columns: Sequence[Column[Any]], *, start: int = 0) -> ColumnElement[bool]:
    """The condition that the columns hold what is `bound`, for a statement that is made once."""
    return and_(*(_holds(column, _Kind.GIVEN, place) for place, column in enumerate(columns, start)))


def bound(values: Sequence[object]) -> dict[str, object]:
    """The parameters of such a statement: what the columns are to hold, none of which is None."""
    return {_name(place): value for place, value in enumerate(values)}


def _kinds(values: _Values) -> _Kinds:
    return tuple((column, _Kind.of(value)) for column, value in values)


def _parameters(values: _Values) -> dict[str, object]:
    return {
        _name(place): value.microseconds if isinstance(value, Later) else value
        for place, (_, value) in enumerate(values)
        if value is not None and value is not NOT_NULL
    }


@lru_cache(maxsize=256)
def _update(table: Table, where: _Kinds, values: _Kinds) -> Update:
    """The statement, cached because SQLAlchemy needs longer to build it than to execute it."""
    conditions = [_holds(column, kind, place) for place, (column, kind) in enumerate(where)]
    assignments = {
        column: _written(column, kind, place) for place, (column, kind) in enumerate(values, start=len(where))
    }
    return update(table).where(*conditions).values(assignments)


@lru_cache(maxsize=256)
def _select(
    key: tuple[Column[Any], ...], columns: tuple[tuple[str, Column[Any]], ...], computed: str
) -> Select[Any]:
    """Made once, likewise."""
    labelled: list[ColumnElement[Any]] = [column.label(name) for name, column in columns]
    expression = Epoch() if computed == NOW else is_past(dict(columns)["opencode_turn_lease"])
    return select(*labelled, expression.label(computed)).where(is_bound(key))


def _holds(column: Column[Any], kind: _Kind, place: int) -> ColumnElement[bool]:
    if kind is _Kind.NOT_NULL:
        return column.is_not(None)
    # Spelt out, as not every database knows IS NOT DISTINCT FROM.
    return column.is_(None) if kind is _Kind.NULL else column == bindparam(_name(place), type_=column.type)


def _written(column: Column[Any], kind: _Kind, place: int) -> ColumnElement[Any]:
    if kind is _Kind.LATER:
        return moment(column, _name(place))
    # A plain None would become JSON's null in a JSON column.
    return null() if kind is _Kind.NULL else bindparam(_name(place), type_=column.type)


def _column(mapper: Mapper[Any], name: str) -> Column[Any]:
    column = mapper.columns.get(name)
    if not isinstance(column, Column):
        raise ConfigurationError(
            f"{mapper.class_.__name__} maps no column as {name!r}: inherit from the mixin of "
            "opencode_sessions.sqlalchemy, or map a column under that name"
        )
    if name in _JSON and isinstance(column.type, String):
        raise ConfigurationError(
            f"{mapper.class_.__name__}.{name} is a text column, but it holds lists and objects: map it as JSON"
        )
    return column


def _key_column(mapper: Mapper[Any], table: Table, key: ColumnElement[Any]) -> Column[Any]:
    """The column of the table for this part of the identity; with joined inheritance each table has its own."""
    for column in (*table.primary_key, *mapper.primary_key):
        if isinstance(column, Column) and column.table is table and refers(column, key):
            return column
    raise ConfigurationError(
        f"the table {table.fullname} of {mapper.class_.__name__} has no foreign key to {key}, by which its rows "
        "could be found"
    )


def refers(column: Column[Any], key: ColumnElement[Any]) -> bool:
    """Is the column the same as `key`, or a foreign key to it?"""
    return column is key or any(refers(reference.column, key) for reference in column.foreign_keys)
