"""A first turn: one prompt, its answer as it streams, and the row that says how it ended.

    ensure → reconcile → not busy? → subscribe → take → send → follow, storing a snapshot now and then → finish

The exchange that the server stored is authoritative. A runner that is killed in the middle leaves its row
`streaming`; a row that has ended is answered from what it holds.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from opencode_sessions.errors import (
    ConnectionLostError,
    OpencodeError,
    RequestTimedOutError,
    SessionNotFoundError,
    StaleSessionError,
    TurnInProgressError,
    TurnTakenError,
)
from opencode_sessions.protocol.ids import new_message_id, new_part_id
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.protocol.values import SessionInfo
from opencode_sessions.services.following import Deadlines, Follower
from opencode_sessions.services.lifecycle import Lifecycle
from opencode_sessions.services.observing import Contained, Observer
from opencode_sessions.services.ports import Events, TurnWire
from opencode_sessions.services.results import TurnResult, outcome, snapshot
from opencode_sessions.store.messages import MessageState, MessageStore, TurnStatus

__all__ = ["TurnDriver", "TurnOptions"]

_log = logging.getLogger("opencode_sessions.turn")

_UNTIL_STORED = (0.2, 1.0, 3.0)
"""Seconds between the tries to store the end of a turn."""

_UNTIL_IDLE = (0.1, 0.2, 0.4, 0.8)
"""Seconds to wait for a session that was only just aborted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnOptions:
    """What the prompt says beside its text.

    Attributes:
        agent: The agent's name, else the server's default.
        model: As `provider/model`, else the agent's.
        system: More system prompt.
        variant: The model's variant, such as an effort.
    """

    agent: str | None = None
    model: str | None = None
    system: str | None = None
    variant: str | None = None


class TurnDriver:
    """Drives one message's turn, over stores and a wire that block or suspend."""

    def __init__(
        self,
        store: MessageStore,
        lifecycle: Lifecycle,
        *,
        options: TurnOptions,
        deadlines: Deadlines,
        observer: Observer,
    ) -> None:
        self._store = store
        self._lifecycle = lifecycle
        self._options = options
        self._deadlines = deadlines
        self._observer = Contained(observer, lifecycle.swallow)
        self._reply = Reply("", "")
        self._first_token: float | None = None

    async def run(self, wire: TurnWire) -> TurnResult:
        """Ask, follow, store; see `Turn.run`."""
        self._store.check()
        self._lifecycle.store.check()
        found = await self._store.load()
        if found.status.terminal:
            return TurnResult.of(found)
        if found.status is TurnStatus.STREAMING:
            raise self._in_progress()
        session_id, info = await self._lifecycle.current(wire)
        if info is not None:
            await self._refuse_busy(wire, info)
        just_created = self._lifecycle.just_created
        prompt_id = new_message_id()
        events = await wire.subscribe(session_id)
        try:
            if not await self._store.start(None, prompt_id):
                raise self._in_progress()  # noqa: TRY301 - it closes the subscription, like whatever else is raised
        except BaseException:
            events.close()
            raise
        self._reply = Reply(session_id, prompt_id)
        began = wire.clock.monotonic()
        failure: OpencodeError | None = None
        try:
            await self._converse(wire, events, found.prompt)
        except OpencodeError as error:
            _log.warning("the turn of %s failed: %s", self._store.key, error)
            failure = error
        except GeneratorExit:
            raise  # nothing may be awaited any more
        except BaseException as error:
            # A cancelled task, Ctrl-C, an error of the database: the row must not stay `streaming`.
            await self._break_off(wire, found.prompt, error)
            raise
        end = outcome(self._reply, found.prompt, failure)
        if not await self._finish(wire, end):
            return TurnResult.of(await self._store.load())
        self._store.remember(end)
        result = TurnResult.of(
            end,
            session_id=self._reply.session_id,
            just_created=just_created or self._lifecycle.just_created,
            duration=wire.clock.monotonic() - began,
            first_token=self._first_token,
        )
        self._observer.tell(lambda observer: observer.finished(result))
        return result

    async def _finish(self, wire: TurnWire, end: MessageState) -> bool:
        """Store the end; a database that is elsewhere for a moment is asked again."""
        for pause in _UNTIL_STORED:
            try:
                return await self._store.finish(self._reply.prompt_id, end)
            except OpencodeError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever the host's database raises
                _log.warning("the end of %s cannot be stored now: %s", self._store.key, error)
            await wire.clock.sleep(pause)
        return await self._store.finish(self._reply.prompt_id, end)

    async def _refuse_busy(self, wire: TurnWire, session: SessionInfo) -> None:
        """A second prompt in a busy session would be answered within the first one's turn, or never."""
        for pause in (0.0, *_UNTIL_IDLE):
            await wire.clock.sleep(pause)
            if not await wire.busy(session.id, directory=session.directory):
                return
        raise TurnInProgressError(
            f"session {session.id} is still answering another prompt: wait for that turn, or abort it; "
            f"the turn of {self._store.key} stays pending",
            message_key=self._store.key,
        )

    async def _break_off(self, wire: TurnWire, prompt: str, cause: BaseException) -> None:
        """Stop the agent and end the row, as well as it goes; `cause` is on its way up."""
        await self._lifecycle.abort(wire, self._reply.session_id)
        status = TurnStatus.FAILED if isinstance(cause, Exception) else TurnStatus.CANCELLED
        self._reply.error = {"name": type(cause).__name__, "message": str(cause)}
        try:
            await self._store.finish(self._reply.prompt_id, snapshot(self._reply, prompt, status))
        except Exception as error:  # noqa: BLE001 - the cause is what is raised
            self._lifecycle.swallow("finish", self._reply.session_id, error)

    async def _converse(self, wire: TurnWire, events: Events, prompt: str) -> None:
        """Send and follow; where the session turns out to be gone, once more in a fresh one."""
        if not await self._send_and_follow(wire, events, prompt):
            await self._move(wire)
            events = await wire.subscribe(self._reply.session_id)
            if not await self._send_and_follow(wire, events, prompt):
                raise self._stale()

    async def _send_and_follow(self, wire: TurnWire, events: Events, prompt: str) -> bool:
        """False if the session is gone, so that nothing was sent. The subscription is closed at the end."""
        try:
            self._observer.session_id = self._reply.session_id
            ids = (self._reply.session_id, self._reply.prompt_id)
            self._observer.tell(lambda observer: observer.started(*ids))
            try:
                await wire.prompt(
                    self._reply.session_id,
                    prompt,
                    message_id=self._reply.prompt_id,
                    part_id=new_part_id(),
                    agent=self._options.agent,
                    model=self._options.model,
                    system=self._options.system,
                    variant=self._options.variant,
                )
            except SessionNotFoundError:
                return False
            except (RequestTimedOutError, ConnectionLostError) as error:
                # It may have arrived: what is stored will tell, and else the deadline for a start.
                _log.warning("the prompt of %s was sent, but not acknowledged: %s", self._store.key, error)
            await self._follow(wire, events, prompt)
        finally:
            events.close()
        return True

    async def _follow(self, wire: TurnWire, events: Events, prompt: str) -> None:
        async def store(reply: Reply) -> None:
            try:
                stored = await self._store.snapshot(reply.prompt_id, snapshot(reply, prompt))
            except OpencodeError:
                raise
            except Exception as error:  # noqa: BLE001 - a snapshot is a courtesy: the next one, or the end, will do
                self._lifecycle.swallow("snapshot", reply.session_id, error)
                return
            if not stored:
                raise TurnTakenError(
                    f"the turn of {self._store.key} was ended elsewhere", message_key=self._store.key
                )

        follower = Follower(
            wire,
            wire.clock,
            self._reply,
            key=self._store.key,
            deadlines=self._deadlines,
            observer=self._observer,
            store=store,
        )
        try:
            self._reply = await follower.follow(events)
        except OpencodeError:
            if self._reply.messages:  # else what runs there is another prompt's answer
                await self._lifecycle.abort(wire, self._reply.session_id)  # nobody listens to it any more
            raise
        finally:
            self._first_token = follower.first_token

    async def _move(self, wire: TurnWire) -> None:
        """To a fresh session, under a fresh prompt id: one is never used in a second session."""
        gone = self._reply
        session_id = await self._lifecycle.recreate(wire, stale=gone.session_id)
        prompt_id = new_message_id()
        if not await self._store.start(gone.prompt_id, prompt_id):
            raise self._in_progress()
        self._reply = Reply(session_id, prompt_id)

    def _stale(self) -> StaleSessionError:
        error = StaleSessionError(
            f"the server has no session {self._reply.session_id}, which {self._lifecycle.store.key} names, and "
            "the fresh one that replaced it is gone too: is something deleting sessions, or are there two servers "
            "behind this address?"
        )
        error.session_id = self._reply.session_id
        error.record = self._lifecycle.store.key
        return error

    def _in_progress(self) -> TurnInProgressError:
        return TurnInProgressError(
            f"the turn of {self._store.key} is running, or its runner died in it", message_key=self._store.key
        )
