"""One run of a turn, under its epoch: from the session to the stored end."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from functools import partial

from opencode_sessions.errors import (
    EndlessAnswerError,
    OpencodeError,
    RecordGoneError,
    SessionNotFoundError,
    TurnInProgressError,
    TurnParkedError,
    TurnReleasedError,
    TurnTakenError,
    TurnTimeoutError,
    WireError,
)
from opencode_sessions.protocol.ids import new_message_id
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.sessions.events import Action, SessionEnsured
from opencode_sessions.store.messages import MessageState, TurnStatus
from opencode_sessions.turns.claim import RecordLock
from opencode_sessions.turns.deadlines import DeadlineTimer
from opencode_sessions.turns.events import SessionCreated, TurnFinished, TurnRecovered, TurnStarted
from opencode_sessions.turns.exchange import check_directory, is_newest, is_stored
from opencode_sessions.turns.follower import PASSING, EventFollower, Over
from opencode_sessions.turns.leases import RunLeases, taken
from opencode_sessions.turns.parking import Parking
from opencode_sessions.turns.pending_asks import PendingAsks
from opencode_sessions.turns.ports import Events, TurnWire
from opencode_sessions.turns.releasing import Release
from opencode_sessions.turns.results import TurnResult, outcome, snapshot, was_aborted, was_rejected
from opencode_sessions.turns.sending import prepare_prompt, send_prompt, stale_session
from opencode_sessions.turns.spec import TurnSpec
from opencode_sessions.turns.stop_agent import stop_agent, stop_late
from opencode_sessions.turns.store_result import store_result

__all__ = ["TurnExecution"]

_log = logging.getLogger("opencode_sessions.turn")

_SENDS = 10
"""How often one runner sends a prompt at most, in case the server dies each time."""


class TurnExecution:
    """Runs a turn under `row.epoch`.

    Args:
        spec: The turn.
        wire: The server.
        claim: The record's lock, which this run renews.
        row: The message's row, streaming.
        release: Ends the run early if a release is requested.
        park: Whether the turn is parked when it waits for a person.
    """

    def __init__(
        self,
        spec: TurnSpec,
        wire: TurnWire,
        claim: RecordLock,
        row: MessageState,
        release: Release,
        *,
        park: bool,
    ) -> None:
        self._spec = spec
        self._wire = wire
        self._claim = claim
        self._row = row
        self._release = release
        self._parking = Parking(spec, claim, release, row.epoch) if park else None
        self._key = spec.store.key
        self._watch = DeadlineTimer(wire.clock, spec.deadlines, self._key)
        self._leases = RunLeases(spec, wire.clock, claim, release, epoch=row.epoch)
        self._began = wire.clock.monotonic()
        self._unsent = row.prompt_id is None
        self._just_created = self._doubted = self._prepared = False
        self._follower: EventFollower
        self._events: Events
        self.owns = True
        """Whether the turn is still this runner's: no other process has taken or ended it."""

    async def run(self) -> TurnResult:
        """See `Turn.run`."""
        failure: OpencodeError | None = None
        try:
            try:
                await self._spec.artifacts.open(self._wire, self._spec.lifecycle.store)
                must_send = await self._prepare()
                self._prepared = True
                await self._converse(must_send=must_send)
            except WireError:
                self._release.check()  # a client that is closed releases its turns, and then breaks their requests
                raise
        except (GeneratorExit, TurnParkedError):
            raise  # a closed generator may await nothing; a parked turn is stored already
        except TurnReleasedError as error:
            await self._leave(error)
            raise
        except TurnTakenError:
            return await self._ended_elsewhere()
        except BaseException as error:
            goes_on = isinstance(error, TurnInProgressError)  # once the other turn of its record has ended
            if goes_on or not (self._prepared and isinstance(error, OpencodeError)):
                await self._leave(error)
                raise
            _log.warning("the turn of %s failed: %s", self._key, error)
            failure = error
        finally:
            self._listen_no_more()
        end = outcome(self._reply, self._row, failure, fallback=self._spec.said_of)
        stop = partial(self._stop_after, failure)
        store, clock = self._spec.store, self._wire.clock
        if not await store_result(store, clock, self._row.epoch, end, if_interrupted=stop):
            return await self._ended_elsewhere()
        await stop()
        await self._spec.collect_files(self._wire, end)
        return self._report(end)

    @property
    def _reply(self) -> Reply:
        return self._follower.reply

    # Before the prompt.

    async def _prepare(self) -> bool:
        """Find the session, subscribe, and store where the prompt goes. True if the prompt must be sent."""
        session_id, prompt_id = self._row.session_id, self._row.prompt_id
        if session_id is None or prompt_id is None:
            current = await self._current()
            await self._spec.admit(begun=True)
            await self._address(current)
            return True
        await self._listen(session_id, prompt_id)
        self._follower.asking.adopt(self._row.asks)
        try:
            if await is_stored(self._wire, session_id, prompt_id):
                self._spec.listeners.tell(TurnRecovered(session_id, prompt_id))
                return False
        except SessionNotFoundError:
            self._listen_no_more()
            await self._address(await self._recreated(session_id))
            return True
        if (current := await self._current()) != session_id:
            self._listen_no_more()
            await self._address(current)
        return True

    async def _current(self) -> str:
        """The record's session, once nothing else runs in it."""
        before, began = self._spec.lifecycle.store.seen, self._wire.clock.monotonic()
        session_id, info = await self._spec.lifecycle.current(self._wire)
        self._note_ensured("ensure", session_id, began, before)
        if info is None:
            return session_id

        async def busy_with() -> str | None:
            await self._stay()
            busy = await self._wire.busy(session_id, directory=info.directory)
            return "another prompt" if busy else None

        await self._claim.until_free(self._wire, busy_with, settling=lambda: True)
        return session_id

    async def _stay(self) -> None:
        """Renew the leases, if it is time, before this run waits for the session or reads files."""
        if self._leases.due:
            await self._leases.check()

    async def _recreated(self, gone: str) -> str:
        began = self._wire.clock.monotonic()
        session_id = await self._spec.lifecycle.recreate(self._wire, stale=gone)
        self._note_ensured("recreate", session_id, began, gone)
        return session_id

    def _note_ensured(self, action: Action, session_id: str, began: float, replaced: str | None) -> None:
        created, record = self._spec.lifecycle.just_created, self._spec.lifecycle.store.key
        took = self._wire.clock.monotonic() - began
        self._spec.listeners.tell(SessionEnsured(action, record, session_id, created, took))
        if created:
            self._just_created = True
            self._spec.listeners.tell(SessionCreated(session_id, replaced))

    async def _address(self, session_id: str) -> None:
        """Subscribe to a session, and store that the prompt goes there, under a new id."""
        prompt_id = new_message_id()
        await self._listen(session_id, prompt_id)
        if not await self._spec.store.set_prompt_target(self._row.epoch, session_id, prompt_id):
            raise taken(self._key)
        self._row = replace(self._row, session_id=session_id, prompt_id=prompt_id)

    async def _listen(self, session_id: str, prompt_id: str) -> None:
        spec = self._spec
        spec.listeners.session_id = session_id
        self._events = await self._wire.subscribe(session_id)
        stored = self._row.parts if self._row.prompt_id is not None else ()
        reply = Reply.resumed(session_id, prompt_id, stored)
        report = spec.lifecycle.report_suppressed
        self._follower = EventFollower(
            self._wire,
            self._wire.clock,
            reply,
            PendingAsks(self._wire, session_id, spec.on_ask, spec.listeners, report, ours=reply.asks),
            deadlines=spec.deadlines,
            watch=self._watch,
            listeners=spec.listeners,
            parking=self._parking,
        )
        self._release.events.append(self._events)
        self._release.check()

    def _listen_no_more(self) -> None:
        if hasattr(self, "_events"):
            if self._events in self._release.events:
                self._release.events.remove(self._events)
            self._events.close()
            self._follower.asking.close()

    # The prompt and its answer.

    async def _converse(self, *, must_send: bool) -> None:
        """Send the prompt and follow it; if the server dies during the answer, send it again."""
        sends = 0
        while True:
            over: Over | None = None
            if must_send:
                sends += 1
                await self._send()
            else:
                over = await self._follower.look()
            over = over or await self._follower.follow(self._events, self._keep)
            if not over.stalled or sends >= _SENDS:
                return
            self._watch.check(waiting_since=None)
            try:
                if not await self._may_resume():
                    return
                must_send = True
            except PASSING:
                must_send = False  # the server is away again: the next look waits for it

    async def _send(self) -> None:
        """Send the prompt. If the session is lost, create a new one and send the prompt there."""
        self._release.check()
        if not await self._sent():
            gone = self._reply.session_id
            self._row = self._so_far()
            self._listen_no_more()
            await self._address(await self._recreated(gone))
            if not await self._sent():
                raise stale_session(self._reply.session_id, self._spec.lifecycle.store.key)
        if not await self._leases.extend():
            # Another process took or ended the turn while the prompt was on its way. A runner that took it follows it.
            row, reply = await self._spec.store.load(), self._reply
            if row.status.terminal:
                await stop_late(self._spec.lifecycle, self._wire, reply.session_id, reply.prompt_id)
                await self._spec.collect_files(self._wire, row)  # sending the prompt marked them as due again
            raise taken(self._key)

    async def _sent(self) -> bool:
        """Send the prompt once. False if the session does not exist."""
        ids = (self._reply.session_id, self._reply.prompt_id)
        self._spec.listeners.tell(TurnStarted(*ids))
        await self._stay()
        self._follower.sending()
        parts = await prepare_prompt(self._wire, self._spec, *ids, self._row.prompt)
        await self._leases.check()  # after the files, which can take longer than the leases
        self._unsent = False
        return await send_prompt(self._wire, self._spec, *ids, parts)

    async def _may_resume(self) -> bool:
        """The session is not busy, and the turn has not ended. True if sending the prompt again is needed and safe."""
        if self._reply.error is not None and self._reply.last is None and not self._doubted:
            # No message has this error, so it may be a late event of the turn before. If it is ours, it comes again.
            self._doubted = True
            await self._follower.forget(self._events)
        if self._reply.error is not None or was_aborted(self._reply) or was_rejected(self._reply):
            return False
        ids = (self._reply.session_id, self._reply.prompt_id)
        if await is_stored(self._wire, *ids) and not await is_newest(self._wire, *ids):
            said = "the server stopped over it, and another prompt came after it: sending it again would run it twice"
            self._reply.error = {"name": "Overtaken", "message": said}
            return False
        await check_directory(self._wire, ids[0])
        _log.warning("nobody works on the turn of %s any more: sending its prompt again", self._key)
        return True

    def _so_far(self) -> MessageState:
        """The row with the answer so far."""
        asks = tuple(ask.to_json() for ask in self._follower.asking.waiting)
        return replace(snapshot(self._reply, self._row), asks=asks)

    async def _keep(self, changed: bool) -> bool:  # noqa: FBT001 - the follower's callback
        """Store the answer so far, or only extend the lease. False if the caller must try again."""
        store, lease = self._spec.store, self._spec.deadlines.lease
        try:
            if changed:
                row = self._row = self._so_far()
                kept = await self._release.write(lambda: store.snapshot(row.epoch, row, lease))
            else:
                kept = await self._leases.extend()
            if kept and self._leases.due:
                await self._leases.lock()  # a lost lock changes nothing here: the prompt was sent
        except OpencodeError:
            raise
        except Exception as error:  # noqa: BLE001 - the database is away, and the agent goes on
            self._spec.lifecycle.report_suppressed("snapshot", self._reply.session_id, error)
            # If the database refuses this answer alone, the turn is still this runner's.
            with suppress(Exception):
                await self._leases.extend()
            return False
        if not kept:
            raise taken(self._key)
        return True

    # The end.

    def _report(self, end: MessageState) -> TurnResult:
        """The end is stored: remember it, and send `TurnFinished`."""
        self._spec.store.remember(end)
        result = self._spec.result(
            end,
            just_created=self._just_created,
            duration=self._wire.clock.monotonic() - self._began,
            first_token=self._watch.first_token,
            steps=tuple(self._reply.messages.values()) if hasattr(self, "_follower") else (),
        )
        self._spec.listeners.tell(TurnFinished(result))
        return result

    async def _ended_elsewhere(self) -> TurnResult:
        """The row refused this runner's write. If the turn was cancelled, the cancelling process stops the agent."""
        self.owns = False
        try:
            row = await self._spec.store.load()
        except RecordGoneError:
            self.owns = True  # the row was deleted, so this run stops the agent and releases the record
            await self._stop_agent()
            raise
        if not row.status.terminal:
            raise taken(self._key)
        return self._report(row)

    async def _leave(self, cause: BaseException) -> None:
        """The run ends before the turn, by `cause`, which is raised afterwards.

        | `cause` | if this runner has sent nothing | if the agent works |
        |---|---|---|
        | an error | the row is `pending` again | the next runner continues the turn |
        | a release, or the end of the process | the lease is cleared: recovery finds no `pending` turn | the same |
        | Ctrl-C or a cancelled task | as an error, or as a release: see `on_cancel` | it is stopped, or released |
        """
        store, epoch = self._spec.store, self._row.epoch
        released = isinstance(cause, TurnReleasedError | SystemExit) or (
            self._spec.on_cancel == "release" and not isinstance(cause, Exception)
        )
        try:
            if self._unsent and not released:
                await self._release.write(lambda: store.reset_to_pending(epoch), last=True)
            elif not self._prepared:
                self.owns = await store.extend(epoch, 0)
            elif released or isinstance(cause, Exception):
                # Include the text that was shown since the last snapshot. Another runner may have the turn already.
                self.owns = await store.snapshot(epoch, self._so_far(), 0)
            else:
                said = {"name": "Cancelled", "by": "runner", "message": type(cause).__name__}
                end = replace(snapshot(self._reply, self._row, TurnStatus.CANCELLED), error=said)
                if await store.finish(epoch, end):
                    await self._stop_agent(patiently=True)
                    self._report(end)
        except Exception as error:  # noqa: BLE001 - the cause is what is raised
            action = "finish" if self._prepared else "reset_to_pending"
            self._spec.lifecycle.report_suppressed(action, self._row.session_id, error)

    async def _stop_after(self, failure: OpencodeError | None) -> None:
        """Stop the agent if the turn has failed."""
        if failure is not None:
            # A deadline can pass just after the prompt was sent, and an answer can end just before the next step.
            patiently = isinstance(failure, TurnTimeoutError | EndlessAnswerError)
            await self._stop_agent(patiently=patiently)

    async def _stop_agent(self, *, patiently: bool = False) -> None:
        """Stop the agent if it works on this turn's prompt. Never raises."""
        if self._row.session_id is not None and self._row.prompt_id is not None:
            ids = (self._row.session_id, self._row.prompt_id)
            await stop_agent(self._spec.lifecycle, self._wire, *ids, patiently=patiently)
