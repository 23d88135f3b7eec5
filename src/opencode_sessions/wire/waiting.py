"""A message while something takes long."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["announced"]


@contextmanager
def announced(say: Callable[[str], object], what: str, *, after: float = 2.0) -> Iterator[None]:
    """Call `say(what)`, from another thread, if the block takes longer than `after` seconds."""
    timer = threading.Timer(after, say, (what,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
