"""`Session`, in both faces: thin shells around one `Lifecycle`."""

from __future__ import annotations

from typing import Any, ClassVar

from opencode_sessions.faces import complete
from opencode_sessions.services.finding import record_store
from opencode_sessions.services.lifecycle import Lifecycle, PermissionsFor
from opencode_sessions.services.reporting import OnError
from opencode_sessions.store.records import RecordStore
from opencode_sessions.wire.clients import AsyncClient, Client, blocking_wire, suspending_wire

__all__ = ["AsyncSession", "Session"]


class _Session:
    """What both faces are made from."""

    _asynchronous: ClassVar[bool]

    def __init__(
        self,
        record: Any,
        *,
        permissions_for: PermissionsFor | None = None,
        on_error: OnError | None = None,
        namespace: str = "opencode-sessions",
        store: RecordStore | None = None,
    ) -> None:
        self.lifecycle = Lifecycle(
            record_store(record, store, asynchronous=self._asynchronous),
            permissions_for=permissions_for,
            on_error=on_error,
            namespace=namespace,
        )

    @property
    def just_created(self) -> bool:
        """Did the last call make the session, rather than find it?"""
        return self.lifecycle.just_created


class Session(_Session):
    """The OpenCode session of one record: exactly one, created once, guarded before anyone uses it.

    Make one where you need it; it is cheap and holds nothing. One object serves one thread.

    Args:
        record: A saved row of yours, whose model has the session columns.
        permissions_for: Called with a fresh copy of the record when a session is made; returns its rules
            (see `allow`, `ask`, `deny`). Without it, the agent's own rules are all there are.
        on_error: Called as `on_error(error, context)` with what must not be raised; else it is logged.
        namespace: Written into the session's metadata, beside the record's key, to tell what is yours.
        store: A store of your own, instead of the record's.

    Raises:
        ConfigurationError: The record's model has no session columns, or it cannot be reached from here.
    """

    _asynchronous = False

    def ensure(self, client: Client) -> str:
        """The id of the record's session, made and guarded if there is none yet.

        Idempotent, and safe from any number of threads, processes and machines at once. A session that is
        found costs one query and no request. What a crash left unfinished is finished here.

        Raises:
            RecordNotSavedError: Save and commit the record first.
            OpenTransactionError: A transaction is open around the call.
            InvalidRulesError: `permissions_for` returned something else; nothing was sent.
            RecordGoneError: The row was deleted.
            WireError: The server could not be reached or refused; call again, nothing is lost.
        """
        return complete(self.lifecycle.ensure(blocking_wire(client)))

    def recreate(self, client: Client, *, stale: str | None = None) -> str:
        """The id of a fresh session, for when the old one has gone stale.

        Concurrent callers that saw the same stale id converge on one new session; the one that made it says
        `just_created`. The replaced session is deleted, best effort.

        Args:
            client: Where to make it.
            stale: The id that is not to be used any more; by default the one that was last seen here.

        Raises:
            OpencodeError: As `ensure`.
        """
        return complete(self.lifecycle.recreate(blocking_wire(client), stale=stale))

    def abort(self, client: Client) -> None:
        """Stop what the session is doing, best effort: what goes wrong goes to `on_error`, never up."""
        complete(self.lifecycle.abort(blocking_wire(client)))


class AsyncSession(_Session):
    """`Session` for asyncio: the same arguments, promises and errors."""

    _asynchronous = True

    async def ensure(self, client: AsyncClient) -> str:
        """See `Session.ensure`."""
        return await self.lifecycle.ensure(suspending_wire(client))

    async def recreate(self, client: AsyncClient, *, stale: str | None = None) -> str:
        """See `Session.recreate`."""
        return await self.lifecycle.recreate(suspending_wire(client), stale=stale)

    async def abort(self, client: AsyncClient) -> None:
        """See `Session.abort`."""
        await self.lifecycle.abort(suspending_wire(client))
