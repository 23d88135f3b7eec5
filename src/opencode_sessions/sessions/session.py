"""`Session`, sync and async: thin shells around one `Lifecycle`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, cast

from opencode_sessions.protocol.ids import DEFAULT_NAMESPACE
from opencode_sessions.reporting import OnError
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.runtime.tasks import guarded
from opencode_sessions.sessions.events import Action, SessionEnsured
from opencode_sessions.sessions.lifecycle import Lifecycle
from opencode_sessions.sessions.servers import Placement, Servers
from opencode_sessions.sessions.spec import PermissionsFor, check_permissions_for
from opencode_sessions.store.lookup import record_store
from opencode_sessions.store.records import RecordStore
from opencode_sessions.validation import check_ordinary, require
from opencode_sessions.wire.api import Api
from opencode_sessions.wire.clients import AsyncClient, Client, blocking_wire, suspending_wire

__all__ = ["AsyncSession", "Session"]


class _Session:
    """The common part of the sync and the async class."""

    _asynchronous: ClassVar[bool]

    def __init__(
        self,
        record: Any,
        *,
        permissions_for: PermissionsFor | None = None,
        on_error: OnError | None = None,
        namespace: str = DEFAULT_NAMESPACE,
        store: RecordStore | None = None,
        observer: Callable[[SessionEnsured], object] | None = None,
    ) -> None:
        self.placement = Placement(record_store(record, store, asynchronous=self._asynchronous))
        require(observer is None or callable(observer), "observer must be a function", observer)
        check_ordinary("observer", observer)
        self._observer = observer
        require(isinstance(namespace, str), "namespace must be a text", namespace)
        self.lifecycle = Lifecycle(
            cast("RecordStore", self.placement),
            permissions_for=check_permissions_for(permissions_for),
            on_error=on_error,
            namespace=namespace,
        )

    @property
    def just_created(self) -> bool:
        """Whether the last call created the session, rather than found it."""
        return self.lifecycle.just_created

    async def _told(self, action: Action, call: Awaitable[str]) -> str:
        """The result of the call, after the observer was called."""
        began, lifecycle = time.monotonic(), self.lifecycle
        session_id = await call
        if self._observer is not None:
            seconds, key = time.monotonic() - began, lifecycle.store.key
            try:
                self._observer(SessionEnsured(action, key, session_id, lifecycle.just_created, seconds))
            except Exception as error:  # noqa: BLE001 - a host's callback must not fail the call
                lifecycle.report_suppressed("observe", session_id, error)
        return session_id


class Session(_Session):
    """The OpenCode session of one record: exactly one, created once, guarded before any use.

    Make a `Session` wherever you need it: it is cheap and holds no resources. Use one object in one thread. Each call
    takes a client, or `Servers` if you have several; the record's row then names the server of its session.

    Args:
        record: A saved row of yours, whose model has the session columns.
        permissions_for: The rules of the session, such as `READ_ONLY`; or a function that returns them, called with a
            fresh copy of the record when a session is created or reconciled. Without it, only the agent's own rules
            apply.
        on_error: Called as `on_error(error, context)` with errors that must not be raised. Without it, they are logged.
        namespace: A name for your application. It is written into the session's metadata with the record's key. The row
            decides: a session whose metadata name another row still belongs to this one.
        store: A store of your own, instead of the record's.
        observer: Called with a `SessionEnsured` after each `ensure`, `recreate` and `fork` that did not raise.

    Raises:
        ConfigurationError: The record's model has no session columns, its database cannot be reached from here, or
            another argument cannot work.
    """

    _asynchronous = False

    def wire(self, client: Client | Servers[Client], *, to: str | None = None) -> Api:
        """The wire for this record's calls.

        Args:
            client: A client, or several servers.
            to: The server for a new session.
        """
        return self.placement.wire(client, blocking_wire, to=to)

    def ensure(self, client: Client | Servers[Client]) -> str:
        """The id of the record's session. If there is none, it is created and guarded first.

        The call is idempotent, and safe from any number of threads, processes and machines at once. If the session
        exists, it costs one query and no request. It completes work that a crash left unfinished.

        Raises:
            RecordNotSavedError: Save and commit the record first.
            OpenTransactionError: A transaction is open around the call.
            InvalidRulesError: `permissions_for` did not return rules; nothing was sent.
            RecordGoneError: The row was deleted.
            RecordContendedError: Other callers replaced the session ten times during this call.
            WireError: The server could not be reached, or refused. Call again; nothing is lost.
        """
        return run_sync(self._told("ensure", self.lifecycle.ensure(self.wire(client))))

    def recreate(
        self, client: Client | Servers[Client], *, stale: str | None = None, server: str | None = None
    ) -> str:
        """The id of a new session that replaces a stale one.

        Concurrent callers with the same stale id get the same new session. `just_created` is true only for the caller
        that created it. The replaced session is deleted, best effort. The new session has no messages of the old one.

        Args:
            client: The client, or `Servers`.
            stale: The id that must no longer be used; by default the last one that this object saw.
            server: If there are several servers, the name of the one for the new session, so that a record can leave a
                server that is gone. By default the record stays on its server, unless that is draining or was removed.

        Raises:
            OpencodeError: As `ensure`.
        """
        return run_sync(
            self._told("recreate", self.lifecycle.recreate(self.wire(client, to=server), stale=stale))
        )

    def fork(self, client: Client | Servers[Client], source: str, *, before: str | None = None) -> str:
        """Give a record without a session a copy of another session's messages, guarded by this record's rules.

        The call is as safe as `ensure`. If the record has a session, it keeps that one. Messages get new ids in the
        copy. The server chooses the copy's id. If the process crashes between the copy and its reservation in the row,
        no row names the copy, and `Pruner` cannot tell it from a copy of your own.

        Args:
            client: The client, or `Servers`.
            source: The session to copy, which stays unchanged; it may be busy.
            before: A message of the source. That message and all later ones are not copied. By default all are.

        Raises:
            ConfigurationError: `source` or `before` is not an id.
            SessionNotFoundError: There is no session `source`; the row names none.
            NotFoundError: The session has no message `before`.
            OpencodeError: As `ensure`.
        """
        return run_sync(self._told("fork", self.lifecycle.fork(self.wire(client), source, before=before)))

    def reconcile(self, client: Client | Servers[Client]) -> bool:
        """Apply changes of the record's title and of its rules to the session.

        A digest in the row says what is in force. So nothing is sent if nothing changed: the call costs one query, and
        those of `permissions_for`. A turn calls this before its prompt. Without `permissions_for` the rules stay as
        they are. With an empty title the session keeps the title that it has.

        The server appends rules and never removes one (1.18.33). Dropping an `allow` rule turns it into `ask`. Dropping
        a `deny` or `ask` rule has no effect: add an explicit `allow`.

        Returns:
            True if something had changed and was applied. False also if the record has no session.

        Raises:
            SessionNotFoundError: The server no longer has the session: `recreate` it. This is noticed only if something
                must be sent; a turn always checks it.
            SessionMovedError: The session is in another directory than the record's `opencode_directory`. This, too, is
                noticed only if something must be sent.
            OpencodeError: As `ensure`.
        """
        return run_sync(self.lifecycle.reconcile(self.wire(client)))

    def abort(self, client: Client | Servers[Client]) -> None:
        """Stop the session and its sub-agents, and reject the asks that wait for a person.

        Best effort: errors go to `on_error`, and none is raised. The call writes nothing to the row, so it is allowed
        inside a transaction of yours, which then stays open during its requests.
        """
        run_sync(self.lifecycle.abort(self.wire(client)))

    def delete(self, client: Client | Servers[Client]) -> bool:
        """Stop the session as `abort` does, delete it on the server, and remove its id from the row.

        Until the session is deleted, the row keeps the id, marked as deleting. If this call raises, call it again. A
        caller of `ensure` in the meantime gets a new session. If the row itself was deleted, the session that your copy
        of the row names is deleted.

        Returns:
            False if there was no session.

        Raises:
            RecordNotSavedError: The record was never saved.
            OpenTransactionError: A transaction is open around the call.
            WireError: The server could not be reached, or refused. Call again; nothing is lost.
        """
        return run_sync(self.lifecycle.delete(self.wire(client)))


class AsyncSession(_Session):
    """`Session` for asyncio: the same arguments, promises and errors."""

    _asynchronous = True

    def wire(self, client: AsyncClient | Servers[AsyncClient], *, to: str | None = None) -> Api:
        """See `Session.wire`."""
        return self.placement.wire(client, suspending_wire, to=to)

    async def ensure(self, client: AsyncClient | Servers[AsyncClient]) -> str:
        """See `Session.ensure`."""
        return await self._told("ensure", self.lifecycle.ensure(self.wire(client)))

    async def recreate(
        self,
        client: AsyncClient | Servers[AsyncClient],
        *,
        stale: str | None = None,
        server: str | None = None,
    ) -> str:
        """See `Session.recreate`."""
        return await self._told(
            "recreate", self.lifecycle.recreate(self.wire(client, to=server), stale=stale)
        )

    async def fork(
        self, client: AsyncClient | Servers[AsyncClient], source: str, *, before: str | None = None
    ) -> str:
        """See `Session.fork`. It is completed even if the task is cancelled."""
        forked = guarded(self.lifecycle.fork(self.wire(client), source, before=before), cancels=False)
        return await self._told("fork", forked)

    async def reconcile(self, client: AsyncClient | Servers[AsyncClient]) -> bool:
        """See `Session.reconcile`."""
        return await self.lifecycle.reconcile(self.wire(client))

    async def abort(self, client: AsyncClient | Servers[AsyncClient]) -> None:
        """See `Session.abort`."""
        await self.lifecycle.abort(self.wire(client))

    async def delete(self, client: AsyncClient | Servers[AsyncClient]) -> bool:
        """See `Session.delete`."""
        return await self.lifecycle.delete(self.wire(client))
