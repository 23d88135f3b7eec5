"""`PostgresNotifier`: notes go through PostgreSQL, by NOTIFY and LISTEN. Nothing is stored there.

It needs a direct connection: a transaction pooler, such as PgBouncer, delivers no notifications.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Literal
from urllib.parse import urlsplit

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.live.notifier import Arrived, Receiver, Sender
from opencode_sessions.runtime.stepping import result_of

__all__ = ["PostgresNotifier"]

_NOTIFY = "SELECT pg_notify(topic, told) FROM unnest({}::text[], {}::text[]) AS notes (topic, told)"
"""One request and one transaction for many notes."""

_CONNECT = 5
_LONGEST_PREFIX = 31  # with a topic, an identifier of PostgreSQL has 63 characters

Driver = Literal["psycopg", "asyncpg"]


@dataclass(frozen=True)
class PostgresNotifier:
    """Notes through PostgreSQL: one connection of each process listens, and another one notifies.

    Args:
        url: ``postgresql://user:password@host/database``, past any transaction pooler. It may name a driver as
            SQLAlchemy does (``postgresql+asyncpg://``); by default it is psycopg, if that is installed.
        prefix: The prefix of channel names. Two apps that share a database need two.

    Raises:
        ConfigurationError: No suitable driver is installed, or an argument cannot work.
    """

    url: str = field(repr=False)
    prefix: str = "opencode"

    def __post_init__(self) -> None:
        scheme = urlsplit(self.url).scheme.partition("+")[0]
        if scheme not in ("postgresql", "postgres"):
            raise ConfigurationError(
                "the URL of PostgresNotifier must be like postgresql://user@host/database"
            )
        if not (self.prefix.isascii() and self.prefix.isidentifier() and len(self.prefix) <= _LONGEST_PREFIX):
            raise ConfigurationError(
                f"the prefix of PostgresNotifier must be an ASCII identifier of {_LONGEST_PREFIX} characters at most, "
                f"not {self.prefix!r}"
            )
        if not any(map(find_spec, ("psycopg", "asyncpg"))):
            raise ConfigurationError(
                "PostgresNotifier needs a driver: pip install 'opencode-sessions[postgres]' (psycopg), or asyncpg"
            )

    def sender(self, *, suspends: bool) -> Sender:
        """See `Notifier.sender`."""
        return self._connected(suspends=suspends)

    def receiver(self, *, suspends: bool) -> Receiver:
        """See `Notifier.receiver`."""
        return self._connected(suspends=suspends)

    def _connected(self, *, suspends: bool) -> _Psycopg | _Asyncpg:
        parts = urlsplit(self.url)
        driver = parts.scheme.partition("+")[2]
        url = parts._replace(scheme="postgresql").geturl()
        if driver != "asyncpg" and find_spec("psycopg"):
            return _Psycopg(url, f"{self.prefix}_", suspends=suspends)
        if suspends:
            return _Asyncpg(url, f"{self.prefix}_")
        raise ConfigurationError(
            "without asyncio PostgresNotifier needs psycopg: pip install 'opencode-sessions[postgres]'"
        )


class _Psycopg:
    """A connection of psycopg. The sync and the async kind have the same methods."""

    def __init__(self, url: str, prefix: str, *, suspends: bool) -> None:
        self._url = url
        self._prefix = prefix
        self._suspends = suspends
        self._connection: Any = None
        self._coming: list[Arrived] = []

    async def open(self) -> None:
        import psycopg  # noqa: PLC0415 - an extra

        kind: Any = psycopg.AsyncConnection if self._suspends else psycopg.Connection
        connecting = kind.connect(
            self._url, autocommit=True, connect_timeout=_CONNECT, prepare_threshold=None
        )
        self._connection = await result_of(connecting)

    async def send(self, told: Sequence[tuple[str, str]]) -> None:
        channels, payloads = _columns(self._prefix, told)
        await result_of(self._connection.execute(_NOTIFY.format("%s", "%s"), (channels, payloads)))

    async def follow(self, topics: Collection[str]) -> None:
        await result_of(self._connection.execute(self._statements("LISTEN", topics)))
        self._coming += [Arrived(topic, None) for topic in topics]

    async def unfollow(self, topics: Collection[str]) -> None:
        await result_of(self._connection.execute(self._statements("UNLISTEN", topics)))

    def _statements(self, command: str, topics: Iterable[str]) -> str:
        return "; ".join(f'{command} "{self._prefix}{topic}"' for topic in topics)  # of hexadecimal digits

    async def receive(self, timeout: float) -> Sequence[Arrived]:
        come, self._coming = self._coming, []
        if come:
            return come
        notified = self._connection.notifies(timeout=timeout, stop_after=1)
        found = [each async for each in notified] if self._suspends else list(notified)
        return [Arrived(each.channel.removeprefix(self._prefix), each.payload) for each in found]

    async def close(self) -> None:
        if self._connection is not None:
            with suppress(Exception):
                await result_of(self._connection.close())


class _Asyncpg:
    """A connection of asyncpg."""

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self._prefix = prefix
        self._connection: Any = None
        self._arrived: asyncio.Queue[Arrived | None] = asyncio.Queue()

    async def open(self) -> None:
        import asyncpg  # type: ignore[import-untyped]  # noqa: PLC0415 - the host's

        self._connection = await asyncpg.connect(self._url, timeout=_CONNECT, statement_cache_size=0)
        self._connection.add_termination_listener(lambda _: self._arrived.put_nowait(None))

    async def send(self, told: Sequence[tuple[str, str]]) -> None:
        await self._connection.execute(_NOTIFY.format("$1", "$2"), *_columns(self._prefix, told))

    async def follow(self, topics: Collection[str]) -> None:
        for topic in topics:
            await self._connection.add_listener(self._prefix + topic, self._take)
            self._arrived.put_nowait(Arrived(topic, None))

    async def unfollow(self, topics: Collection[str]) -> None:
        for topic in topics:
            await self._connection.remove_listener(self._prefix + topic, self._take)

    def _take(self, _connection: object, _process: int, channel: str, payload: str) -> None:
        self._arrived.put_nowait(Arrived(channel.removeprefix(self._prefix), payload))

    async def receive(self, timeout: float) -> Sequence[Arrived]:
        try:
            async with asyncio.timeout(timeout):
                arrived = await self._arrived.get()
        except TimeoutError:
            return []
        if arrived is None:
            raise ConnectionError("the connection to PostgreSQL was lost")
        return [arrived]

    async def close(self) -> None:
        if self._connection is not None:
            with suppress(Exception):
                await self._connection.close(timeout=1)


def _columns(prefix: str, told: Iterable[tuple[str, str]]) -> tuple[list[str], list[str]]:
    pairs = list(told)
    return [prefix + topic for topic, _ in pairs], [each for _, each in pairs]
