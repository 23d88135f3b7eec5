"""`ValkeyNotifier`: notes go through Valkey or Redis, by PUBLISH and SUBSCRIBE. Nothing is stored there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.live.notifier import Arrived, Receiver, Sender
from opencode_sessions.runtime.stepping import result_of

__all__ = ["ValkeyNotifier"]

_CONNECT = 5.0
_ANSWER = 10.0
"""The timeout of a request, in seconds."""


@dataclass(frozen=True)
class ValkeyNotifier:
    """Notes through Valkey or Redis.

    Args:
        url: As in redis-py: ``redis://localhost:6379/0``, or ``rediss://`` with TLS; ``valkey://`` and ``valkeys://``
            mean the same.
        prefix: The prefix of channel names. Two apps that share a server need two.

    Raises:
        ConfigurationError: The package `redis` is not installed, or the URL cannot work.
    """

    url: str = field(repr=False)
    prefix: str = "opencode"

    def __post_init__(self) -> None:
        _client(self.url, suspends=False).close()

    def sender(self, *, suspends: bool) -> Sender:
        """See `Notifier.sender`."""
        return _ValkeySender(self.url, self.prefix, suspends=suspends)

    def receiver(self, *, suspends: bool) -> Receiver:
        """See `Notifier.receiver`."""
        return _ValkeyReceiver(self.url, self.prefix, suspends=suspends)


def _client(url: str, *, suspends: bool) -> Any:
    """A client of redis-py. The sync and the async kind have the same methods."""
    try:
        import redis.asyncio  # noqa: PLC0415 - an extra
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            "ValkeyNotifier needs the package redis: pip install 'opencode-sessions[valkey]'"
        ) from error
    kind: Any = redis.asyncio if suspends else redis
    retry: Any = redis.asyncio.retry.Retry if suspends else Retry
    try:
        return kind.Redis.from_url(
            url.replace("valkey", "redis", 1) if url.startswith("valkey") else url,
            decode_responses=True,
            socket_connect_timeout=_CONNECT,
            socket_timeout=_ANSWER,
            retry=retry(NoBackoff(), 0),  # the relay reconnects, and reports that notes may have been lost
        )
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"the URL of ValkeyNotifier cannot work: {error}") from error


class _Connected:
    def __init__(self, url: str, prefix: str, *, suspends: bool) -> None:
        self._prefix = f"{prefix}:"
        self._suspends = suspends
        self._client = _client(url, suspends=suspends)

    async def open(self) -> None:
        await result_of(self._client.ping())

    async def close(self) -> None:
        with suppress(Exception):
            await result_of(self._client.aclose() if self._suspends else self._client.close())


class _ValkeySender(_Connected):
    async def send(self, told: Sequence[tuple[str, str]]) -> None:
        pipe = self._client.pipeline(transaction=False)
        for topic, each in told:
            pipe.publish(self._prefix + topic, each)
        await result_of(pipe.execute())


class _ValkeyReceiver(_Connected):
    async def open(self) -> None:
        await super().open()
        self._channels = self._client.pubsub()

    async def follow(self, topics: Collection[str]) -> None:
        await result_of(self._channels.subscribe(*(self._prefix + topic for topic in topics)))

    async def unfollow(self, topics: Collection[str]) -> None:
        await result_of(self._channels.unsubscribe(*(self._prefix + topic for topic in topics)))

    async def receive(self, timeout: float) -> Sequence[Arrived]:
        message = await result_of(self._channels.get_message(timeout=timeout))
        match message:
            case {"type": "message", "channel": str(channel), "data": str(told)}:
                return [Arrived(channel.removeprefix(self._prefix), told)]
            case {"type": "subscribe", "channel": str(channel)}:
                return [Arrived(channel.removeprefix(self._prefix), None)]
        return []

    async def close(self) -> None:
        if hasattr(self, "_channels"):
            with suppress(Exception):
                await result_of(self._channels.aclose() if self._suspends else self._channels.close())
        await super().close()
