"""A session's lifecycle against one record: exactly one session, created once, guarded before any use.

    load ──id, ready──────────────────► return the id (no network)
      │ no id, or one that is being deleted
      ▼
    reserve   write a new id of ours, if the row still names the id that we read
      ▼
    create    idempotent on the server, by that id; with title, rules and metadata {namespace, record} if the server
      ▼       accepts them in this call
    guard     apply them otherwise, or if the session existed with other rules
      ▼
    confirm   mark the row ready, if it still names that id; otherwise delete the session and start again

A caller that finds a session id that is not ready polls the row for 0.4 to 1.1 s. If the id is still not ready, the
process that reserved it may have died, so the caller finishes the work: it applies the rules and confirms the session.
If the session was never created, it replaces the id. So the next caller repairs a crash between any two steps, and
nothing is held while the network is awaited.

- Callers of one process and client wait up to a second for the first caller. Then most of them find its session with
  one query.
- Without polling, 64 callers at once would send the rules 64 times, and the server appends them.
- Only the caller that reserved an id creates it. A helper's request to create could arrive after the session was
  confirmed, handed out, replaced and deleted. It would bring the session back without rules for callers that still
  hold its id.

    delete    mark the row (mark_deleting) ─► stop and delete on the server ─► clear the row, if it still names that id

In between, the row keeps the id, so that a failed deletion can be repeated; and no caller confirms the session.
"""

from __future__ import annotations

import logging
import random
from dataclasses import replace

from opencode_sessions.errors import (
    OpencodeError,
    RecordContendedError,
    RecordGoneError,
    SessionNotFoundError,
)
from opencode_sessions.protocol.ids import DEFAULT_NAMESPACE, mark_of, new_session_id
from opencode_sessions.protocol.values import SessionInfo
from opencode_sessions.reporting import OnError
from opencode_sessions.sessions.discarding import Discarding
from opencode_sessions.sessions.ports import SessionWire
from opencode_sessions.sessions.spec import (
    PermissionsFor,
    SessionSpec,
    check_place,
    is_bare,
    is_in,
    put_in_force,
    put_label,
)
from opencode_sessions.store.records import RecordState, RecordStore
from opencode_sessions.validation import check_id

__all__ = ["Lifecycle"]

_log = logging.getLogger("opencode_sessions.session")

_ATTEMPTS = 10

_PATIENCE = (0.05, 0.1, 0.2, 0.4)
"""Seconds between two reads of a row in which another worker has reserved an id."""


class Lifecycle(Discarding):
    """The walk above, over a store and a wire that block or suspend."""

    def __init__(
        self,
        store: RecordStore,
        *,
        permissions_for: PermissionsFor | None = None,
        on_error: OnError | None = None,
        namespace: str = DEFAULT_NAMESPACE,
    ) -> None:
        super().__init__(store, on_error)
        self.just_created = False
        self._permissions_for = permissions_for
        self._namespace = namespace
        self._returned: str | None = None
        self._directory: str | None = None
        self._reserved: set[str] = set()
        self._has_superseded = False

    async def ensure(self, wire: SessionWire) -> str:
        """See `Session.ensure`."""
        return await self._walk(wire, stale=None)

    async def recreate(self, wire: SessionWire, *, stale: str | None = None) -> str:
        """See `Session.recreate`."""
        self.store.check()
        stale = stale or self._returned or self.store.seen or (await self.store.load()).session_id
        return await self._walk(wire, stale=stale)

    async def fork(self, wire: SessionWire, source: str, *, before: str | None) -> str:
        """See `Session.fork`."""
        check_id("source", source)
        if before is not None:
            check_id("before", before)
        self.just_created = False
        self.store.check()
        if (await self.store.load()).session_id is None:
            await self._read()
            copied = await wire.fork(source, before)
            copy = copied.id
            self._doubtful.add(copy)
            try:
                if self._directory is not None and not is_in(copied, self._directory):
                    await wire.move(copy, self._directory)
                reserved = await self.store.reserve(None, copy)
            except GeneratorExit:
                raise  # a closed generator may await nothing
            except BaseException:
                await self._discard_doubtful(
                    wire
                )  # the write may have been committed although an error came back
                raise
            self._reserved.add(copy)
            if reserved.session_id != copy:
                await self._discard(wire, copy, "delete_unconfirmed", used=False)
        return await self._walk(wire, stale=None)

    async def reconcile(self, wire: SessionWire) -> bool:
        """See `Session.reconcile`."""
        self.store.check()
        state, brief = await self._read()
        if not state.ready:
            return False
        state, changed = await self._reconcile(wire, state, brief)
        self.store.remember(state)
        return changed

    async def current(self, wire: SessionWire) -> tuple[str, SessionInfo | None]:
        """Ensure the session and reconcile it, for the begin of a turn.

        Returns:
            The id, and the session as the server shows it; None if this call created it.
        """
        self.just_created = False
        self.store.check()
        state, brief = await self._read()
        if not state.ready or state.session_id is None:
            session_id = await self.ensure(wire)
            if self.just_created:
                return session_id, None
            state, brief = await self._read()
        try:
            state, info = await self._looked_at(wire, state, brief)
        except SessionNotFoundError:
            return await self.recreate(wire, stale=state.session_id), None
        return self._found(state), info

    async def _looked_at(
        self, wire: SessionWire, state: RecordState, brief: SessionSpec
    ) -> tuple[RecordState, SessionInfo]:
        """The row, and the session as the server shows it, after the session was made to match the record.

        A session whose metadata name another row, or none, still belongs to this row: the row was moved, its table was
        renamed, or the metadata were replaced. A copied row cannot be told from those. So the metadata are corrected,
        and the session is never deleted for them.

        Raises:
            SessionNotFoundError: The server has no such session, or only a bare one. A very late request to create
                brings a session back after its deletion.
        """
        put: str | None = None
        labelled = False
        for _ in range(_ATTEMPTS):
            state, _ = await self._reconcile(wire, state, brief, put=put)
            if state.session_id is None or not state.ready:
                raise SessionNotFoundError(f"{self.store.key} names no session any more")
            info = await wire.get(state.session_id)
            if is_bare(info, self._mark):
                raise SessionNotFoundError(
                    f"session {info.id} of {self.store.key} was deleted, and made again"
                )
            self.check_place(info)
            guarded = brief.is_guarded(info)
            if guarded and (labelled or brief.is_labelled(info, self._metadata)):
                return state, info
            if guarded:
                # Only once: a server may change a title, and a title protects nothing.
                await put_label(wire, info, brief, self._metadata)
                put, labelled = brief.digest(state.digest), True
            else:
                # The row says that the rules are in force, but a worker that died has applied older ones since.
                put = "something older"
            state, brief = await self._read()
        raise self._restless()

    async def abort(self, wire: SessionWire, session_id: str | None = None) -> None:
        """Stop the agents of this session, by default the record's. Never raises."""
        try:
            session_id = session_id or (await self.store.load()).session_id
            if session_id is not None:
                for error in await wire.stop(session_id):
                    self.report_suppressed("reject_asks", session_id, error)
        except Exception as error:  # noqa: BLE001 - best effort: it is reported, not raised
            self.report_suppressed("abort", session_id, error)

    async def delete(self, wire: SessionWire) -> bool:
        """See `Session.delete`."""
        self.just_created = False
        self.store.check()
        try:
            session_id = (await self.store.load()).session_id
        except RecordGoneError:
            session_id = self.store.seen
        else:
            if session_id is not None and not await self.store.mark_deleting(session_id):
                return await self.delete(wire)  # it was just replaced, or deleted with its row
        if session_id is None:
            return False
        await self._remove(wire, session_id)
        if await self.store.clear_deleted(session_id):
            _log.info("session %s of %s deleted", session_id, self.store.key)
            self.store.remember(RecordState())
        self._returned = None
        return True

    async def _walk(self, wire: SessionWire, *, stale: str | None) -> str:
        self.just_created = False
        self.store.check()
        self._has_superseded = False
        try:
            async with wire.clock.in_turn(self.store.key):
                return await self._make_sure(wire, stale)
        except OpencodeError:
            await self._discard_doubtful(wire)
            raise

    async def _make_sure(self, wire: SessionWire, stale: str | None) -> str:
        replaced: list[str] = []
        for _ in range(_ATTEMPTS):
            seen = await self.store.load()
            if seen.ready and seen.session_id not in (None, stale):
                await self._discard_replaced(wire, replaced, seen)
                return self._found(seen)
            _, brief = await self._read()
            reserved = await self._reserve(seen)
            mine = reserved.session_id in self._reserved
            if mine and seen.session_id not in (None, reserved.session_id):
                replaced.append(seen.session_id)
            if not mine:
                reserved = await self._wait_for_maker(wire, reserved)
            if reserved.session_id is None or reserved.ready or reserved.deleting:
                continue  # another worker was faster: read the row again
            if not await self._make(wire, reserved.session_id, brief):
                continue
            digest = brief.digest()
            made = RecordState(reserved.session_id, ready=True, digest=digest)
            if await self.store.confirm(reserved.session_id, digest):
                _log.info("session %s created for %s", reserved.session_id, self.store.key)
                self.just_created = True
                # A caller that confirms another one's reservation finishes its work: it also deletes the stale session.
                replaced += [] if stale is None else [stale]
            elif not await self._is_confirmed(wire, made):
                continue
            await self._discard_replaced(wire, replaced, made)
            return self._found(made)
        await self._discard_replaced(wire, replaced, await self.store.load())
        raise RecordContendedError(
            f"{self.store.key} was given another session {_ATTEMPTS} times while one was being made for it: "
            "something replaces its session without end",
            record=self.store.key,
        )

    async def _reserve(self, seen: RecordState) -> RecordState:
        """The row, after an attempt to write an id of ours. A row with a reserved id stays as it is."""
        if seen.session_id is not None and not seen.ready and not seen.deleting:
            return seen
        return await self.store.reserve(seen.session_id, self._new_id())

    def _new_id(self) -> str:
        """A new id, under which only this lifecycle creates a session."""
        session_id = new_session_id(mark=self._mark)
        self._reserved.add(session_id)
        return session_id

    @property
    def _mark(self) -> str:
        return mark_of(self._namespace, self.store.key.partition(":")[0])

    @property
    def _metadata(self) -> dict[str, str]:
        return {"namespace": self._namespace, "record": self.store.key}

    async def _wait_for_maker(self, wire: SessionWire, reserved: RecordState) -> RecordState:
        """The row, once its id is no longer only reserved, or has been the same for about a second."""
        pauses = iter(_PATIENCE)
        while reserved.session_id is not None and not reserved.ready and not reserved.deleting:
            pause = next(pauses, None)
            if pause is None:
                break
            await wire.clock.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - so that callers help one by one
            awaited, reserved = reserved.session_id, await self.store.load()
            if reserved.session_id != awaited:  # the caller that has just superseded it needs time, too
                pauses = iter(_PATIENCE)
        return reserved

    async def _read(self) -> tuple[RecordState, SessionSpec]:
        """The row, and the session's spec from a fresh copy of the record, checked before a request is sent."""
        state, brief = await self.store.read(lambda record: SessionSpec.of(record, self._permissions_for))
        self._directory = brief.directory
        return state, brief

    async def _make(self, wire: SessionWire, session_id: str, brief: SessionSpec) -> bool:
        """Create the session, if this lifecycle reserved its id, and guard it. False if there is none to guard."""
        mine = session_id in self._reserved
        try:
            self._doubtful.add(session_id)
            await self._put_in_force(wire, session_id, brief, create=mine)
        except SessionNotFoundError:
            self._doubtful.discard(session_id)
            if not mine and not self._has_superseded:
                # The caller that reserved the id has not created it. If it still does, it finds its id superseded, and
                # deletes the session. Supersede once in a walk: a caller that is then superseded itself is too slow.
                self._has_superseded = True
                self._doubtful.add(session_id)
                await self.store.supersede(session_id, self._new_id())
            return False  # our session was deleted at once, because the row names another one
        return True

    async def _put_in_force(
        self, wire: SessionWire, session_id: str, brief: SessionSpec, *, create: bool = False
    ) -> None:
        self.check_place(await put_in_force(wire, session_id, brief, self._metadata, create=create))

    async def _is_confirmed(self, wire: SessionWire, made: RecordState) -> bool:
        """Did another caller confirm our session? If the row does not name the session, it is deleted."""
        assert made.session_id is not None  # noqa: S101 - it was created
        state, brief = await self._read()
        if state.session_id != made.session_id or not state.ready:
            await self._discard(wire, made.session_id, "delete_unconfirmed", used=False)
            return False
        if state.digest != made.digest:  # the record changed between the other caller's read and ours
            await self._reconcile(wire, state, brief, put=made.digest)
        return True

    async def _reconcile(
        self, wire: SessionWire, state: RecordState, brief: SessionSpec, *, put: str | None = None
    ) -> tuple[RecordState, bool]:
        """Apply the record's spec until it is in force, and the row's digest says so.

        Args:
            wire: The server.
            state: The row, ready.
            brief: The spec of the record.
            put: The digest that this worker applied last, perhaps after the one in the row.

        Returns:
            The row in the end, and whether anything was applied here.
        """
        session_id = state.session_id
        changed = False
        for _ in range(_ATTEMPTS):
            # If the row names another session by now, a caller that read the record later wrote it.
            if session_id is None or state.session_id != session_id or not state.ready:
                return state, changed
            wanted = brief.digest(state.digest)
            if state.digest == wanted and put in (None, wanted):
                return state, changed
            await self._put_in_force(wire, session_id, brief)
            put, changed = wanted, True
            if await self.store.set_digest(session_id, state.digest, wanted):
                _log.info("session %s of %s follows its record again", session_id, self.store.key)
                return replace(state, digest=wanted), changed
            state, brief = await self._read()
        raise self._restless()

    def _restless(self) -> RecordContendedError:
        return RecordContendedError(
            f"{self.store.key} changed {_ATTEMPTS} times while its session was told: something changes it without end",
            record=self.store.key,
        )

    def check_place(self, info: SessionInfo) -> None:
        """Check that the session is in the directory that its record, as last read, names.

        Raises:
            SessionMovedError: It is in another one.
        """
        check_place(info, self._directory, self.store.key)

    def _found(self, state: RecordState) -> str:
        assert state.session_id is not None  # noqa: S101 - a row that was found ready has an id
        self._returned = state.session_id
        self.store.remember(state)
        return state.session_id
