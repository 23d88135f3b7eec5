"""The calls that must end before a client is closed."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from opencode_sessions.runtime.forks import renew_in_children

__all__ = ["Closing"]


class Closing:
    """Collects calls that are awaited before a client is closed; see `Clock.at_close`."""

    def __init__(self) -> None:
        self._before: list[Callable[[], Coroutine[Any, Any, None]]] = []
        renew_in_children(self, lambda closing: closing._renew())  # noqa: SLF001 - its own

    def _renew(self) -> None:
        """Forget the calls in a forked child: the parent makes them."""
        self._before.clear()

    def at_close(self, call: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
        """See `Clock.at_close`."""
        self._before.append(call)
        return lambda: self._before.remove(call) if call in self._before else None

    async def wind_up(self) -> None:
        """See `Runtime.wind_up`."""
        for call in list(self._before):
            await call()
