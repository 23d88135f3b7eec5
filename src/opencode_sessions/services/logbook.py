"""The story of a turn in the log: a structured record of all that an `Observer` is told of, but the answer's growth.

Each bears `event`, the name of the observer's method, and `message_key`, `session_id`, `prompt_id` and `elapsed`, the
seconds since the turn was taken; and what the method is told, durations in seconds among it. Whoever cancels a turn
writes one with the event `cancelled`, and `by`; its `elapsed` begins with the cancel.
"""

from __future__ import annotations

import logging
import time

from opencode_sessions.services.asks import Ask
from opencode_sessions.services.observing import Observer
from opencode_sessions.services.results import TurnResult

__all__ = ["Logbook"]

_log = logging.getLogger("opencode_sessions.turn")


class Logbook(Observer):
    """Of one run of a turn, or of its cancelling."""

    def __init__(self, key: str, session_id: str | None = None, prompt_id: str | None = None) -> None:
        self._key = key
        self._began = time.monotonic()
        self._session_id = session_id
        self._prompt_id = prompt_id

    def created(self, session_id: str, replaced: str | None) -> None:
        """See `Observer.created`."""
        self._session_id, self._prompt_id = session_id, None
        said = f" in place of {replaced}" if replaced else ""
        self._note("created", f"session {session_id} was made{said}", replaced=replaced)

    def started(self, session_id: str, prompt_id: str) -> None:
        """See `Observer.started`."""
        self._session_id, self._prompt_id = session_id, prompt_id
        self._note("started", f"the prompt goes to session {session_id}")

    def recovered(self, session_id: str, prompt_id: str) -> None:
        """See `Observer.recovered`."""
        self._session_id, self._prompt_id = session_id, prompt_id
        self._note("recovered", f"the turn is taken up: its prompt is in session {session_id}")

    def first_token(self, seconds: float) -> None:
        """See `Observer.first_token`."""
        self._note("first_token", f"the answer began after {seconds:.2f} s", seconds=seconds)

    def asked(self, ask: Ask) -> None:
        """See `Observer.asked`."""
        what = f"a {ask.kind}" + (f" ({ask.permission})" if ask.permission else "")
        self._note("asked", f"the turn waits for {what}", **_facts(ask))

    def answered(self, ask: Ask) -> None:
        """See `Observer.answered`."""
        said = f"the turn waits no more for what it asked {ask.age:.2f} s ago"
        self._note("answered", said, seconds=ask.age, **_facts(ask))

    def gap(self, reason: str) -> None:
        """See `Observer.gap`."""
        self._note("gap", f"events may have been missed: {reason}", reason=reason)

    def finished(self, result: TurnResult) -> None:
        """See `Observer.finished`."""
        self._note(
            "finished",
            f"the turn is {result.status}",
            status=str(result.status),
            error=result.error["name"] if result.error else None,
            duration=result.duration,
            first_token=result.first_token,
            cost=result.cost,
        )

    def cancelled(self, by: str) -> None:
        """The row says so; what runs on the server is stopped next."""
        self._note("cancelled", f"the turn is cancelled by {by}", by=by)

    def _note(self, event: str, said: str, **facts: object) -> None:
        about = {
            "event": event,
            "message_key": self._key,
            "session_id": self._session_id,
            "prompt_id": self._prompt_id,
            "elapsed": time.monotonic() - self._began,
        }
        _log.info("%s: %s", self._key, said, extra=about | facts)


def _facts(ask: Ask) -> dict[str, object]:
    return {"ask_id": ask.id, "kind": ask.kind, "permission": ask.permission, "asking": ask.session_id}
