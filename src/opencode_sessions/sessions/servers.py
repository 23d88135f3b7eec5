"""Several OpenCode servers: which of them has a record's session, and how each call gets there.

One data folder belongs to one server, so a session lives on one. The record's row names it (`opencode_server`), in the
same write that reserves the session's id. A `Placement` stands in front of the row's store and remembers what it read
there; a `RoutedWire` stands in front of the servers and sends each call to the one that has the call's session.

| the row names … | its session is on |
|---|---|
| a server | that one |
| none, but a session | `default`: it was made when there was one server, without a name |
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
"""The name of a server that was given without one."""


class Chooser(Protocol):
    """Says where the sessions of new records are made."""

    def takes(self, server: str) -> bool:
        """Does this server take new records?"""

    async def choose(self, store: RecordStore) -> str:
        """The server for a record that has none.

        Raises:
            ConfigurationError: None takes it.
        """


class Servers(Mapping[str, C], Generic[C]):
    """The clients of several servers, by name: sessions and turns take it in place of a client.

    ::

        servers = Servers({"a": Client("http://10.0.0.1:4096"), "b": Client("http://10.0.0.2:4096")})
        session.ensure(servers)

    A host makes one of its settings. It closes no client.

    Args:
        clients: All of the same API, sync or async. The name `default` is that of rows that name no server.
        chooser: Says where new records go; by default all servers are as good.

    Raises:
        ConfigurationError: There is none, or a name is not one that a row can hold.
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
            UnknownServerError: There is none of that name.
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
        """Is there one server, and it has no name?"""
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
    """The wire of each server, by name; of one client, without a name."""
    if isinstance(client, Servers):
        return {name: wire_of(each) for name, each in client.items()}
    return {None: wire_of(client)}


class Placement:
    """The store of a record that also knows on which server each of the record's sessions is: a `RecordStore`."""

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
        """What this record's calls go through.

        Args:
            client: One client, or several servers.
            wire_of: Of a client, its wire; it refuses a client of the other API.
            to: The server on which a new session is to be made.

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
        """See `RecordStore.reserve`. The row names a server from then on, if there are several."""
        return await self._write(self._store.reserve, expected, session_id)

    async def supersede(self, expected: str, session_id: str) -> RecordState:
        """See `RecordStore.supersede`; as `reserve`."""
        return await self._write(self._store.supersede, expected, session_id)

    def remember(self, state: RecordState) -> None:
        """See `RecordStore.remember`."""
        self._store.remember(replace(state, server=self._places.get(state.session_id or "")))

    async def place_of(self, session_id: str) -> str:
        """The server that has a session. One that no row was seen to name is of an agent of the record's own session.

        It queries only if there are several servers, and this record's row was not read yet.
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
        """This session is on that server."""
        self._places[session_id] = server

    async def _write(
        self, write: Callable[..., Awaitable[RecordState]], expected: str | None, session_id: str
    ) -> RecordState:
        server = self._places.get(session_id) or await self._chosen()
        if server is None:
            return self._noted(await write(expected, session_id))
        # Before the write: a session that was made although its id was superseded is deleted from there.
        self._places[session_id] = server
        return self._noted(await write(expected, session_id, server=server))

    async def _chosen(self) -> str | None:
        """Where the next session is to be made; None where there is no choice, and nothing to write."""
        servers = self._servers
        if servers is None or (servers.is_one and self._now.server is None):
            return None
        if self._wanted is not None:
            return self._wanted
        # A session that replaces another one stays where the folders are that its agent has worked in.
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
    """The wires of several servers as one: each call goes to the server that has its session.

    It has every call of `Api` that is about a session, and names it first, or as `session_id`. A call about something
    else, such as a file, goes to the record's server.
    """

    def __init__(self, placement: Placement, servers: Servers[Any], wire_of: Callable[[Any], Api]) -> None:
        self._placement = placement
        self._servers = servers
        self._wire_of = wire_of
        self._wires = {name: wire_of(client) for name, client in servers.items()}

    @property
    def clock(self) -> Clock:
        """One for all: the first server's client is closed with the others."""
        return next(iter(self._wires.values())).clock

    async def of(self, session_id: str) -> Api:
        """The wire of the server that has a session.

        Raises:
            UnknownServerError: The row names a server that there is not.
        """
        name = await self._placement.place_of(session_id)
        return self._wire_of(self._servers.named(name, session_id, self._placement.key))

    async def fork(self, session_id: str, message_id: str | None = None, /) -> Any:
        """See `Api.fork`. The source is of another record: each server is asked for it, and the copy is made there."""
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
    """What a call is about: a session, or a file of the record's agent, which is on the record's server, too."""
    found: str = options["session_id"] if "session_id" in options else args[0]
    return found
