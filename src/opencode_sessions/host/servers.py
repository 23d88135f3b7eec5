"""The OpenCode servers of a host: what it says of each, and which of them gets a new record."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from opencode_sessions.errors import ConfigurationError, RecordGoneError, TurnLimitError
from opencode_sessions.sessions.servers import DEFAULT_SERVER, Placement
from opencode_sessions.store.records import RecordStore
from opencode_sessions.store.turn_table import Place
from opencode_sessions.validation import require
from opencode_sessions.wire.address import server_url

__all__ = ["LeastLoaded", "Running", "Server", "ServerFor", "ServerLimits", "running_on"]

ServerFor = Callable[[Any], str | None]
Running = Callable[[], Awaitable[Mapping[str | None, int]]]
"""How many turns run now in sessions of each server, by the name that their records' rows have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One of several OpenCode servers.

    Attributes:
        url: Its URL.
        username: By default the host's.
        password: By default the host's.
        weight: Its capacity compared with the others: 2.0 means twice as many turns.
        draining: Whether it gets no new records. Its present records stay until each gets a new session.
        turns: How many turns may run on it at once, from all processes; None: any number.

    Raises:
        ConfigurationError: One of them cannot work.
    """

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    weight: float = 1.0
    draining: bool = False
    turns: int | None = None

    def __post_init__(self) -> None:
        server_url(self.url)
        weight, turns = self.weight, self.turns
        require(isinstance(weight, int | float) and weight > 0, "weight must be a number above 0", weight)
        require(isinstance(self.draining, bool), "draining must be True or False", self.draining)
        require(
            turns is None or (isinstance(turns, int) and turns > 0),
            "turns must be a whole number above 0",
            turns,
        )


class LeastLoaded:
    """A `Chooser`: the host's own choice, else the server that runs the fewest turns for its weight.

    Among several servers with the lowest load, it chooses at random, by weight. So idle servers get records in
    proportion to their weights.

    Args:
        servers: All servers of the host.
        server_for: The host's own choice for a fresh copy of the record; None: no choice.
        running: Counts running turns.
    """

    def __init__(self, servers: Mapping[str, Server], server_for: ServerFor | None, running: Running) -> None:
        self._servers = servers
        self._server_for = server_for
        self._running = running

    def takes(self, server: str) -> bool:
        """See `Chooser.takes`."""
        return server in self._servers and not self._servers[server].draining

    async def choose(self, store: RecordStore) -> str:
        """See `Chooser.choose`."""
        if self._server_for is not None:
            _, chosen = await store.read(self._server_for)
            if chosen is not None:
                return self._checked(chosen, store)
        takers = [name for name in self._servers if self.takes(name)]
        if not takers:
            raise ConfigurationError(
                f"{store.key} has no session yet, and no server takes it: {', '.join(self._servers)} are draining. Add "
                "a server, or let one of them take new records again (draining=False)"
            )
        if len(takers) == 1:
            return takers[0]
        running = await self._running()
        loads = {name: running_on(running, name) / self._servers[name].weight for name in takers}
        least = [name for name in takers if loads[name] == min(loads.values())]
        return random.choices(least, [self._servers[name].weight for name in least])[0]  # noqa: S311 - no secret

    def _checked(self, chosen: str, store: RecordStore) -> str:
        if not self.takes(chosen):
            known = ", ".join(name for name in self._servers if self.takes(name)) or "none"
            raise ConfigurationError(
                f"server_for says that {store.key} goes to the server {chosen!r}, and those that take new records are: "
                f"{known}"
            )
        return chosen


class ServerLimits:
    """A `Gate` that limits the turns on a server, across processes.

    A turn first says in its row that it runs, then counts, and steps back if there are too many. If several turns begin
    at the same time, the last one sees all others. So the limit is never exceeded.

    Args:
        servers: All servers of the host.
        running: Counts running turns.
    """

    def __init__(self, servers: Mapping[str, Server], running: Running) -> None:
        self._servers = servers
        self._running = running

    async def admit(self, record: Placement, key: str, *, begun: bool) -> None:
        """See `Gate.admit`."""
        name = await record.place()
        most = self._most(name)
        if name is None or most is None:
            return
        count = running_on(await self._running(), name) + (0 if begun else 1)
        if count > most:
            raise TurnLimitError(
                f"the turn of {key} cannot begin: {most} turns run on the server {name!r}, and that is as many as it "
                "may. Run it later",
                message_key=key,
                limit=f"server {name}",
            )

    async def places(self, record: Placement) -> Sequence[Place]:
        """See `Gate.places`."""
        try:
            name = await record.place()
        except RecordGoneError:
            return []
        return [] if self._most(name) is None else [Place(server=name, unnamed=name == DEFAULT_SERVER)]

    def _most(self, name: str | None) -> int | None:
        """How many turns may run there at once."""
        return self._servers[name].turns if name is not None and name in self._servers else None


def running_on(running: Mapping[str | None, int], name: str) -> int:
    """How many turns run on a server."""
    return running.get(name, 0) + (running.get(None, 0) if name == DEFAULT_SERVER else 0)
