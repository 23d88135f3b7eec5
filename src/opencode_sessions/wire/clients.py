"""The two clients: `Api` over a blocking transport, and over a suspending one."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Self

import httpx2

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.protocol.events import Event
from opencode_sessions.runtime.stepping import blocking, blocking_iterator, run_sync
from opencode_sessions.runtime.tasks import Tasks
from opencode_sessions.runtime.threads import Threads
from opencode_sessions.wire.address import Address, Timeouts
from opencode_sessions.wire.api import Api
from opencode_sessions.wire.event_stream import Subscription
from opencode_sessions.wire.transports import BlockingTransport, SuspendingTransport

__all__ = ["AsyncClient", "BlockingSubscription", "Client", "blocking_wire", "suspending_wire"]


class Client:
    """A client of one OpenCode server, for sync code. Safe to share between threads, and to use after a fork.

    Args:
        base_url: By default `OPENCODE_BASE_URL`, else http://127.0.0.1:4096.
        password: By default `OPENCODE_SERVER_PASSWORD`. Without a password no credentials are sent.
        username: By default `OPENCODE_SERVER_USERNAME`, else "opencode".
        directory: The directory on the server's machine for new sessions and for lists. By default the server's own
            working directory.
        timeouts: The timeouts of requests, in seconds.
        transport: An httpx2 transport, for tests.

    Raises:
        ConfigurationError: The URL cannot be a server's, or the directory is not an absolute path.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        password: str | None = None,
        username: str | None = None,
        directory: str | None = None,
        timeouts: Timeouts | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self.address = Address.resolve(base_url, password=password, username=username)
        carrier = BlockingTransport(self.address, timeouts or Timeouts(), transport=transport)
        self._core = Api(carrier, Threads(), directory=directory)

    def __repr__(self) -> str:
        return f"<Client {self.address.base_url}>"

    @property
    def directory(self) -> str | None:
        """The directory for new sessions and for lists."""
        return self._core.directory

    health = blocking(Api.health)
    create = blocking(Api.create)
    get = blocking(Api.get)
    update = blocking(Api.update)
    delete = blocking(Api.delete)
    abort = blocking(Api.abort)
    stop = blocking(Api.stop)
    withdraw = blocking(Api.withdraw)
    list = blocking_iterator(Api.list)
    children = blocking(Api.children)
    status = blocking(Api.status)
    busy = blocking(Api.busy)
    fork = blocking(Api.fork)
    move = blocking(Api.move)
    revert = blocking(Api.revert)
    unrevert = blocking(Api.unrevert)
    messages = blocking_iterator(Api.messages)
    message = blocking(Api.message)
    attachment = blocking(Api.attachment)
    list_files = blocking(Api.list_files)
    read_file = blocking_iterator(Api.read_file)
    todos = blocking(Api.todos)
    prompt = blocking(Api.prompt)
    pending_permissions = blocking(Api.pending_permissions)
    answer_permission = blocking(Api.answer_permission)
    pending_asks = blocking(Api.pending_asks)
    pending_questions = blocking(Api.pending_questions)
    answer_question = blocking(Api.answer_question)
    reject_question = blocking(Api.reject_question)
    close = blocking(Api.close)

    def subscribe(self, session_id: str | None = None) -> BlockingSubscription:
        """See `Api.subscribe`."""
        return BlockingSubscription(run_sync(self._core.subscribe(session_id)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(Api):
    """A client of one OpenCode server, for asyncio; arguments as for `Client`. It belongs to one event loop."""

    def __init__(
        self,
        base_url: str | None = None,
        *,
        password: str | None = None,
        username: str | None = None,
        directory: str | None = None,
        timeouts: Timeouts | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.address = Address.resolve(base_url, password=password, username=username)
        carrier = SuspendingTransport(self.address, timeouts or Timeouts(), transport=transport)
        super().__init__(carrier, Tasks(), directory=directory)

    def __repr__(self) -> str:
        return f"<aio.Client {self.address.base_url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def blocking_wire(client: Client) -> Api:
    """The `Api` behind a sync client, for sessions and turns.

    Raises:
        ConfigurationError: This is not a `Client`.
    """
    if isinstance(client, Client):
        return client._core  # noqa: SLF001 - this module's own
    raise ConfigurationError(
        f"{client!r} is no opencode_sessions.Client: with an opencode_sessions.aio.Client, use the Session and Turn "
        "of opencode_sessions.aio too"
    )


def suspending_wire(client: AsyncClient) -> Api:
    """The `Api` behind an async client, for sessions and turns.

    Raises:
        ConfigurationError: This is not an `AsyncClient`.
    """
    if isinstance(client, AsyncClient):
        return client
    raise ConfigurationError(
        f"{client!r} is no opencode_sessions.aio.Client: with an opencode_sessions.Client, use the Session and Turn "
        "of opencode_sessions"
    )


class BlockingSubscription:
    """The sync twin of `Subscription`."""

    def __init__(self, core: Subscription) -> None:
        self._core = core

    next = blocking(Subscription.next)

    def close(self) -> None:
        """End the subscription."""
        self._core.close()

    def __iter__(self) -> Iterator[Event]:
        while True:
            event = self.next()
            if event is not None:
                yield event

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
