"""The `opencode_uid` of an instance's row, remembered although its attributes expire.

A commit expires all attributes, and loading one again begins a transaction. So the value is remembered with the
instance whenever the ORM has loaded or stored it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import event, inspect

from opencode_sessions.store.record_columns import UID

__all__ = ["carried", "keep_uids_of"]


def keep_uids_of(mixin: type[Any]) -> None:
    """From now on, remember the uids of all models that inherit from the mixin."""
    for name in ("load", "refresh", "refresh_flush"):
        event.listen(mixin, name, _keep, propagate=True)


def carried(instance: object) -> Mapping[str, Any]:
    """The loaded attributes of the instance, with the remembered `opencode_uid`. Never queries."""
    return {UID: inspect(instance).info.get(UID), **vars(instance)}


def _keep(target: object, *_: Any) -> None:
    uid = vars(target).get(UID)
    if uid is not None:
        inspect(target).info[UID] = uid
