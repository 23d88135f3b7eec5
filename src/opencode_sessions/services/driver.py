"""A turn: one prompt, its answer as it streams, and the row that says how it ended, whoever runs it and how often.

    claim the record → take the row → ensure → reconcile → subscribe → is the prompt there?
        → address → send, only if it must be sent → follow, storing a snapshot now and then → finish → call back

The prompt's ids are stored before it is first sent. Before it is sent again, what the server has is read:

| the prompt is … | what is done |
|---|---|
| absent | it is sent, under the same ids |
| queued or running | it is followed |
| answered, failed or aborted | the row is told |
| there, not answered, nobody works on it (the server died) | it is sent again: the server resumes it |
| the same, but another prompt came after it | the turn fails: sending it would run a second one |
| in a session that is gone | it is sent in a fresh one, under new ids |

The exchange that the server stored is authoritative.
"""

from __future__ import annotations

from dataclasses import replace

from opencode_sessions.errors import AskAnsweredError, OpencodeError, RecordGoneError, TurnInProgressError
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.services.asks import Answer, Ask, answer_ask
from opencode_sessions.services.claiming import TurnClaim, WhenBusy
from opencode_sessions.services.exchange import is_stored, read_exchange
from opencode_sessions.services.logbook import Logbook
from opencode_sessions.services.plan import Plan
from opencode_sessions.services.ports import TurnWire
from opencode_sessions.services.results import TurnResult, snapshot
from opencode_sessions.services.running import Run
from opencode_sessions.services.stopping import reject_asks, stop_agent
from opencode_sessions.store.messages import MessageState, TurnStatus

__all__ = ["TurnDriver"]

_ATTEMPTS = 20
_SETTLE = (0.0, 0.1, 0.2, 0.4, 0.8)


class TurnDriver:
    """Drives one message's turn, over stores and a wire that block or suspend."""

    def __init__(self, plan: Plan, *, when_busy: WhenBusy) -> None:
        self._plan = plan
        self._when_busy = when_busy

    @property
    def key(self) -> str:
        """What names the message."""
        return self._plan.store.key

    async def run(self, wire: TurnWire) -> TurnResult:
        """Ask, follow, store; see `Turn.run`."""
        plan = self._plan
        plan.store.check()
        plan.lifecycle.store.check()
        claim = self._claim()
        while True:
            row = await self._when_free(wire, claim)
            if row.status.terminal:
                return self._plan.result(row)
            if await self._took(wire, claim, row):
                break
        run = Run(plan, wire, claim, replace(row, status=TurnStatus.STREAMING, epoch=row.epoch + 1))
        try:
            return await run.run()
        except GeneratorExit:
            run.owns = False  # nothing may be awaited any more
            raise
        finally:
            if run.owns:
                await claim.release()

    async def cancel(self, wire: TurnWire, *, by: str) -> bool:
        """End the turn where it is, then stop what runs; see `Turn.cancel`."""
        store = self._plan.store
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
        asks = row.asks
        row = replace(row, status=TurnStatus.CANCELLED, epoch=row.epoch + 1, asks=(), error=error)
        Logbook(store.key, row.session_id, row.prompt_id).cancelled(by)
        claim = self._claim()
        try:
            # Nobody else's prompt is to be there when the abort arrives, perhaps late, or for the second time.
            await claim.share()
        except Exception as swallowed:  # noqa: BLE001 - the row is cancelled: the rest is a courtesy
            self._plan.lifecycle.swallow("claim", row.session_id, swallowed)
        try:
            store.remember(await self._stopped(wire, replace(row, revision=row.revision + 1)))
            await reject_asks(self._plan.lifecycle, wire, asks)
        finally:
            await claim.release()
        return True

    async def answer(self, wire: TurnWire, ask_id: str, answer: Answer) -> None:
        """Answer what waits in the row; see `Turn.answer`."""
        self._plan.store.check()
        row = await self._plan.store.load()
        for value in row.asks:
            if value["id"] == ask_id:
                await answer_ask(wire, Ask.from_json(value), answer)
                return
        raise AskAnsweredError(
            f"{self._plan.store.key} waits for no answer to {ask_id!r}: it was given, or its turn has ended",
            ask_id=ask_id,
            message_key=self._plan.store.key,
        )

    async def _when_free(self, wire: TurnWire, claim: TurnClaim) -> MessageState:
        """The row, when nobody runs this very turn (any more)."""
        row: MessageState

        async def busy_with() -> str | None:
            nonlocal row
            row = await self._plan.store.load()
            return None if row.status.terminal or _is_to_run(row) else self._plan.store.key

        await claim.until_free(wire, busy_with)
        return row

    async def _took(self, wire: TurnWire, claim: TurnClaim, row: MessageState) -> bool:
        """Make the record and the turn this runner's. False where it is to look again: another was quicker."""
        try:
            if not await claim.take(wire, lambda other: self._make_way(wire, other)):
                return False
            if await self._plan.store.take(row, self._plan.deadlines.lease):
                return True
        except (TurnInProgressError, GeneratorExit):
            raise
        except BaseException:
            await self._let_go(claim)
            raise
        await self._let_go(claim)
        return False

    async def _let_go(self, claim: TurnClaim) -> None:
        """Let the next turn in, unless another runner has this one: the claim is that one's, too."""
        try:
            if (await self._plan.store.load()).status is TurnStatus.STREAMING:
                return
        except RecordGoneError:
            pass
        except Exception as error:  # noqa: BLE001 - what led here is what is raised
            self._plan.lifecycle.swallow("release", None, error)
            return
        await claim.release()

    async def _make_way(self, wire: TurnWire, other: str) -> bool:
        """Cancel the turn that has the record. False where this one is not to be begun any more: it cancels none.

        One that has ended is waited for: who ended it may be about to stop its agent.
        """
        if not _is_to_run(await self._plan.store.load()):
            return False
        store = self._plan.store.sibling(other)
        try:
            if store is not None:
                driver = TurnDriver(replace(self._plan, store=store), when_busy=self._when_busy)
                await driver.cancel(wire, by=self.key)
                return True
        except RecordGoneError:
            pass
        await self._plan.lifecycle.abort(wire)  # whose it is cannot be told: nobody writes that row
        return True

    def _claim(self) -> TurnClaim:
        limits = self._plan.deadlines
        return TurnClaim(
            self._plan.lifecycle,
            self._plan.store.key,
            when_busy=self._when_busy,
            patience=limits.queue,
            lease=limits.lease,
        )

    async def _stopped(self, wire: TurnWire, row: MessageState) -> MessageState:
        """Stop the agent, and keep what it had answered by then. What goes wrong is reported, never raised."""
        if row.session_id is None or row.prompt_id is None:
            return row
        ids = (row.session_id, row.prompt_id)
        await stop_agent(self._plan.lifecycle, wire, *ids, patiently=True)
        try:
            for pause in _SETTLE:
                await wire.clock.sleep(pause)
                if not await is_stored(wire, *ids):
                    continue  # its runner may be sending it in this instant
                reply = Reply.of(*ids, await read_exchange(wire, *ids))
                if reply.last is not None and (reply.last.completed or reply.error is not None):
                    return await self._amended(row, reply)
            await stop_agent(self._plan.lifecycle, wire, *ids)
        except Exception as error:  # noqa: BLE001 - the row is cancelled: the rest is a courtesy
            self._plan.lifecycle.swallow("amend", row.session_id, error)
        return row

    async def _amended(self, row: MessageState, reply: Reply) -> MessageState:
        if len(reply.text) < len(row.content):
            return row
        end = replace(snapshot(reply, row, TurnStatus.CANCELLED), error=row.error)
        return end if await self._plan.store.amend(row.epoch, end) else row


def _is_to_run(row: MessageState) -> bool:
    """Has it not ended, and does nobody run it?"""
    return row.status is TurnStatus.PENDING or row.abandoned
