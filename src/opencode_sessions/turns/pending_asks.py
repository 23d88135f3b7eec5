"""The asks of one turn, and who answers them.

An ask is given to the host's handler, or waits in the row for another process to answer (`Turn.answer`), or, with
nobody to answer, is refused at once with a word to the agent, which then goes on without. So no turn hangs on one.
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
    """The asks of one turn, as they come and go.

    Args:
        wire: Where they are answered.
        session_id: Whose they are, or whose sub-agents'.
        on_ask: Who answers.
        listeners: Are told.
        report: What goes wrong is reported there.
        ours: Is it this turn's, and not the next one's of the session, that is still heard here?
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
        self._handlers: dict[str, Callable[[], object]] = {}  # those that think still, and what cancels each
        self._unlisted = False  # that is reported once

    @property
    def waiting(self) -> list[Ask]:
        """What waits for an answer, as far as is known: for the row."""
        return [*self._adopted.values(), *self._pending.values()]

    @property
    def in_the_row(self) -> list[Ask]:
        """What is left in the row for a person to answer, and waits for that."""
        if not isinstance(self._on_ask, InTheRow):
            return []
        return [ask for ask in self._pending.values() if ask.id not in self._undelivered]

    async def still_wait(self) -> bool:
        """Does the server say so of all that is left in the row? Of what it cannot list, the row is believed."""
        try:
            listed = {event.request_id for event in await self._wire.pending_asks(self._session_id)}
        except BadRequestError:
            return True
        except WireError:
            return False
        return all(ask.id in listed for ask in self.in_the_row)

    def adopt(self, asks: Sequence[Mapping[str, Any]]) -> None:
        """Take over what waited when its runner died, with its age.

        `refresh` finds what still does: that goes the way of a new one, for nobody is left who minds it.
        """
        for value in asks:
            ask = Ask.from_json(value)
            self._adopted[ask.id] = ask

    async def take(self, event: Event) -> bool:
        """Mind an event. Did anything about the asks change?"""
        match event:
            case PermissionAsked() | QuestionAsked() if event.request_id not in self._pending:
                await self._asked(self._adopted.pop(event.request_id, Ask.of(event)))
                return True
            case PermissionReplied() | QuestionReplied():
                return self._answered(event.request_id)
        return False

    async def refresh(self) -> bool:
        """Read what waits now, after events may have been missed. Did anything change?"""
        known, adopted = dict(self._pending), self._adopted
        try:
            pending = await self._wire.pending_asks(self._session_id)
        except BadRequestError as error:
            if not self._unlisted:
                self._unlisted = True
                self._report("list_asks", self._session_id, error)
            # Of what waited, nobody will ever tell more than the row did: answering what does not wait hurts nobody.
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

    def waiting_for_a_person(self) -> float | None:
        """For how many seconds, if one is waited for; an answer that is only still to be delivered is there."""
        if self._on_ask is None:
            return None
        ages = (ask.age for ask in self._pending.values() if ask.id not in self._undelivered)
        return max(ages, default=None)

    async def expire(self) -> None:
        """Refuse all that waits: nobody has answered in time."""
        for ask in list(self._pending.values()):
            self._let_go(ask.id)
            await self._refuse(ask, _EXPIRED)

    def close(self) -> None:
        """The turn has ended: no handler need go on."""
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
        """What its handler would say, nobody needs any more."""
        cancel = self._handlers.pop(request_id, None)
        if cancel is not None:
            cancel()

    def _answered(self, request_id: str) -> bool:
        self._let_go(request_id)
        self._undelivered.pop(request_id, None)
        ask = self._pending.pop(request_id, None)
        if ask is None:  # of one that another runner was told of, ours was not
            return self._adopted.pop(request_id, None) is not None
        self._listeners.tell(AskAnswered(ask))
        return True

    async def _handle(self, ask: Ask) -> None:
        """Runs beside the turn."""
        try:
            answer = await self._asked_of(self._on_ask, ask)  # type: ignore[arg-type]  # as `_asked` made sure
            self._handlers.pop(ask.id, None)  # it has its say: delivering that is not to be cut short
            if answer is not None:
                await self._deliver(ask, answer)
        except Exception as error:  # noqa: BLE001 - reported, and the turn must not hang on it
            self._report("ask", ask.session_id, error)
            await self._refuse(ask, _NOBODY)

    async def _asked_of(self, handler: AskHandler, ask: Ask) -> Answer | None:
        """What the host's handler says; an ordinary function may wait there, and must keep nobody else waiting."""
        answer: Answer | Awaitable[Answer | None] | None
        if is_coroutine_function(handler):
            answer = handler(ask)
        else:
            answer = await self._wire.clock.call(lambda: handler(ask))
        return await answer if inspect.isawaitable(answer) else answer

    async def _refuse(self, ask: Ask, message: str) -> None:
        await self._deliver(ask, Answer.reject(message))

    async def _deliver(self, ask: Ask, answer: Answer) -> None:
        """Tell the server; where it cannot be told now, the next look tells it."""
        try:
            await send_answer(self._wire, ask, answer)
        except AskAnsweredError as error:
            _log.info("%s", error)
        except WireError as error:
            self._undelivered[ask.id] = answer
            self._report("ask", ask.session_id, error)
