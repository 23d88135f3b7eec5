"""Which row an instance is a copy of: its `opencode_uid`, kept where an expiry does not forget it.

A commit expires all attributes, and to load one again begins a transaction. So the value is kept beside the instance
whenever the ORM has loaded or stored it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import event, inspect

from opencode_sessions.store.record_columns import UID

__all__ = ["carried", "keep_uids_of"]


def keep_uids_of(mixin: type[Any]) -> None:
    """From now on, for all models that inherit from the mixin."""
    for name in ("load", "refresh", "refresh_flush"):
        event.listen(mixin, name, _keep, propagate=True)


def carried(instance: object) -> Mapping[str, Any]:
    """What the instance carries, and which row it is a copy of. Never queries."""
    return {UID: inspect(instance).info.get(UID), **vars(instance)}


def _keep(target: object, *_: Any) -> None:
    uid = vars(target).get(UID)
    if uid is not None:
        inspect(target).info[UID] = uid
