"""A conversation in the chat's database: each prompt is a turn, with a row of its own."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from opencode_sessions.cli.database import Database, Message
from opencode_sessions.cli.interrupts import run_stoppable
from opencode_sessions.cli.screen import Screen
from opencode_sessions.protocol.presets import READ_WRITE
from opencode_sessions.sessions.session import Session
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.turns.claim import WhenBusy
from opencode_sessions.turns.results import TurnResult
from opencode_sessions.turns.turn import Turn
from opencode_sessions.wire.clients import Client

__all__ = ["Chat"]


class Chat:
    """One conversation.

    Args:
        database: The database of the rows.
        name: The conversation's name; a new conversation is created.
        client: The client of the server.
        screen: Shows the turns.
        when_busy: The option of `Turn`, for a conversation in which another turn runs.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        client: Client,
        screen: Screen,
        *,
        when_busy: WhenBusy = "wait",
    ) -> None:
        self.conversation = database.conversation(name)
        self._database = database
        self._client = client
        self._screen = screen
        self._when_busy = when_busy

    def ensure(self) -> tuple[str, bool]:
        """The conversation's session, and whether it was created just now."""
        session = self._session()
        return session.ensure(self._client), session.just_created

    def say(self, prompt: str) -> TurnResult:
        """Run one turn and show it on the screen. Ctrl-C cancels it, and its row says so.

        Raises:
            OpencodeError: The turn could not begin, see `Turn.run`; its row stays pending.
            KeyboardInterrupt: Ctrl-C came twice; the row stays as it was last written.
        """
        message = self._database.add_message(self.conversation, prompt)
        turn = Turn(message, self._session(), self._client, observer=self._screen, when_busy=self._when_busy)
        self._screen.wait("thinking")
        try:
            result = run_stoppable(turn.run, partial(self._stop, message))
            if result.status is TurnStatus.CANCELLED:
                # The row, where the cancel may have stored a later part of the answer.
                result = replace(turn.run(), just_created=result.just_created, duration=result.duration)
        finally:
            self._screen.settle()
        self._screen.end(result)
        return result

    def _stop(self, message: Message, attempt: int) -> None:
        """Cancel this turn only: another chat's answer may be running in the session."""
        if attempt == 1:
            self._screen.note("stopping; Ctrl-C once more leaves at once")
        Turn(message, self._session(), self._client).cancel(by="Ctrl-C")

    def _session(self) -> Session:
        # Use one object in one thread; the stop comes from another thread than the turn.
        return Session(self.conversation, permissions_for=READ_WRITE, on_error=self._screen.trouble)
