"""One run of a turn that was taken: under its epoch, from the session to the stored end."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from opencode_sessions.errors import (
    ConnectionLostError,
    OpencodeError,
    RecordGoneError,
    RequestTimedOutError,
    ServerUnreachableError,
    SessionNotFoundError,
    StaleSessionError,
    TurnTakenError,
    TurnTimeoutError,
)
from opencode_sessions.protocol.ids import new_message_id
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.services.asking import Asking
from opencode_sessions.services.claiming import TurnClaim
from opencode_sessions.services.deadlines import Watch
from opencode_sessions.services.ending import store_end
from opencode_sessions.services.exchange import is_newest, is_stored
from opencode_sessions.services.following import PASSING, Follower, Over
from opencode_sessions.services.options import prompt_parts
from opencode_sessions.services.plan import Plan
from opencode_sessions.services.ports import Events, TurnWire
from opencode_sessions.services.results import (
    TurnResult,
    outcome,
    said_of,
    snapshot,
    was_aborted,
    was_rejected,
)
from opencode_sessions.services.stopping import stop_agent
from opencode_sessions.store.messages import MessageState, TurnStatus

__all__ = ["Run"]

_log = logging.getLogger("opencode_sessions.turn")

_SENDS = 10
"""How often one runner sends a prompt at most: a server that dies over it each time is not asked for ever."""

_UNACKNOWLEDGED = (RequestTimedOutError, ConnectionLostError, ServerUnreachableError)


class Run:
    """Runs a turn that was taken under `row.epoch`.

    Args:
        plan: What it is.
        wire: Where.
        claim: The record's, which is kept meanwhile.
        row: The message's, streaming.
    """

    def __init__(self, plan: Plan, wire: TurnWire, claim: TurnClaim, row: MessageState) -> None:
        self._plan = plan
        self._wire = wire
        self._claim = claim
        self._row = row
        self._key = plan.store.key
        self._watch = Watch(wire.clock, plan.deadlines, self._key)
        self._kept = self._began = wire.clock.monotonic()
        self._just_created = self._doubted = False
        plan.observer.begin(self._key)
        self._follower: Follower
        self._events: Events
        self.owns = True
        """Nobody took the turn away or ended it."""

    async def run(self) -> TurnResult:
        """See `Turn.run`."""
        try:
            must_send = await self._prepare()
        except GeneratorExit:
            raise  # nothing may be awaited any more
        except TurnTakenError:
            self._listen_no_more()
            return await self._ended_elsewhere()
        except BaseException:
            await self._give_back()
            raise
        failure: OpencodeError | None = None
        try:
            await self._converse(must_send=must_send)
        except TurnTakenError:
            return await self._ended_elsewhere()
        except OpencodeError as error:
            _log.warning("the turn of %s failed: %s", self._key, error)
            failure = error
        except GeneratorExit:
            raise
        except BaseException as error:
            await self._break_off(error)
            raise
        finally:
            self._listen_no_more()
        end = outcome(self._reply, self._row, failure, fallback=self._fallback)
        if not await store_end(self._plan.store, self._wire.clock, self._row.epoch, end):
            return await self._ended_elsewhere()
        if failure is not None:
            # A deadline can pass in the instant after the prompt was sent.
            await self._stop_agent(patiently=isinstance(failure, TurnTimeoutError))
        return self._report(end)

    @property
    def _reply(self) -> Reply:
        return self._follower.reply

    # Before the prompt.

    async def _prepare(self) -> bool:
        """Find the session, listen, and store where the prompt goes. Must it be sent?"""
        session_id, prompt_id = self._row.session_id, self._row.prompt_id
        if session_id is None or prompt_id is None:
            await self._address(await self._current())
            return True
        await self._listen(session_id, prompt_id)
        self._follower.asking.adopt(self._row.asks)
        try:
            if await is_stored(self._wire, session_id, prompt_id):
                self._plan.observer.tell(lambda observer: observer.recovered(session_id, prompt_id))
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
        """The record's session, with nothing else running in it."""
        before = self._plan.lifecycle.store.seen
        session_id, info = await self._plan.lifecycle.current(self._wire)
        self._note_created(session_id, before)
        if info is None:
            return session_id

        async def busy_with() -> str | None:
            await self._stay()
            busy = await self._wire.busy(session_id, directory=info.directory)
            return "another prompt" if busy else None

        await self._claim.until_free(self._wire, busy_with, settling=True)
        return session_id

    async def _stay(self) -> None:
        """Who waits for the session lives, too."""
        now, lease = self._wire.clock.monotonic(), self._plan.deadlines.lease
        if now - self._kept < lease / 3:
            return
        if not await self._plan.store.extend(self._row.epoch, lease):
            raise self._taken()
        await self._claim.keep()
        self._kept = now

    async def _recreated(self, gone: str) -> str:
        session_id = await self._plan.lifecycle.recreate(self._wire, stale=gone)
        self._note_created(session_id, gone)
        return session_id

    def _note_created(self, session_id: str, replaced: str | None) -> None:
        if self._plan.lifecycle.just_created:
            self._just_created = True
            self._plan.observer.tell(lambda observer: observer.created(session_id, replaced))

    async def _address(self, session_id: str) -> None:
        """Listen to a session, and store that the prompt goes there, under an id that was never used before."""
        prompt_id = new_message_id()
        await self._listen(session_id, prompt_id)
        if not await self._plan.store.address(self._row.epoch, session_id, prompt_id):
            raise self._taken()
        self._row = replace(self._row, session_id=session_id, prompt_id=prompt_id)

    async def _listen(self, session_id: str, prompt_id: str) -> None:
        plan = self._plan
        plan.observer.session_id = session_id
        self._events = await self._wire.subscribe(session_id)
        reply = Reply(session_id, prompt_id)
        swallow = plan.lifecycle.swallow
        self._follower = Follower(
            self._wire,
            self._wire.clock,
            reply,
            Asking(self._wire, session_id, plan.on_ask, plan.observer, swallow, ours=reply.asks),
            deadlines=plan.deadlines,
            watch=self._watch,
            observer=plan.observer,
        )

    async def _give_back(self) -> None:
        """Nothing was sent by this runner: the row is as it was, for whoever runs it next."""
        store, epoch = self._plan.store, self._row.epoch
        self._listen_no_more()
        try:
            if self._row.prompt_id is None:
                await store.put_back(epoch)
            else:
                await store.extend(epoch, 0)
        except Exception as error:  # noqa: BLE001 - the cause is what is raised
            self._plan.lifecycle.swallow("put_back", self._row.session_id, error)

    def _listen_no_more(self) -> None:
        if hasattr(self, "_events"):
            self._events.close()
            self._follower.asking.close()

    # The prompt and its answer.

    async def _converse(self, *, must_send: bool) -> None:
        """Send and follow; where the server died over it, again."""
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
                must_send = False  # it went away again: the next look waits for it

    async def _send(self) -> None:
        """Send the prompt; where the session turns out to be gone, in a fresh one."""
        if not await self._sent():
            gone = self._reply.session_id
            self._listen_no_more()
            await self._address(await self._recreated(gone))
            if not await self._sent():
                raise self._stale()
        if not await self._plan.store.extend(self._row.epoch, self._plan.deadlines.lease):
            if (await self._plan.store.load()).status is TurnStatus.CANCELLED:
                await self._stop_agent(patiently=True)  # in this instant, when there was nothing to stop yet
            raise self._taken()

    async def _sent(self) -> bool:
        """False if there is no such session."""
        session_id, prompt_id = self._reply.session_id, self._reply.prompt_id
        options = self._plan.options
        self._plan.observer.tell(lambda observer: observer.started(session_id, prompt_id))
        self._follower.sending()
        try:
            await self._wire.prompt(
                session_id,
                prompt_parts(prompt_id, self._row.prompt, options.files),
                message_id=prompt_id,
                agent=options.agent,
                model=options.model,
                system=options.system,
                variant=options.variant,
                schema=options.shape.schema if options.shape is not None else None,
            )
        except SessionNotFoundError:
            return False
        except _UNACKNOWLEDGED as error:
            # It may have arrived: what is stored will tell.
            _log.warning("the prompt of %s was sent, but not acknowledged: %s", self._key, error)
        return True

    async def _may_resume(self) -> bool:
        """Nobody works on the prompt. Is it to be sent again, and can that not run a second turn?"""
        if self._reply.error is not None and self._reply.last is None and not self._doubted:
            # No message bears it: it can be of the turn before, told late. If it is ours, it comes again.
            self._doubted = True
            await self._follower.forget(self._events)
        if self._reply.error is not None or was_aborted(self._reply) or was_rejected(self._reply):
            return False
        ids = (self._reply.session_id, self._reply.prompt_id)
        if await is_stored(self._wire, *ids) and not await is_newest(self._wire, *ids):
            said = "the server stopped over it, and another prompt came after it: sending it again would run it twice"
            self._reply.error = {"name": "Overtaken", "message": said}
            return False
        _log.warning("nobody works on the turn of %s any more: sending its prompt again", self._key)
        return True

    async def _keep(self, changed: bool) -> bool:  # noqa: FBT001 - the follower's callback
        """Store the answer so far, or only that this runner lives. False where that is to be tried again."""
        store, lease = self._plan.store, self._plan.deadlines.lease
        try:
            if changed:
                asks = tuple(ask.to_json() for ask in self._follower.asking.waiting)
                self._row = replace(snapshot(self._reply, self._row), asks=asks)
                kept = await store.snapshot(self._row.epoch, self._row, lease)
            else:
                kept = await store.extend(self._row.epoch, lease)
            if kept and self._wire.clock.monotonic() - self._kept >= lease / 3:
                await self._claim.keep()
                self._kept = self._wire.clock.monotonic()
        except OpencodeError:
            raise
        except Exception as error:  # noqa: BLE001 - the database is elsewhere: the agent goes on meanwhile
            self._plan.lifecycle.swallow("snapshot", self._reply.session_id, error)
            return False
        if not kept:
            raise self._taken()
        return True

    # The end.

    def _fallback(self, error: Mapping[str, Any]) -> str:
        """What the host says of it, if that can be had."""
        try:
            return said_of(error, self._plan.fallback)
        except Exception as swallowed:  # noqa: BLE001 - the turn has its end, whatever the host's function does
            self._plan.lifecycle.swallow("fallback", self._reply.session_id, swallowed)
            return ""

    def _report(self, end: MessageState) -> TurnResult:
        """Its row says so: tell whoever is here."""
        self._plan.store.remember(end)
        result = self._plan.result(
            end,
            just_created=self._just_created,
            duration=self._wire.clock.monotonic() - self._began,
            first_token=self._watch.first_token,
        )
        self._plan.observer.tell(lambda observer: observer.finished(result))
        return result

    async def _ended_elsewhere(self) -> TurnResult:
        """The row refused this runner. A turn that was cancelled is stopped on the server by who cancelled it."""
        try:
            row = await self._plan.store.load()
        except RecordGoneError:
            self.owns = True  # nobody else is there any more: stop the agent, and let go of the record
            await self._stop_agent()
            raise
        self.owns = False
        if not row.status.terminal:
            raise self._taken()
        return self._report(row)

    async def _break_off(self, cause: BaseException) -> None:
        """Something broke in from outside; `cause` is on its way up.

        An error, which is the database's: the turn is left for the next runner, and the agent goes on. Ctrl-C or a
        cancelled task: the agent is stopped, and the turn is cancelled.
        """
        try:
            if isinstance(cause, Exception):
                await self._plan.store.extend(self._row.epoch, 0)
                return
            said = {"name": "Cancelled", "by": "runner", "message": type(cause).__name__}
            end = replace(snapshot(self._reply, self._row, TurnStatus.CANCELLED), error=said)
            if await self._plan.store.finish(self._row.epoch, end):
                await self._stop_agent(patiently=True)
                self._report(end)
        except Exception as error:  # noqa: BLE001 - the cause is what is raised
            self._plan.lifecycle.swallow("finish", self._reply.session_id, error)

    async def _stop_agent(self, *, patiently: bool = False) -> None:
        """Nobody listens to it any more; what answers another prompt is left alone. Never raises."""
        if self._row.session_id is not None and self._row.prompt_id is not None:
            ids = (self._row.session_id, self._row.prompt_id)
            await stop_agent(self._plan.lifecycle, self._wire, *ids, patiently=patiently)

    def _taken(self) -> TurnTakenError:
        self.owns = False
        return TurnTakenError(f"the turn of {self._key} was taken or ended elsewhere", message_key=self._key)

    def _stale(self) -> StaleSessionError:
        session_id, record = self._reply.session_id, self._plan.lifecycle.store.key
        error = StaleSessionError(
            f"the server has no session {session_id}, which {record} names, and the fresh one that replaced it is gone "
            "too: is something deleting sessions, or are there two servers behind this address?"
        )
        error.session_id = session_id
        error.record = record
        return error
