"""A turn: one prompt, its answer as it streams, and the row that stores its end, however many runners it has.

    claim the record → take the row → ensure → reconcile → subscribe → is the prompt there?
        → address → send, only if it must be sent → follow, storing a snapshot now and then → finish → call back

The prompt's ids are stored before it is first sent. Before it is sent again, what the server has is read:

| the prompt is … | what is done |
|---|---|
| absent | it is sent, under the same ids |
| queued or running | it is followed |
| answered, failed or aborted | the end is stored in the row |
| there, not answered, and the session is not busy (the server died) | it is sent again: the server resumes it |
| the same, but another prompt came after it | the turn fails: sending it would run a second one |
| in a session that is gone | it is sent in a fresh one, under new ids |

The exchange that the server stored is authoritative.
"""

from __future__ import annotations

from dataclasses import replace

from opencode_sessions.errors import (
    AskAnsweredError,
    AskChangedError,
    ConfigurationError,
    OpencodeError,
    RecordGoneError,
    TurnInProgressError,
    TurnParkedError,
)
from opencode_sessions.protocol.asked import digest_of
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.store.messages import MessageState, TurnStatus
from opencode_sessions.turns.asks import Answer, Ask, send_answer
from opencode_sessions.turns.claim import RecordLock, WhenBusy
from opencode_sessions.turns.events import TurnDropped
from opencode_sessions.turns.exchange import is_stored, read_exchange
from opencode_sessions.turns.execution import TurnExecution
from opencode_sessions.turns.observers import LoggingObserver
from opencode_sessions.turns.options import is_blank
from opencode_sessions.turns.parking import resume, seconds_left
from opencode_sessions.turns.ports import TurnWire
from opencode_sessions.turns.releasing import Release
from opencode_sessions.turns.results import TurnResult, snapshot
from opencode_sessions.turns.spec import TurnSpec
from opencode_sessions.turns.stop_agent import reject_asks, stop_agent

__all__ = ["TurnDriver"]

_ATTEMPTS = 20
_SETTLE = (0.0, 0.1, 0.2, 0.4, 0.8)


class TurnDriver:
    """Drives one message's turn, over stores and a wire that block or suspend."""

    def __init__(self, spec: TurnSpec, *, when_busy: WhenBusy) -> None:
        self._spec = spec
        self._when_busy = when_busy
        self._release = Release(lambda: spec.store.key)

    @property
    def key(self) -> str:
        """The message's key."""
        return self._spec.store.key

    async def run(self, wire: TurnWire, *, park: bool = False) -> TurnResult:
        """See `Turn.run`."""
        spec = self._spec
        spec.store.check()
        spec.lifecycle.store.check()
        self._release.check()
        claim = self._claim()
        while True:
            row = await self._when_free(wire, claim)
            if row.status.terminal:
                await spec.collect_files(wire, row)
                return spec.result(row)
            self._check_prompt(row)
            if row.status is TurnStatus.PENDING:
                await spec.admit(begun=False)
            if await self._took(wire, claim, row):
                break
        found = spec.found(row)
        row = replace(row, status=TurnStatus.STREAMING, epoch=row.epoch + 1)
        run = TurnExecution(spec, wire, claim, row, self._release, park=park)
        stay_open = wire.clock.at_close(lambda: self._hand_over(wire))
        try:
            with spec.listeners.run(found, row.epoch):
                return await run.run()
        except GeneratorExit:
            run.owns = False  # a closed generator may await nothing
            raise
        except TurnParkedError:
            run.owns = False  # a parked turn keeps the record, and leaves its places
            await spec.leave()
            raise
        finally:
            stay_open()
            self._release.epochs.remove(row.epoch)
            if run.owns:
                await self._let_next_in(claim)

    def row_written(self) -> None:
        """See `Turn.row_written`."""
        self._release.row_written()

    async def release(self, wire: TurnWire, *, why: str = "") -> None:
        """See `Turn.release`."""
        for epoch in await self._release.ask(wire.clock, why):
            await self._spec.store.extend(epoch, 0)

    async def _hand_over(self, wire: TurnWire) -> None:
        """Release the turn, because its client is about to be closed."""
        try:
            await self.release(wire, why=": its client was closed")
        except Exception as error:  # noqa: BLE001 - reported: the lease expires by itself
            self._spec.lifecycle.report_suppressed("release", self._spec.listeners.session_id, error)

    async def cancel(self, wire: TurnWire, *, by: str) -> bool:
        """See `Turn.cancel`."""
        store = self._spec.store
        store.check()
        for _ in range(_ATTEMPTS):
            row = await store.load()
            if row.status.terminal:
                return False
            error = {"name": "Cancelled", "by": by, "message": f"cancelled by {by}"}
            if await store.cancel(row, error):
                break
        else:
            raise OpencodeError(f"{store.key} changed {_ATTEMPTS} times while its turn was being cancelled")
        asks, unattended, found = row.asks, _is_to_run(row), self._spec.found(row)
        row = replace(row, status=TurnStatus.CANCELLED, epoch=row.epoch + 1, asks=(), error=error)
        LoggingObserver(store.key, row.session_id, row.prompt_id).cancelled(by)
        claim = self._claim()
        try:
            # Keep the next turn out of the session: the abort may arrive late, or twice, and would stop its prompt.
            await claim.share()
        except Exception as swallowed:  # noqa: BLE001 - the row is cancelled; stopping the agent is best effort
            self._spec.lifecycle.report_suppressed("claim", row.session_id, swallowed)
        try:
            row = await self._stopped(wire, replace(row, revision=row.revision + 1))
            store.remember(row)
            await reject_asks(self._spec.lifecycle, wire, asks)
            await self._spec.collect_files(wire, row)
        finally:
            await self._let_next_in(claim)
        if unattended:
            self._spec.listeners.tell(found)
            self._spec.listeners.tell(TurnDropped(self._spec.result(row)))
        return True

    async def answer(self, wire: TurnWire, ask_id: str, answer: Answer) -> None:
        """See `Turn.answer`."""
        store = self._spec.store
        store.check()
        row = await store.load()
        value = next((each for each in row.asks if each["id"] == ask_id), None)
        if value is None:
            raise AskAnsweredError(
                f"{store.key} waits for no answer to {ask_id!r}: it was given, or its turn has ended",
                ask_id=ask_id,
                message_key=store.key,
            )
        if getattr(answer, "shown", "") not in ("", digest_of(value, row.parts)):
            raise AskChangedError(
                f"{store.key}: ask {ask_id!r} has changed since it was shown: show it again",
                ask_id=ask_id,
                message_key=store.key,
            )
        await self._tell(wire, row, Ask.from_json(value), answer)

    async def _tell(self, wire: TurnWire, row: MessageState, ask: Ask, answer: Answer) -> None:
        """Send the answer, and enqueue a parked turn. Its lease is short, in case this process dies in between."""
        store, limits = self._spec.store, self._spec.deadlines
        if row.parked:
            await store.extend(row.epoch, limits.lease)
        try:
            await send_answer(wire, ask, answer)
        except AskAnsweredError:
            await resume(self._spec, ask)  # the next runner of the turn finds out how the ask ended
            raise
        except Exception:
            if row.parked:  # the ask still waits
                left = seconds_left(map(Ask.from_json, row.asks), limits.person)
                await store.park(row.epoch, max(left, limits.lease))
            raise
        await resume(self._spec, ask)

    async def _when_free(self, wire: TurnWire, claim: RecordLock) -> MessageState:
        """The row, once no other process runs this turn."""
        row: MessageState

        async def busy_with() -> str | None:
            nonlocal row
            row = await self._spec.store.load()
            return None if row.status.terminal or _is_to_run(row) else self._spec.store.key

        await claim.until_free(wire, busy_with)
        return row

    def _check_prompt(self, row: MessageState) -> None:
        """Refuse an empty prompt. Files may be sent without a text (1.18.33)."""
        if row.status is TurnStatus.PENDING and is_blank(row.prompt) and not self._spec.options.files:
            raise ConfigurationError(
                f"{self.key} has no prompt, or a blank one: store what the agent is asked in the row, or pass files="
            )

    async def _took(self, wire: TurnWire, claim: RecordLock, row: MessageState) -> bool:
        """Acquire the record's lock and start the turn. False if another runner was faster: look again."""
        try:
            if not await claim.take(wire, lambda other: self._make_way(wire, other), self._state_of):
                return False
            if await self._release.write(lambda: self._take(row)):
                return True
        except (TurnInProgressError, GeneratorExit):
            raise
        except BaseException:
            await self._let_go(claim)
            raise
        await self._let_go(claim)
        return False

    async def _take(self, row: MessageState) -> bool:
        taken = await self._spec.store.take(row, self._spec.deadlines.lease)
        if taken:
            self._release.epochs.append(row.epoch + 1)
        return taken

    async def _let_go(self, claim: RecordLock) -> None:
        """Release the record's lock, unless another runner has this turn: it then holds the same lock."""
        try:
            if (await self._spec.store.load()).status is TurnStatus.STREAMING:
                return
        except RecordGoneError:
            pass
        except Exception as error:  # noqa: BLE001 - the first error is raised
            self._spec.lifecycle.report_suppressed("release", None, error)
            return
        await self._let_next_in(claim)

    async def _let_next_in(self, claim: RecordLock) -> None:
        await claim.release()
        await self._spec.hand_on(self._spec.queue.put_next)
        await self._spec.leave()

    async def _state_of(self, other: str) -> MessageState | None:
        """The row of the message with this key. None if it is of another table, whose rows cannot be read here."""
        store = self._spec.store.sibling(other)
        return None if store is None else await store.load()

    async def _make_way(self, wire: TurnWire, other: str) -> bool:
        """Cancel the turn that holds the record. False, without a cancel, if this turn no longer needs to begin.

        If the other turn has ended, it is not cancelled: the process that ended it may be about to stop its agent.
        """
        if not _is_to_run(await self._spec.store.load()):
            return False
        store = self._spec.store.sibling(other)
        try:
            if store is not None:
                driver = TurnDriver(replace(self._spec, store=store), when_busy=self._when_busy)
                await driver.cancel(wire, by=self.key)
                return True
        except RecordGoneError:
            pass
        await self._spec.lifecycle.abort(wire)  # the other row is unknown here, so only its agent is stopped
        return True

    def _claim(self) -> RecordLock:
        limits = self._spec.deadlines
        return RecordLock(
            self._spec.lifecycle,
            self._spec.store.key,
            when_busy=self._when_busy,
            patience=limits.queue,
            lease=limits.lease,
            release=self._release,
        )

    async def _stopped(self, wire: TurnWire, row: MessageState) -> MessageState:
        """Stop the agent, and store its answer up to then. Errors are reported, never raised."""
        if row.session_id is None or row.prompt_id is None:
            return row
        ids = (row.session_id, row.prompt_id)
        await stop_agent(self._spec.lifecycle, wire, *ids, patiently=True)
        try:
            for pause in _SETTLE:
                await wire.clock.sleep(pause)
                if not await is_stored(wire, *ids):
                    continue  # its runner may be sending the prompt right now
                reply = Reply.of(*ids, await read_exchange(wire, *ids))
                if reply.last is not None and (reply.last.completed or reply.error is not None):
                    return await self._amended(row, reply)
            await stop_agent(self._spec.lifecycle, wire, *ids)
        except Exception as error:  # noqa: BLE001 - the row is cancelled; the rest of the answer is best effort
            self._spec.lifecycle.report_suppressed("update_after_cancel", row.session_id, error)
        return row

    async def _amended(self, row: MessageState, reply: Reply) -> MessageState:
        if len(reply.text) < len(row.content):
            return row
        end = replace(snapshot(reply, row, TurnStatus.CANCELLED), error=row.error)
        return end if await self._spec.store.update_after_cancel(row.epoch, end) else row


def _is_to_run(row: MessageState) -> bool:
    """Has the turn not ended, and does no process run it?"""
    return row.status is TurnStatus.PENDING or row.abandoned or row.parked
