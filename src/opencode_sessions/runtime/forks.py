"""What a forked child must not use as its parent left it: its connections, and locks that nobody will open."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

__all__ = ["renew_in_children"]

T = TypeVar("T")

_alive: WeakKeyDictionary[Any, Callable[[Any], None]] = WeakKeyDictionary()


def renew_in_children(owner: T, renew: Callable[[T], None]) -> None:
    """Call `renew(owner)` first of all in every child that is forked while the owner lives."""
    _alive[owner] = renew


def _after_fork() -> None:
    for owner, renew in list(_alive.items()):
        renew(owner)


os.register_at_fork(after_in_child=_after_fork)
