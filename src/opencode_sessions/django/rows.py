"""One row of a Django model: reading it, and writing it by compare-and-set."""

# ruff: noqa: SLF001 - what Django documents for use on a model begins with an underscore

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.core.exceptions import FieldDoesNotExist
from django.db import DatabaseError, Error, models, router, transaction

from opencode_sessions.django.clock import Epoch, Moment
from opencode_sessions.django.connections import borrowed, in_transaction
from opencode_sessions.django.tenants import current_tenant, inside
from opencode_sessions.errors import (
    ConfigurationError,
    OpenTransactionError,
    RecordGoneError,
    RecordNotSavedError,
)
from opencode_sessions.store.conflicts import ATTEMPTS, lost_to_another
from opencode_sessions.store.keys import key_of, values_in
from opencode_sessions.store.record_columns import EXPIRED, NOT_NULL, NOW, Later, gone

__all__ = ["ModelRow", "all_rows", "database_of"]

_log = logging.getLogger("opencode_sessions.django")

T = TypeVar("T")

_HAS_EXPIRED = models.Q(opencode_turn_lease=None) | models.Q(opencode_turn_lease__lte=Moment())
_COMPUTED: Mapping[str, models.Expression] = {
    NOW: Epoch(),
    EXPIRED: models.ExpressionWrapper(_HAS_EXPIRED, output_field=models.BooleanField()),
}


class ModelRow:
    """The row of an instance, in the database for its writes.

    Args:
        instance: An instance of any model with our fields.
        fields: The names of these fields.
        using: The database's alias; by default the routers' choice for writes of this instance.
        asynchronous: Whether to suspend while the database works.

    Attributes:
        tenant: The tenant of the row; None until the first use, if that suspends.

    Raises:
        ConfigurationError: The model lacks a field.
    """

    def __init__(
        self, instance: models.Model, fields: Sequence[str], *, using: str | None, asynchronous: bool
    ) -> None:
        self.instance = instance
        self._fields = fields
        self._using = using
        self.asynchronous = asynchronous
        self._model = _model_with(type(instance), fields)
        # The thread of an event loop has connections without a tenant; the thread that works has the tenant.
        self.tenant = None if asynchronous else current_tenant(self.using)

    @property
    def using(self) -> str:
        """The alias of the row's database."""
        return self._using or database_of(self.instance)

    @property
    def key(self) -> str:
        """The row's key: its table and primary key."""
        if self.instance.pk is None or self.instance._state.adding:
            name = type(self.instance).__name__
            raise RecordNotSavedError(f"this {name} has no row yet: save it (and commit) first", record=name)
        return key_of(self._model._meta.db_table, self._primary_key)

    def named(self, key: str) -> models.Model | None:
        """An instance with only the primary key in a key, without a query; None if the key is not of this table.

        It is an instance of the model that has the table, because the row may belong to another child.
        """
        values = values_in(key, self._model._meta.db_table, self._primary_key)
        if values is None:
            return None
        fields = [field.attname for field in self._model._meta.pk_fields]
        return self._model.from_db(self.using, fields, values)

    @property
    def _primary_key(self) -> tuple[object, ...]:
        return self.instance.pk if isinstance(self.instance.pk, tuple) else (self.instance.pk,)

    @property
    def model(self) -> type[models.Model]:
        """The model whose own table has the fields: the instance's, or a parent of it."""
        return self._model

    @property
    def pk(self) -> Any:
        """The row's primary key in that table."""
        return getattr(self.instance, self._model._meta.pk.attname)

    def check(self) -> None:
        """See `RecordStore.check`."""
        _ = self.key
        self._refuse_open_transaction()

    async def run(self, work: Callable[[], T], *, shares: bool = True) -> T:
        """Call `work`, in this thread or (suspending) in the thread of Django's sync code.

        A transaction that lost to another one is repeated, so `work` may be called several times.

        Args:
            work: It uses the database.
            shares: See `borrowed`.
        """
        if self.asynchronous:
            return await sync_to_async(self._run, thread_sensitive=True)(work, shares=shares)
        return self._run(work, shares=shares)

    def select(self, computed: str) -> dict[str, Any]:
        """The row's fields as committed now, with the value that the database computes: `NOW` or `EXPIRED`.

        Raises:
            RecordGoneError: There is no such row.
        """
        found = self._query().values(*self._fields, **{computed: _COMPUTED[computed]}).first()
        if found is None:
            raise self._gone()
        return found

    def update(self, *, expected: Mapping[str, object], values: Mapping[str, object]) -> bool:
        """Compare and set, in one statement that is a transaction of its own.

        Returns:
            True if the row had the `expected` values, and now has the new `values`.

        Raises:
            OpenTransactionError: The statement would be part of the caller's transaction.
        """
        self._refuse_open_transaction()
        conditions = dict(_condition(name, value) for name, value in expected.items())
        written = {
            name: Moment(value.seconds) if isinstance(value, Later) else value
            for name, value in values.items()
        }
        return self._query().filter(**conditions).update(**written) == 1

    def read(self, function: Callable[[Any], T]) -> T:
        """Call `function` with a fresh copy of the instance, in a transaction that is rolled back.

        Raises:
            RecordGoneError: There is no such row.
            OpenTransactionError: It would be part of the caller's transaction.
        """
        self._refuse_open_transaction()
        model = type(self.instance)
        with transaction.atomic(using=self.using):
            record = all_rows(model, self.using).filter(pk=self.instance.pk).first()
            if record is None:
                raise self._gone()
            result = function(record)
            transaction.set_rollback(True, using=self.using)
            return result

    def show(self, values: Mapping[str, object]) -> None:
        """Set committed values on the instance. Never queries."""
        vars(self.instance).update(values)

    def _query(self) -> models.QuerySet[Any]:
        return all_rows(self._model, self.using).filter(pk=self.pk)

    def _run(self, work: Callable[[], T], *, shares: bool) -> T:
        for _ in range(ATTEMPTS - 1):
            try:
                return self._once(work, shares=shares)
            except DatabaseError as error:
                if not lost_to_another(error.__cause__):
                    raise
                _log.debug("a transaction lost to another: again")
        return self._once(work, shares=shares)

    def _once(self, work: Callable[[], T], *, shares: bool) -> T:
        if self.tenant is None:
            self.tenant = current_tenant(self.using)
        with inside(self.tenant), borrowed(self.using, shares=shares):
            try:
                return work()
            except Error:
                # Outside of requests, only this closes a broken connection; a worker would otherwise fail each time.
                transaction.get_connection(self.using).close_if_unusable_or_obsolete()
                raise

    def _refuse_open_transaction(self) -> None:
        if in_transaction(transaction.get_connection(self.using)):
            raise OpenTransactionError(
                f"a transaction is open on the database {self.using!r} around the use of {self.key}: what it has "
                "locked would stay so while the network is awaited, and its rollback would undo what was stored "
                "about a session. Call this outside of transaction.atomic(); under ATOMIC_REQUESTS, decorate the "
                "view with transaction.non_atomic_requests",
                record=self.key,
            )

    def _gone(self) -> RecordGoneError:
        return gone(self.key)


def _condition(name: str, value: object) -> tuple[str, object]:
    if value is None or value is NOT_NULL:
        return f"{name}__isnull", value is None
    return name, value


def all_rows(model: type[models.Model], using: str) -> models.QuerySet[Any]:
    """All rows of a model, also those that its managers hide, including the `Meta.base_manager_name`."""
    return models.QuerySet(model, using=using)


def database_of(instance: models.Model) -> str:
    """The alias of the database for writes of this instance."""
    return router.db_for_write(type(instance), instance=instance)


def _model_with(model: type[models.Model], fields: Sequence[str]) -> type[models.Model]:
    """The model whose own table has the fields.

    With multi-table inheritance that is a parent. An update through the child would select first and then write by key,
    which is not a compare-and-set.
    """
    try:
        owners = {model._meta.get_field(name).model for name in fields}
    except FieldDoesNotExist as error:
        raise ConfigurationError(
            f"{error}: inherit from a model of opencode_sessions.django.models, or add the field"
        ) from error
    owner = owners.pop()
    if owners:
        raise ConfigurationError(f"{model.__name__} must have all of {', '.join(fields)} in one table")
    return owner
