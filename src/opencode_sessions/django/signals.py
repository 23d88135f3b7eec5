"""Django signals of turns, and the observer that sends them. The sender is the message's model.

Each comes with `message_key` (such as ``"chat_message:7"``), `pk`, `using` (the alias of its database) and `tenant`
(empty if there are none), and:

| signal | with | when |
|---|---|---|
| `turn_started` | `session_id`, `prompt_id`, `recovered` | the prompt is about to be sent, or was found on the server |
| `turn_changed` | `reply`, `change` | the answer has grown |
| `turn_asked` | `ask` | the agent waits for a person |
| `turn_answered` | `ask` | the ask no longer waits |
| `turn_finished` | `result` | the turn has ended, and its row says so |
| `turn_left` | `reason` | a run ended before its turn, which waits for the next one: see `TurnLeft` |

They are sent in the thread that runs the turn (with asyncio: in its event loop), and no event is read during a call. So
receivers must be quick, and ordinary functions. If a receiver raises, the error is logged, and the turn goes on. The
process that runs the turn sends them, which may be another one than the process that shows it. The process that answers
a parked turn sends `turn_answered`. Both the runner and the process that cancels a turn send `turn_finished`, so it may
come twice.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from django.dispatch import Signal

from opencode_sessions.django.rows import database_of
from opencode_sessions.django.tenants import current_tenant
from opencode_sessions.protocol.reply import Change, Reply
from opencode_sessions.turns.asks import Ask
from opencode_sessions.turns.events import Reason
from opencode_sessions.turns.observers import Observer
from opencode_sessions.turns.results import TurnResult

__all__ = [
    "Announcing",
    "turn_answered",
    "turn_asked",
    "turn_changed",
    "turn_finished",
    "turn_left",
    "turn_started",
]

turn_started = Signal(use_caching=True)
turn_changed = Signal(use_caching=True)
turn_asked = Signal(use_caching=True)
turn_answered = Signal(use_caching=True)
turn_finished = Signal(use_caching=True)
turn_left = Signal(use_caching=True)


class Announcing(Observer):
    """Sends the signals of one message's turn."""

    def __init__(self, message: models.Model) -> None:
        self._model = type(message)
        self._facts = {
            "message_key": message.__opencode_store__(asynchronous=False).key,  # type: ignore[attr-defined]  # MessageModel
            "pk": _key(message),
            "using": database_of(message),
            "tenant": current_tenant(database_of(message)),
        }
        self._ended = False

    def started(self, session_id: str, prompt_id: str) -> None:
        """See `TurnStarted`."""
        self._send(turn_started, session_id=session_id, prompt_id=prompt_id, recovered=False)

    def recovered(self, session_id: str, prompt_id: str) -> None:
        """See `TurnRecovered`."""
        self._send(turn_started, session_id=session_id, prompt_id=prompt_id, recovered=True)

    def changed(self, change: Change, reply: Reply) -> None:
        """See `ReplyChanged`."""
        self._send(turn_changed, change=change, reply=reply)

    def asked(self, ask: Ask) -> None:
        """See `AskRaised`."""
        self._send(turn_asked, ask=ask)

    def answered(self, ask: Ask) -> None:
        """See `AskAnswered`."""
        self._send(turn_answered, ask=ask)

    def finished(self, result: TurnResult) -> None:
        """See `TurnFinished`."""
        self.end(result)

    def left(self, reason: Reason, error: BaseException) -> None:  # noqa: ARG002 - the observer's
        """See `TurnLeft`."""
        self._send(turn_left, reason=reason)

    def end(self, result: TurnResult) -> None:
        """Send `turn_finished`, unless it was sent before.

        A turn that was only cancelled here, or had ended before it could run here, calls no listener.
        """
        if not self._ended:
            self._ended = True
            self._send(turn_finished, result=result)

    def _send(self, signal: Signal, **more: Any) -> None:
        if signal.has_listeners(self._model):
            signal.send_robust(self._model, **self._facts, **more)


def _key(message: models.Model) -> object:
    """The primary key as a query returns it, even if the instance was made with a text."""
    return message._meta.pk.to_python(message.pk)  # noqa: SLF001 - what Django documents begins with an underscore
