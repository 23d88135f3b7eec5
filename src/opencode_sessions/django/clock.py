"""The clock of the database, as SQL expressions.

The clocks of an application's hosts differ, so leases are written and compared by the database's clock. It gives the
time at which the statement began. A column without a time zone holds UTC, independent of `USE_TZ` and `TIME_ZONE`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from opencode_sessions.errors import ConfigurationError

__all__ = ["Epoch", "Moment"]

_EPOCH = {
    "postgresql": "CAST(EXTRACT(EPOCH FROM STATEMENT_TIMESTAMP()) AS double precision)",
    "mysql": "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1e6)",
    "sqlite": "((JULIANDAY('now') - 2440587.5) * 86400.0)",
}

_MOMENT = {
    "postgresql": "(STATEMENT_TIMESTAMP() + CAST(%s AS double precision) * INTERVAL '1 microsecond')",
    "mysql": "(UTC_TIMESTAMP(6) + INTERVAL %s MICROSECOND)",
    # Six digits, as Django stores them, because these texts are compared.
    "sqlite": "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f000', 'now', PRINTF('%%+.3f seconds', %s / 1e6))",
}


class Epoch(models.Expression):
    """The seconds since 1970."""

    def __init__(self) -> None:
        super().__init__(output_field=models.FloatField())

    def as_sql(self, _compiler: Any, connection: BaseDatabaseWrapper) -> tuple[str, tuple[str | int, ...]]:
        """See `Expression`."""
        return _for(connection, _EPOCH), ()


class Moment(models.Expression):
    """The time some seconds from now, as a value for a `DateTimeField`."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(output_field=models.DateTimeField())
        self._microseconds = round(seconds * 1_000_000)

    def as_sql(self, _compiler: Any, connection: BaseDatabaseWrapper) -> tuple[str, tuple[str | int, ...]]:
        """See `Expression`."""
        return _for(connection, _MOMENT), (self._microseconds,)


def _for(connection: BaseDatabaseWrapper, templates: Mapping[str, str]) -> str:
    if connection.vendor not in templates:
        raise ConfigurationError(
            f"the clock of a database of the kind {connection.vendor!r} is not known, and leases need it: use "
            "PostgreSQL, MariaDB, MySQL or SQLite"
        )
    return templates[connection.vendor]
