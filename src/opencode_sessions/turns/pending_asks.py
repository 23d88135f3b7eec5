"""The asks of one turn, and the way to their answers.

The host's handler gets an ask, or the ask waits in the row for `Turn.answer` in any process. If neither is set up, the
ask is refused at once with a message to the agent, which goes on. So no turn waits without end.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from opencode_sessions.errors import AskAnsweredError, BadRequestError, WireError
from opencode_sessions.protocol.events import (
    Event,
    PermissionAsked,
    PermissionReplied,
    QuestionAsked,
    QuestionReplied,
)
from opencode_sessions.turns.asks import Answer, Ask, AskHandler, InTheRow, send_answer
from opencode_sessions.turns.events import AskAnswered, AskRaised
from opencode_sessions.turns.observers import Listeners
from opencode_sessions.turns.ports import AskWire
from opencode_sessions.validation import is_coroutine_function

__all__ = ["PendingAsks"]

_log = logging.getLogger("opencode_sessions.turn")

_NOBODY = "Nobody is there to answer this. Go on without it, or say what you would need it for."
_NO_QUESTION = "This form cannot be shown here. Go on without it, or ask a question."
_EXPIRED = "Nobody has answered this in time. Go on without it, or say what you would need it for."


class PendingAsks:
    """The asks of one turn that wait.

    Args:
        wire: The server.
        session_id: The session that asks, itself or by its sub-agents.
        on_ask: The handler that answers.
        listeners: The turn's listeners.
        report: Reports errors.
        ours: Tells whether an ask is of this turn. Events of the session's next turn can still arrive here.
    """

    def __init__(
        self,
        wire: AskWire,
        session_id: str,
        on_ask: AskHandler | InTheRow | None,
        listeners: Listeners,
        report: Callable[[str, str | None, Exception], None],
        *,
        ours: Callable[[PermissionAsked | QuestionAsked], bool],
    ) -> None:
        self._wire = wire
        self._session_id = session_id
        self._on_ask = on_ask
        self._listeners = listeners
        self._report = report
        self._ours = ours
        self._pending: dict[str, Ask] = {}
        self._adopted: dict[str, Ask] = {}
        self._undelivered: dict[str, Answer] = {}
        self._handlers: dict[str, Callable[[], object]] = {}  # by ask: cancels the one that runs
        self._unlisted = False  # reported once

    @property
    def waiting(self) -> list[Ask]:
        """The asks that wait for an answer, as far as is known, for the row."""
        return [*self._adopted.values(), *self._pending.values()]

    @property
    def in_the_row(self) -> list[Ask]:
        """The asks that wait in the row for a person."""
        if not isinstance(self._on_ask, InTheRow):
            return []
        return [ask for ask in self._pending.values() if ask.id not in self._undelivered]

    async def still_wait(self) -> bool:
        """Do all asks in the row still wait, according to the server? If it cannot list them, the row counts."""
        try:
            listed = {event.request_id for event in await self._wire.pending_asks(self._session_id)}
        except BadRequestError:
            return True
        except WireError:
            return False
        return all(ask.id in listed for ask in self.in_the_row)

    def adopt(self, asks: Sequence[Mapping[str, Any]]) -> None:
        """Take over the asks of a runner that died, with their age.

        `refresh` finds those that still wait, and treats them as new ones.
        """
        for value in asks:
            ask = Ask.from_json(value)
            self._adopted[ask.id] = ask

    async def take(self, event: Event) -> bool:
        """Handle an event. True if the asks changed."""
        match event:
            case PermissionAsked() | QuestionAsked() if event.request_id not in self._pending:
                await self._asked(self._adopted.pop(event.request_id, Ask.of(event)))
                return True
            case PermissionReplied() | QuestionReplied():
                return self._answered(event.request_id)
        return False

    async def refresh(self) -> bool:
        """Read from the server which asks wait, after events may have been missed. True if the asks changed."""
        known, adopted = dict(self._pending), self._adopted
        try:
            pending = await self._wire.pending_asks(self._session_id)
        except BadRequestError as error:
            if not self._unlisted:
                self._unlisted = True
                self._report("list_asks", self._session_id, error)
            # Nothing but the row knows of the adopted asks, and an answer to an ask that does not wait does no harm.
            found = {**known, **adopted}
        else:
            found = {
                event.request_id: adopted.get(event.request_id) or Ask.of(event)
                for event in pending
                if self._ours(event)
            }
        self._adopted = {}
        for request_id in known:
            if request_id not in found:
                self._answered(request_id)
        for request_id, ask in found.items():
            if request_id not in known:
                await self._asked(ask)
            elif (answer := self._undelivered.pop(request_id, None)) is not None:
                await self._deliver(known[request_id], answer)
        return found.keys() != known.keys() | adopted.keys()

    def settle(self) -> None:
        """Nothing waits any more, because the turn has ended. The events that say so need not have been read yet."""
        for request_id in list(self._pending):
            self._answered(request_id)

    def waiting_for_a_person(self) -> float | None:
        """How long the turn has waited for a person, in seconds; None if no ask waits or all answers are known."""
        if self._on_ask is None:
            return None
        ages = (ask.age for ask in self._pending.values() if ask.id not in self._undelivered)
        return max(ages, default=None)

    async def expire(self) -> None:
        """Refuse all asks that wait, because the deadline has passed."""
        for ask in list(self._pending.values()):
            self._let_go(ask.id)
            await self._refuse(ask, _EXPIRED)

    def close(self) -> None:
        """Cancel the handlers, because the turn has ended."""
        for request_id in list(self._handlers):
            self._let_go(request_id)

    async def _asked(self, ask: Ask) -> None:
        self._pending[ask.id] = ask
        self._listeners.tell(AskRaised(ask))
        if self._on_ask is None:
            await self._refuse(ask, _NOBODY)
        elif ask.kind == "question" and not ask.questions:
            await self._refuse(ask, _NO_QUESTION)
        elif not isinstance(self._on_ask, InTheRow):
            cancel = self._wire.clock.spawn(lambda: self._handle(ask), "opencode-sessions ask")
            self._handlers[ask.id] = cancel

    def _let_go(self, request_id: str) -> None:
        """Cancel the handler of an ask whose answer is no longer needed."""
        cancel = self._handlers.pop(request_id, None)
        if cancel is not None:
            cancel()

    def _answered(self, request_id: str) -> bool:
        self._let_go(request_id)
        self._undelivered.pop(request_id, None)
        ask = self._pending.pop(request_id, None)
        if ask is None:  # an ask that only an earlier runner saw
            return self._adopted.pop(request_id, None) is not None
        self._listeners.tell(AskAnswered(ask))
        return True

    async def _handle(self, ask: Ask) -> None:
        """Have the handler answer an ask, in the background."""
        try:
            answer = await self._asked_of(self._on_ask, ask)  # type: ignore[arg-type]  # as `_asked` made sure
            self._handlers.pop(ask.id, None)  # so that the delivery of its answer is not cancelled
            if answer is not None:
                await self._deliver(ask, answer)
        except Exception as error:  # noqa: BLE001 - reported, and the turn must not hang on it
            self._report("ask", ask.session_id, error)
            await self._refuse(ask, _NOBODY)

    async def _asked_of(self, handler: AskHandler, ask: Ask) -> Answer | None:
        """The answer of the host's handler. An ordinary function may block, so it runs in a thread of its own."""
        answer: Answer | Awaitable[Answer | None] | None
        if is_coroutine_function(handler):
            answer = handler(ask)
        else:
            answer = await self._wire.clock.call(lambda: handler(ask))
        return await answer if inspect.isawaitable(answer) else answer

    async def _refuse(self, ask: Ask, message: str) -> None:
        await self._deliver(ask, Answer.reject(message))

    async def _deliver(self, ask: Ask, answer: Answer) -> None:
        """Send the answer to the server. If the server is away, the next look sends it again."""
        try:
            await send_answer(self._wire, ask, answer)
        except AskAnsweredError as error:
            _log.info("%s", error)
        except WireError as error:
            self._undelivered[ask.id] = answer
            self._report("ask", ask.session_id, error)
