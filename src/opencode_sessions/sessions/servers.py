"""Several OpenCode servers: the server that has a record's session, and the way of each call to it.

One data folder belongs to one server, so a session lives on one. The record's row names it (`opencode_server`), in the
same write that reserves the session's id. A `Placement` stands in front of the row's store and remembers what it read
there; a `RoutedWire` stands in front of the servers and sends each call to the one that has the call's session.

| the row names … | its session is on |
|---|---|
| a server | that one |
| a session, and no server | `default`: the session was made when there was one server, without a name |
| neither | no server yet: one is chosen, see `Chooser` |
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar, cast

from opencode_sessions.errors import ConfigurationError, NotFoundError, RecordGoneError, UnknownServerError
from opencode_sessions.runtime.ports import Clock
from opencode_sessions.store.records import RecordState, RecordStore
from opencode_sessions.wire.api import Api
from opencode_sessions.wire.clients import AsyncClient, Client

__all__ = ["DEFAULT_SERVER", "Chooser", "Placement", "RoutedWire", "Servers", "wires_of"]

C = TypeVar("C", Client, AsyncClient)
T = TypeVar("T")

DEFAULT_SERVER = "default"
"""The name of a server that was configured without one."""


class Chooser(Protocol):
    """Chooses the servers for the sessions of new records."""

    def takes(self, server: str) -> bool:
        """Does this server accept new records?"""

    async def choose(self, store: RecordStore) -> str:
        """The server for a record that has none.

        Raises:
            ConfigurationError: No server accepts new records.
        """


class Servers(Mapping[str, C], Generic[C]):
    """The clients of several servers, by name. `Session` and `Turn` accept it in place of a client.

    ::

        servers = Servers({"a": Client("http://10.0.0.1:4096"), "b": Client("http://10.0.0.2:4096")})
        session.ensure(servers)

    A host makes one from its settings. `Servers` closes no client.

    Args:
        clients: The clients, all sync or all async. Rows that name no server use the client `default`.
        chooser: Chooses the server for a new record; by default at random.

    Raises:
        ConfigurationError: There is no client, or a row cannot hold one of the names.
    """

    def __init__(self, clients: Mapping[str, C], *, chooser: Chooser | None = None) -> None:
        if not clients:
            raise ConfigurationError('servers must name at least one, such as {"a": Client(url)}')
        for name in clients:
            if not isinstance(name, str) or not 0 < len(name) <= 64:  # noqa: PLR2004 - the column's length
                raise ConfigurationError(
                    f"a server's name must be a text of 1 to 64 characters, not {name!r}"
                )
        self._clients: dict[str, C] = dict(clients)
        self.chooser: Chooser = chooser or _AnyOf(self._clients)

    def __getitem__(self, name: str) -> C:
        return self._clients[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._clients)

    def __len__(self) -> int:
        return len(self._clients)

    def named(self, name: str | None, session_id: str, record: str) -> C:
        """The client of the server that a record's row names for its session.

        Raises:
            UnknownServerError: There is no server with that name.
        """
        name = name or DEFAULT_SERVER
        if name not in self._clients:
            raise UnknownServerError(
                f"session {session_id} of {record} is on the server {name!r}, and there is none of this name among the "
                f"host's servers: {', '.join(self._clients)}. Give the server its name back (one that had no name is "
                f"called {DEFAULT_SERVER!r}); if it is gone for good, move the record to another one. The row stays as "
                "it is",
                server=name,
            )
        return self._clients[name]

    @property
    def is_one(self) -> bool:
        """Is there only one server, without a name?"""
        return list(self._clients) == [DEFAULT_SERVER]


class _AnyOf:
    """Chooses at random."""

    def __init__(self, names: Mapping[str, object]) -> None:
        self._names = list(names)

    def takes(self, server: str) -> bool:
        return server in self._names

    async def choose(self, store: RecordStore) -> str:  # noqa: ARG002 - the port's
        return random.choice(self._names)  # noqa: S311 - no secret


def wires_of(client: C | Servers[C], wire_of: Callable[[C], Api]) -> dict[str | None, Api]:
    """The wire of each server, by name. For one client the name is None."""
    if isinstance(client, Servers):
        return {name: wire_of(each) for name, each in client.items()}
    return {None: wire_of(client)}


class Placement:
    """A `RecordStore` that also knows the server of each of the record's sessions."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._servers: Servers[Any] | None = None
        self._places: dict[str, str | None] = {}
        self._now = RecordState()
        self._wanted: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def wire(
        self,
        client: Client | AsyncClient | Servers[Any],
        wire_of: Callable[[Any], Api],
        *,
        to: str | None = None,
    ) -> Api:
        """The wire for the calls of this record.

        Args:
            client: One client, or several servers.
            wire_of: Returns a client's wire, and refuses a client of the other API.
            to: The server for a new session.

        Raises:
            ConfigurationError: There is no such server.
        """
        if to is not None and not (isinstance(client, Servers) and to in client):
            known = ", ".join(client) if isinstance(client, Servers) else "one client, which has no name"
            raise ConfigurationError(f"there is no server {to!r}: given are {known}")
        self._wanted = to
        if not isinstance(client, Servers):
            self._servers = None
            return wire_of(client)
        self._servers = client
        return cast("Api", RoutedWire(self, client, wire_of))

    async def load(self) -> RecordState:
        """See `RecordStore.load`."""
        return self._noted(await self._store.load())

    async def read(self, function: Callable[[Any], T]) -> tuple[RecordState, T]:
        """See `RecordStore.read`."""
        state, made = await self._store.read(function)
        return self._noted(state), made

    async def reserve(self, expected: str | None, session_id: str) -> RecordState:
        """See `RecordStore.reserve`. If there are several servers, the same write names one of them."""
        return await self._write(self._store.reserve, expected, session_id)

    async def supersede(self, expected: str, session_id: str) -> RecordState:
        """See `RecordStore.supersede`; as `reserve`."""
        return await self._write(self._store.supersede, expected, session_id)

    def remember(self, state: RecordState) -> None:
        """See `RecordStore.remember`."""
        self._store.remember(replace(state, server=self._places.get(state.session_id or "")))

    async def place_of(self, session_id: str) -> str:
        """The server that has a session. An unknown session belongs to a sub-agent of the record's own session.

        There is a query only if there are several servers, and this record's row was not read yet.
        """
        servers = self._servers
        if session_id in self._places:
            return self._places[session_id] or DEFAULT_SERVER
        if servers is None or len(servers) == 1:
            return next(iter(servers or [DEFAULT_SERVER]))
        if self._now.session_id is None:
            try:
                await self.load()
            except RecordGoneError:
                return self._store.seen_server or DEFAULT_SERVER
        return self._places.get(session_id, self._now.server) or DEFAULT_SERVER

    async def place(self) -> str | None:
        """The server of the record's session; None if it has no session yet."""
        if self._now.session_id is None:
            await self.load()
        return None if self._now.session_id is None else self._now.server or DEFAULT_SERVER

    def note(self, session_id: str, server: str) -> None:
        """Remember that this session is on that server."""
        self._places[session_id] = server

    async def _write(
        self, write: Callable[..., Awaitable[RecordState]], expected: str | None, session_id: str
    ) -> RecordState:
        server = self._places.get(session_id) or await self._chosen()
        if server is None:
            return self._noted(await write(expected, session_id))
        # Before the write, because a session that is created although its id was superseded must be deleted there.
        self._places[session_id] = server
        return self._noted(await write(expected, session_id, server=server))

    async def _chosen(self) -> str | None:
        """The server for the next session; None if there is only one, and nothing to write."""
        servers = self._servers
        if servers is None or (servers.is_one and self._now.server is None):
            return None
        if self._wanted is not None:
            return self._wanted
        # A session that replaces another one stays on its server, because the agent's folders are there.
        before = self._now.server or DEFAULT_SERVER
        if self._now.session_id is not None and before in servers and servers.chooser.takes(before):
            return before
        return await servers.chooser.choose(self._store)

    def _noted(self, state: RecordState) -> RecordState:
        self._now = state
        if state.session_id is not None:
            self._places[state.session_id] = state.server
        return state


class RoutedWire:
    """The wires of several servers as one. Each call goes to the server that has the call's session.

    It has every call of `Api` whose first argument, or `session_id`, is a session. Any other call, such as one for a
    file, goes to the record's server.
    """

    def __init__(self, placement: Placement, servers: Servers[Any], wire_of: Callable[[Any], Api]) -> None:
        self._placement = placement
        self._servers = servers
        self._wire_of = wire_of
        self._wires = {name: wire_of(client) for name, client in servers.items()}

    @property
    def clock(self) -> Clock:
        """The clock of the first server's client, which is closed together with the others."""
        return next(iter(self._wires.values())).clock

    async def of(self, session_id: str) -> Api:
        """The wire of the server that has a session.

        Raises:
            UnknownServerError: The row names a server that does not exist.
        """
        name = await self._placement.place_of(session_id)
        return self._wire_of(self._servers.named(name, session_id, self._placement.key))

    async def fork(self, session_id: str, message_id: str | None = None, /) -> Any:
        """See `Api.fork`. The source is of another record, so each server is asked for it; the copy stays there."""
        for name, wire in self._wires.items():
            try:
                await wire.get(session_id)
            except NotFoundError:
                continue
            copy = await wire.fork(session_id, message_id)
            self._placement.note(copy.id, name)
            return copy
        first = next(iter(self._wires.values()))
        return await first.fork(session_id, message_id)  # which says that there is none

    def __getattr__(self, name: str) -> Any:
        method = getattr(Api, name)  # AttributeError, if there is no such call
        if inspect.isasyncgenfunction(method):

            async def each(*args: Any, **options: Any) -> Any:
                wire = await self.of(_session_in(args, options))
                async for item in getattr(wire, name)(*args, **options):
                    yield item

            return each

        async def call(*args: Any, **options: Any) -> Any:
            wire = await self.of(_session_in(args, options))
            return await getattr(wire, name)(*args, **options)

        return call


def _session_in(args: tuple[Any, ...], options: Mapping[str, Any]) -> str:
    """The session of a call. A call for a file of the agent has none, and goes to the record's server."""
    found: str = options["session_id"] if "session_id" in options else args[0]
    return found
