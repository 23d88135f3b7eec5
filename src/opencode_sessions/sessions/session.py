"""`Session`, sync and async: thin shells around one `Lifecycle`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, cast

from opencode_sessions.protocol.ids import DEFAULT_NAMESPACE
from opencode_sessions.reporting import OnError
from opencode_sessions.runtime.stepping import run_sync
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
    """What the sync and the async class have in common."""

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
        """Did the last call make the session, rather than find it?"""
        return self.lifecycle.just_created

    async def _told(self, action: Action, call: Awaitable[str]) -> str:
        """What the call gives, after the observer was told of it."""
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
    """The OpenCode session of one record: exactly one, created once, guarded before anyone uses it.

    Make one where you need it; it is cheap and holds nothing. One object serves one thread. Each call takes a client,
    or `Servers` if you have several: then the record's row says which one has its session.

    Args:
        record: A saved row of yours, whose model has the session columns.
        permissions_for: The rules of the session, such as `READ_ONLY`; or a function that returns them, called with a
            fresh copy of the record when a session is made or reconciled. Without it, the agent's own rules are all
            there are.
        on_error: Called as `on_error(error, context)` with what must not be raised; else it is logged.
        namespace: Written into the session's metadata, beside the record's key, to tell what is yours. They follow
            the row: a session whose metadata name another one is this row's all the same.
        store: A store of your own, instead of the record's.
        observer: Called with a `SessionEnsured` after each `ensure`, `recreate` and `fork` that did not raise.

    Raises:
        ConfigurationError: The record's model has no session columns, or it cannot be reached from here; or another
            argument cannot work.
    """

    _asynchronous = False

    def wire(self, client: Client | Servers[Client], *, to: str | None = None) -> Api:
        """The one source behind a client, or behind several servers, for this record.

        Args:
            client: Those.
            to: The server on which a new session is to be made.
        """
        return self.placement.wire(client, blocking_wire, to=to)

    def ensure(self, client: Client | Servers[Client]) -> str:
        """The id of the record's session, made and guarded if there is none yet.

        Idempotent, and safe from any number of threads, processes and machines at once. A session that is
        found costs one query and no request. It finishes what a crash left unfinished.

        Raises:
            RecordNotSavedError: Save and commit the record first.
            OpenTransactionError: A transaction is open around the call.
            InvalidRulesError: `permissions_for` returned something else than rules; nothing was sent.
            RecordGoneError: The row was deleted.
            RecordContendedError: Others replaced the session ten times meanwhile.
            WireError: The server could not be reached or refused; call again, nothing is lost.
        """
        return run_sync(self._told("ensure", self.lifecycle.ensure(self.wire(client))))

    def recreate(
        self, client: Client | Servers[Client], *, stale: str | None = None, server: str | None = None
    ) -> str:
        """The id of a fresh session, for when the old one has gone stale.

        Concurrent callers that saw the same stale id converge on one new session; the one that made it says
        `just_created`. The replaced session is deleted, best effort.

        Args:
            client: Where to make it.
            stale: The id that is not to be used any more; by default the one that was last seen here.
            server: Of several servers, the name of the one to make it on: so a record leaves a server that is gone. By
                default it stays where it is, unless that one is draining or not there any more. The new session knows
                nothing of what was said in the old one.

        Raises:
            OpencodeError: As `ensure`.
        """
        return run_sync(
            self._told("recreate", self.lifecycle.recreate(self.wire(client, to=server), stale=stale))
        )

    def fork(self, client: Client | Servers[Client], source: str, *, before: str | None = None) -> str:
        """Give a record that has no session yet a copy of another one: its messages, guarded by this record's rules.

        It is safe as `ensure` is, and a record that has a session keeps it. Messages get new ids in the copy. The
        server chooses a copy's id, so there is one instant, between the copy and its reservation in the row, in which
        a crash leaves a copy that no row names, and that `Pruner` cannot tell from one that you made yourself.

        Args:
            client: Where to make it.
            source: The session to copy, which stays as it is; it may be busy.
            before: A message of it: that one and what came after it are not copied. By default all are.

        Raises:
            ConfigurationError: `source` or `before` is no id.
            SessionNotFoundError: There is no such session to copy; the row names none.
            NotFoundError: It has no message `before`.
            OpencodeError: As `ensure`.
        """
        return run_sync(self._told("fork", self.lifecycle.fork(self.wire(client), source, before=before)))

    def reconcile(self, client: Client | Servers[Client]) -> bool:
        """Put in force again what changed: the record's title, and what `permissions_for` returns.

        A digest in the row says what is in force, so nothing is sent if nothing changed (one query, and those of
        `permissions_for`). A turn does this by itself before it prompts. Without `permissions_for` the
        rules are left as they are, and so is the title where the record's is empty: the session keeps the one that
        it has.

        The server appends rules and forgets none (1.18.33): what an earlier list allowed and the new one does
        not mention is put to `ask`; what it denied stays denied until a rule allows it.

        Returns:
            True if the record had changed, and the server was told what it says now. A record without a session has
            nothing to reconcile.

        Raises:
            SessionNotFoundError: The server does not have the session any more: `recreate` it. Noticed only where
                something is to be sent, as is the next one; a turn looks in any case.
            SessionMovedError: It lives in another directory than the record's `opencode_directory`.
            OpencodeError: As `ensure`.
        """
        return run_sync(self.lifecycle.reconcile(self.wire(client)))

    def abort(self, client: Client | Servers[Client]) -> None:
        """Stop what the session and its sub-agents are doing, and reject what they wait for a person to answer.

        Best effort: errors go to `on_error`, and none is raised. It writes nothing to the row, and so it is not
        refused inside a transaction of yours, which then stays open across its requests.
        """
        run_sync(self.lifecycle.abort(self.wire(client)))

    def delete(self, client: Client | Servers[Client]) -> bool:
        """Stop the session as `abort` does, delete it on the server, and let the row name none.

        The row keeps the id, marked as deleting, until the session is gone: where this raises, call it again.
        A caller of `ensure` in that time gets a new session. Of a row that was deleted itself, the session
        that the given copy of it names is deleted.

        Returns:
            False if there was none.

        Raises:
            RecordNotSavedError: The record was never saved.
            OpenTransactionError: A transaction is open around the call.
            WireError: The server could not be reached or refused; call again, nothing is lost.
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
        """See `Session.fork`."""
        return await self._told("fork", self.lifecycle.fork(self.wire(client), source, before=before))

    async def reconcile(self, client: AsyncClient | Servers[AsyncClient]) -> bool:
        """See `Session.reconcile`."""
        return await self.lifecycle.reconcile(self.wire(client))

    async def abort(self, client: AsyncClient | Servers[AsyncClient]) -> None:
        """See `Session.abort`."""
        await self.lifecycle.abort(self.wire(client))

    async def delete(self, client: AsyncClient | Servers[AsyncClient]) -> bool:
        """See `Session.delete`."""
        return await self.lifecycle.delete(self.wire(client))
