"""A session's lifecycle against one record: exactly one session, created once, guarded before anyone uses it.

    load ──id, ready──────────────────► return the id (no network)
      │ no id, or one that is being deleted
      ▼
    reserve   write a new id of ours, if the row still names what we saw
      ▼
    create    idempotent upstream, by that id; with title, rules, metadata {namespace, record} where the server takes
      ▼       them at once
    guard     the same, where it does not, or where the session was there with other rules
      ▼
    confirm   ready, if the row still names that id; otherwise delete what was made, start again

A caller that finds a session id that is not ready polls the row for 0.4 to 1.1 s. If the id is still not ready, the
process that reserved it may have died, so the caller finishes the work: it applies the rules and confirms the session.
If the session was never created, it replaces the id. So the next caller repairs a crash between any two steps, and
nothing is held while the network is awaited.

- Callers of one process and client first wait for the one that came first, for a second at most. Then most of them
  find the session that it made, with one query.
- Without polling, 64 callers at once would send the rules 64 times, and the server appends them.
- Only the caller that reserved an id creates it. A helper's request to create could arrive after the session was
  confirmed, handed out, replaced and deleted. It would bring the session back without rules for callers that still
  hold its id.

    delete    mark the row (mark_deleting) ─► stop and delete upstream ─► clear the row, if it still names that id

Between the two the row keeps the id, so that a deletion that failed can be tried again; and nobody confirms it.
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
    put_in_force,
    put_label,
)
from opencode_sessions.store.records import RecordState, RecordStore
from opencode_sessions.validation import check_id

__all__ = ["Lifecycle"]

_log = logging.getLogger("opencode_sessions.session")

_ATTEMPTS = 10

_PATIENCE = (0.05, 0.1, 0.2, 0.4)
"""Seconds between two looks at a row that another worker has reserved an id in."""


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
        """The id of the record's session, made if there is none."""
        return await self._walk(wire, stale=None)

    async def recreate(self, wire: SessionWire, *, stale: str | None = None) -> str:
        """The id of a session other than `stale`; without one given, than the one that was last seen here."""
        self.store.check()
        stale = stale or self._returned or self.store.seen or (await self.store.load()).session_id
        return await self._walk(wire, stale=stale)

    async def fork(self, wire: SessionWire, source: str, *, before: str | None) -> str:
        """The id of the record's session, made from a copy of another one if there is none."""
        check_id("source", source)
        if before is not None:
            check_id("before", before)
        self.just_created = False
        self.store.check()
        if (await self.store.load()).session_id is None:
            await self._read()
            copy = (await wire.fork(source, before)).id
            try:
                reserved = await self.store.reserve(None, copy)
            except RecordGoneError:
                await self._discard(wire, copy, "delete_unconfirmed", used=False)
                raise
            self._reserved.add(copy)
            if reserved.session_id != copy:
                await self._discard(wire, copy, "delete_unconfirmed", used=False)
        return await self._walk(wire, stale=None)

    async def reconcile(self, wire: SessionWire) -> bool:
        """Put in force what the record says by now. Was anything to be done? Without a session, nothing is."""
        self.store.check()
        state, brief = await self._read()
        if not state.ready:
            return False
        state, changed = await self._reconcile(wire, state, brief)
        self.store.remember(state)
        return changed

    async def current(self, wire: SessionWire) -> tuple[str, SessionInfo | None]:
        """As `ensure`, and what the record says by now is in force: what a turn begins with.

        Returns:
            The id, and the session as the server has it, unless it was only just made.
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
        """The row, and the session as the server has it, following its record.

        A session whose metadata name another row, or none, is the row's all the same: the row was moved, its table
        was renamed, or somebody replaced the metadata, and nothing tells a copied row from those. So it is told
        whose it is, and is never deleted for that.

        Raises:
            SessionNotFoundError: The server has none, or a bare one: a request to create that was very late brings
                a session back that was deleted meanwhile.
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
                # Once: a server may alter a title, and a title is no guard.
                await put_label(wire, info, brief, self._metadata)
                put, labelled = brief.digest(state.digest), True
            else:
                # The row says that it is, but a worker that died had put something older over it.
                put = "something older"
            state, brief = await self._read()
        raise self._restless()

    async def abort(self, wire: SessionWire, session_id: str | None = None) -> None:
        """Stop what this session does; without one, the record's own. Never raises."""
        try:
            session_id = session_id or (await self.store.load()).session_id
            if session_id is not None:
                for error in await wire.stop(session_id):
                    self.report_suppressed("reject_asks", session_id, error)
        except Exception as error:  # noqa: BLE001 - best effort: it is reported, not raised
            self.report_suppressed("abort", session_id, error)

    async def delete(self, wire: SessionWire) -> bool:
        """Delete the session and let the row name none. Was there one? What fails leaves the row as it is."""
        self.just_created = False
        self.store.check()
        try:
            session_id = (await self.store.load()).session_id
        except RecordGoneError:
            session_id = self.store.seen
        else:
            if session_id is not None and not await self.store.mark_deleting(session_id):
                return await self.delete(wire)  # it was replaced, or deleted with its row, in this instant
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
                continue  # another worker was quicker: look again
            if not await self._make(wire, reserved.session_id, brief):
                continue
            digest = brief.digest()
            made = RecordState(reserved.session_id, ready=True, digest=digest)
            if await self.store.confirm(reserved.session_id, digest):
                _log.info("session %s created for %s", reserved.session_id, self.store.key)
                self.just_created = True
                # Who confirms what another reserved stands in for it, as far as he knows what it was to replace.
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
        """The row after we tried to give it an id of ours; one that is only reserved stays as it is."""
        if seen.session_id is not None and not seen.ready and not seen.deleting:
            return seen
        return await self.store.reserve(seen.session_id, self._new_id())

    def _new_id(self) -> str:
        """One that this lifecycle alone will make a session under."""
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
        """The row when it is no longer only reserved, or else after a moment."""
        for pause in _PATIENCE:
            if reserved.ready or reserved.deleting or reserved.session_id is None:
                break
            await wire.clock.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - so that not all help at once
            reserved = await self.store.load()
        return reserved

    async def _read(self) -> tuple[RecordState, SessionSpec]:
        """The row, and what the record says, from a fresh copy of it; checked before anything is sent."""
        state, brief = await self.store.read(lambda record: SessionSpec.of(record, self._permissions_for))
        self._directory = brief.directory
        return state, brief

    async def _make(self, wire: SessionWire, session_id: str, brief: SessionSpec) -> bool:
        """Create it, if it is ours to create, and guard it. False if there is none to guard."""
        mine = session_id in self._reserved
        try:
            self._doubtful.add(session_id)
            await self._put_in_force(wire, session_id, brief, create=mine)
        except SessionNotFoundError:
            self._doubtful.discard(session_id)
            if not mine and not self._has_superseded:
                # Its maker never came to it. If he comes now, he finds that he was superseded, and deletes it. Once in
                # a walk: who is then superseded himself was slow, and leaves it to the others.
                self._has_superseded = True
                self._doubtful.add(session_id)
                await self.store.supersede(session_id, self._new_id())
            return False  # ours was deleted as soon as it was made: the row has moved on
        return True

    async def _put_in_force(
        self, wire: SessionWire, session_id: str, brief: SessionSpec, *, create: bool = False
    ) -> None:
        self.check_place(await put_in_force(wire, session_id, brief, self._metadata, create=create))

    async def _is_confirmed(self, wire: SessionWire, made: RecordState) -> bool:
        """Was it another helper that confirmed what we made? If the row does not name it, it is deleted."""
        assert made.session_id is not None  # noqa: S101 - it was made
        state, brief = await self._read()
        if state.session_id != made.session_id or not state.ready:
            await self._discard(wire, made.session_id, "delete_unconfirmed", used=False)
            return False
        if state.digest != made.digest:  # the record changed between the other's look at it and ours
            await self._reconcile(wire, state, brief, put=made.digest)
        return True

    async def _reconcile(
        self, wire: SessionWire, state: RecordState, brief: SessionSpec, *, put: str | None = None
    ) -> tuple[RecordState, bool]:
        """Until what is in force is what the record says, and the row says so too.

        Args:
            wire: The server.
            state: The row, ready.
            brief: What the record says.
            put: What this worker was the last to put in force, perhaps after the one that the row tells of.

        Returns:
            The row in the end, and whether anything was put in force here.
        """
        session_id = state.session_id
        changed = False
        for _ in range(_ATTEMPTS):
            # A row that names another session by now was given it by one who looked at the record later.
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
        """Does the session live where its record, as it was last read, says?

        Raises:
            SessionMovedError: It does not.
        """
        check_place(info, self._directory, self.store.key)

    def _found(self, state: RecordState) -> str:
        assert state.session_id is not None  # noqa: S101 - what was found has an id
        self._returned = state.session_id
        self.store.remember(state)
        return state.session_id
