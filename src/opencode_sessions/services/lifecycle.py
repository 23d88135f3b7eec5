"""A session's lifecycle against one record: exactly one session, created once, guarded before anyone uses it.

    load ──id, ready──────────────────► return the id (no network)
      │ no id
      ▼
    reserve   write a new id of ours, if the row still names what we saw
      ▼
    create    idempotent upstream, by that id
      ▼
    guard     title, rules, metadata {namespace, record}
      ▼
    confirm   ready, if the row still names that id; otherwise delete what was made, start again

Whoever meets an id that is not ready does not wait for its maker, who may be dead: it helps, with the same
idempotent steps. So a crash between any two steps is finished by the next caller, and nothing is held
while the network is awaited.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from opencode_sessions.errors import OpencodeError, RecordGoneError
from opencode_sessions.protocol.ids import new_session_id
from opencode_sessions.protocol.permissions import Rule, check_rules
from opencode_sessions.services.ports import SessionWire
from opencode_sessions.services.reporting import ErrorContext, OnError, Reporter
from opencode_sessions.store.records import RecordState, RecordStore

__all__ = ["Lifecycle", "PermissionsFor"]

_log = logging.getLogger("opencode_sessions.session")

PermissionsFor = Callable[[Any], Iterable[Rule]]

_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class _Brief:
    """What a session is made with."""

    title: str
    rules: tuple[Rule, ...]


class Lifecycle:
    """The walk above, over a store and a wire that block or suspend."""

    def __init__(
        self,
        store: RecordStore,
        *,
        permissions_for: PermissionsFor | None = None,
        on_error: OnError | None = None,
        namespace: str = "opencode-sessions",
    ) -> None:
        self.store = store
        self.just_created = False
        self._report = Reporter(on_error)
        self._permissions_for = permissions_for
        self._namespace = namespace
        self._returned: str | None = None

    async def ensure(self, wire: SessionWire) -> str:
        """The id of the record's session, made if there is none."""
        return await self._walk(wire, stale=None)

    async def recreate(self, wire: SessionWire, *, stale: str | None = None) -> str:
        """The id of a session other than `stale`; without one given, than the one that was last seen here."""
        self.store.check()
        stale = stale or self._returned or self.store.seen or (await self.store.load()).session_id
        return await self._walk(wire, stale=stale)

    async def abort(self, wire: SessionWire, session_id: str | None = None) -> None:
        """Stop what this session does; without one, the record's own. Never raises."""
        try:
            session_id = session_id or (await self.store.load()).session_id
            if session_id is not None:
                await wire.abort(session_id)
        except Exception as error:  # noqa: BLE001 - best effort: it is reported, not raised
            self.swallow("abort", session_id, error)

    async def _walk(self, wire: SessionWire, *, stale: str | None) -> str:
        self.just_created = False
        self.store.check()
        for _ in range(_ATTEMPTS):
            seen = await self.store.load()
            if seen.ready and seen.session_id not in (None, stale):
                return self._found(seen)
            brief = await self._brief()
            replaced, state = await self._reserve(seen)
            if state.ready or state.session_id is None:
                continue  # another worker was quicker: look again
            await self._make(wire, state.session_id, brief)
            if await self.store.confirm(state.session_id):
                _log.info("session %s created for %s", state.session_id, self.store.key)
                self.just_created = True
                replaced = replaced or stale
            elif not await self._is_named(wire, state.session_id):
                continue
            # Whoever reserved knows what it replaced; whoever confirmed may stand in for one that died. An id
            # that was reserved and not yet made is what a recreate finishes, and replaces nothing.
            if replaced is not None and replaced != state.session_id:
                await self._discard(wire, replaced, "delete_replaced")
            return self._found(RecordState(state.session_id, ready=True))
        raise OpencodeError(
            f"{self.store.key} was given another session {_ATTEMPTS} times while one was being made for it: "
            "something replaces its session without end"
        )

    async def _reserve(self, seen: RecordState) -> tuple[str | None, RecordState]:
        """The id that we replaced, and the row after that; a row that is not ready is helped as it is."""
        if seen.session_id is not None and not seen.ready:
            return None, seen
        mine = new_session_id()
        state = await self.store.reserve(seen.session_id, mine)
        return (seen.session_id if state.session_id == mine else None), state

    async def _brief(self) -> _Brief:
        """The record's title and rules, from a fresh copy of it; checked before anything is sent."""
        permissions_for = self._permissions_for

        def read(record: Any) -> _Brief:
            rules = check_rules(permissions_for(record)) if permissions_for is not None else ()
            return _Brief(title_of(record), rules)

        return await self.store.read(read)

    async def _make(self, wire: SessionWire, session_id: str, brief: _Brief) -> None:
        await wire.create(session_id)
        await wire.update(
            session_id,
            title=brief.title or None,
            rules=brief.rules,
            metadata={"namespace": self._namespace, "record": self.store.key},
        )

    async def _is_named(self, wire: SessionWire, session_id: str) -> bool:
        """Was it another helper that confirmed what we made? If the row names another id, it is deleted."""
        try:
            named = (await self.store.load()).session_id
        except RecordGoneError:
            await self._discard(wire, session_id, "delete_unconfirmed")
            raise
        if named != session_id:
            await self._discard(wire, session_id, "delete_unconfirmed")
        return named == session_id

    async def _discard(self, wire: SessionWire, session_id: str, action: str) -> None:
        """Delete a session that no row names any more, best effort."""
        try:
            await wire.abort(session_id)
            await wire.delete(session_id)
        except Exception as error:  # noqa: BLE001 - best effort: it is reported, not raised
            self.swallow(action, session_id, error)

    def _found(self, state: RecordState) -> str:
        assert state.session_id is not None  # noqa: S101 - what was found has an id
        self._returned = state.session_id
        self.store.remember(state)
        return state.session_id

    def swallow(self, action: str, session_id: str | None, error: Exception) -> None:
        """Report an error that must not be raised."""
        self._report(error, ErrorContext(action, self.store.key, session_id))


def title_of(record: Any) -> str:
    """The session's title: the record's `opencode_title`, else its `title`, else none."""
    for name in ("opencode_title", "title"):
        title = getattr(record, name, None)
        if isinstance(title, str) and title:
            return title
    return ""
