"""The clock of the database, as SQL expressions.

The clocks of an application's hosts differ, so leases are written and compared by the database's clock. It gives the
time at which the statement began. A column without a time zone holds UTC.
"""

from __future__ import annotations

from typing import Any, NoReturn

from sqlalchemy import BigInteger, Column, ColumnElement, DateTime, Double, bindparam, literal, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from opencode_sessions.errors import ConfigurationError

__all__ = ["Epoch", "is_past", "moment"]


def moment(column: Column[Any], seconds: float | str = 0.0) -> ColumnElement[Any]:
    """The time `seconds` from now, as a value for this column. A text names a parameter in microseconds."""
    kind = _Moment if getattr(column.type, "timezone", False) else _NaiveMoment
    if isinstance(seconds, str):
        return kind(bindparam(seconds, type_=BigInteger()))
    return kind(literal(round(seconds * 1_000_000), BigInteger()))


def is_past(column: Column[Any]) -> ColumnElement[bool]:
    """Whether the time in this column has passed, or is null."""
    return or_(column.is_(None), column <= moment(column))


class Epoch(FunctionElement[float]):
    """The seconds since 1970."""

    type = Double()
    inherit_cache = True


class _Moment(FunctionElement[Any]):
    """The time some microseconds from now."""

    type = DateTime(timezone=True)
    inherit_cache = True


class _NaiveMoment(FunctionElement[Any]):
    """The same in UTC, without a time zone."""

    type = DateTime()
    inherit_cache = True


@compiles(Epoch)
@compiles(_Moment)
@compiles(_NaiveMoment)
def _unknown(_element: Any, compiler: Any, **_: Any) -> NoReturn:
    raise ConfigurationError(
        f"the clock of a database of the kind {compiler.dialect.name!r} is not known, and leases need it: use "
        "PostgreSQL, MariaDB, MySQL or SQLite"
    )


@compiles(Epoch, "postgresql", "cockroachdb")
def _epoch_postgresql(_element: Any, _compiler: Any, **_: Any) -> str:
    return "CAST(extract(epoch FROM statement_timestamp()) AS double precision)"


@compiles(Epoch, "mysql", "mariadb")
def _epoch_mysql(_element: Any, _compiler: Any, **_: Any) -> str:
    return "(timestampdiff(MICROSECOND, '1970-01-01', utc_timestamp(6)) / 1e6)"


@compiles(Epoch, "sqlite")
def _epoch_sqlite(_element: Any, _compiler: Any, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(_Moment, "postgresql", "cockroachdb")
def _moment_postgresql(element: Any, compiler: Any, **more: Any) -> str:
    return f"(statement_timestamp() + {_interval(element, compiler, more)})"


@compiles(_NaiveMoment, "postgresql", "cockroachdb")
def _naive_moment_postgresql(element: Any, compiler: Any, **more: Any) -> str:
    return f"(timezone('UTC', statement_timestamp()) + {_interval(element, compiler, more)})"


@compiles(_Moment, "mysql", "mariadb")
@compiles(_NaiveMoment, "mysql", "mariadb")
def _moment_mysql(element: Any, compiler: Any, **more: Any) -> str:
    return f"(utc_timestamp(6) + INTERVAL {compiler.process(element.clauses, **more)} MICROSECOND)"


@compiles(_Moment, "sqlite")
@compiles(_NaiveMoment, "sqlite")
def _moment_sqlite(element: Any, compiler: Any, **more: Any) -> str:
    later = f"printf('%+.3f seconds', {compiler.process(element.clauses, **more)} / 1e6)"
    # Six digits, as SQLAlchemy stores them: such texts are compared.
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', {later})"


def _interval(element: Any, compiler: Any, more: dict[str, Any]) -> str:
    microseconds = compiler.process(element.clauses, **more)
    return f"CAST({microseconds} AS double precision) * interval '1 microsecond'"
