"""State that a forked child must renew: connections of its parent, and locks that no thread would release."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

__all__ = ["renew_in_children"]

T = TypeVar("T")

_alive: WeakKeyDictionary[Any, Callable[[Any], None]] = WeakKeyDictionary()


def renew_in_children(owner: T, renew: Callable[[T], None]) -> None:
    """Call `renew(owner)` in every child that is forked while the owner exists, before anything else."""
    _alive[owner] = renew


def _after_fork() -> None:
    for owner, renew in list(_alive.items()):
        renew(owner)


os.register_at_fork(after_in_child=_after_fork)
