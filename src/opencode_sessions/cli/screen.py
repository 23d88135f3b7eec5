"""A turn on the terminal, as it happens.

Written text is never changed, so a pipe gets the same text. Only the spinner on a terminal comes and goes.
"""

from __future__ import annotations

import threading
import time

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from opencode_sessions.cli.rendering import caption, clean, one_line, retry_line, summary, why
from opencode_sessions.protocol.events import SessionStatus
from opencode_sessions.protocol.reply import Change, Part, Reply
from opencode_sessions.protocol.visible import pieces
from opencode_sessions.reporting import ErrorContext
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.turns.observers import Observer
from opencode_sessions.turns.results import TurnResult

__all__ = ["Screen", "styled"]

_ENDED = {"completed": "[green]✓[/]", "error": "[red]✗[/]"}
_STYLES = {TurnStatus.COMPLETED: "dim", TurnStatus.CANCELLED: "yellow", TurnStatus.FAILED: "red"}


def styled(shown: str) -> str:
    """A text of `protocol.visible` as markup; its marks are shown reversed."""
    return "".join(
        f"[reverse]{escape(text)}[/]" if is_mark else escape(text) for text, is_mark in pieces(shown)
    )


class Screen(Observer):
    """Writes the events of a turn, and the messages of the command.

    Args:
        console: The console. The turn and the command may use it from two threads.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._lock = threading.RLock()
        self._spinner: Status | None = None
        self._typing: str | None = None  # the part of the cursor's line
        self._typed: dict[str, list[str]] = {}  # the written text of each part, in pieces
        self._running: dict[str, str] = {}  # the captions of running tools, by part
        self._ended: set[str] = set()

    # The events of the turn.

    def created(self, session_id: str, replaced: str | None) -> None:  # noqa: ARG002 - as Observer has it
        """See `Observer.created`."""
        if replaced is not None:
            self.note("the server no longer has this session; asking in a fresh one, which knows nothing yet")

    def started(self, session_id: str, prompt_id: str) -> None:  # noqa: ARG002 - as Observer has it
        """See `Observer.started`."""
        self.wait("thinking")

    def changed(self, change: Change, reply: Reply) -> None:  # noqa: ARG002 - as Observer has it
        """See `Observer.changed`."""
        with self._lock:
            if change.part.type in ("text", "reasoning"):
                self._type(change.part, change.delta)
            elif change.part.type == "tool":
                self._work(change.part)

    def status(self, status: SessionStatus) -> None:
        """See `Observer.status`."""
        if status.status == "retry":
            with self._lock:
                self._line(f"[yellow]↻ {styled(retry_line(status, time.time()))}[/]")
                self.wait("waiting for the provider")

    def gap(self, reason: str) -> None:
        """See `Observer.gap`."""
        self.note(f"the event stream was interrupted ({reason}); reading the state again")

    # The messages of the command.

    def wait(self, what: str) -> None:
        """Show the spinner with this text until the next output."""
        with self._lock:
            if self._typing is None and self.console.is_interactive:
                self._still()
                self._spinner = self.console.status(f"[dim]{styled(what)} …[/]")
                self._spinner.start()

    def note(self, text: str) -> None:
        """Write a remark on a line of its own."""
        with self._lock:
            self._line(f"[dim]· {styled(one_line(text, limit=500))}[/]")

    def trouble(self, error: Exception, context: ErrorContext | None = None) -> None:
        """Write an error that stops nothing: an `on_error` for sessions and turns."""
        self.note(f"{context.action} failed: {error}" if context else str(error))

    def end(self, result: TurnResult) -> None:
        """Write the end of the turn, with its duration and cost."""
        with self._lock:
            reason = why(result)
            if reason:
                self._line(f"[red]✗ {styled(reason)}[/]")
            self._line(f"[{_STYLES[result.status]}]── {escape(summary(result))}[/]")

    def settle(self) -> None:
        """End the current line and stop the spinner, so that the next turn begins afresh."""
        with self._lock:
            self._fresh_line()
            self._begun = None
            self._typed.clear()
            self._running.clear()
            self._ended.clear()

    # Output.

    def _type(self, part: Part, delta: str) -> None:
        typed = self._typed.get(part.id, [])
        if typed and delta:
            new = delta  # reading the whole text for each delta would take ever longer
        else:
            before, text = "".join(typed), "" if delta.isspace() else part.text
            if before.startswith(text) or not text.strip():
                return  # nothing new: the server trims the streamed text
            if not text.startswith(before):
                typed = []  # the text was rewritten, so write it again
            new = text[len(before) :] if typed else text.lstrip()
        thought = part.type == "reasoning"
        if self._typing != part.id or not typed:
            self._fresh_line()
            if thought:
                self.console.out("thinking: ", style="dim italic", end="", highlight=False)
        self.console.out(clean(new), style="dim italic" if thought else None, end="", highlight=False)
        self._typing = part.id
        if typed:
            typed.append(new)
        else:
            self._typed[part.id] = [part.text]

    def _work(self, part: Part) -> None:
        if part.id in self._ended:
            return
        said = caption(part)
        if part.status in _ENDED:
            self._ended.add(part.id)
            self._running.pop(part.id, None)
            failure = f" [red]{styled(one_line(part.error))}[/]" if part.error else ""
            self._line(f"{_ENDED[part.status]} {styled(said)}{failure}")
            self.wait(", ".join(self._running.values()) or "thinking")
        elif part.status == "running" and self._running.get(part.id) != said:
            known = part.id in self._running
            self._running[part.id] = said
            if self.console.is_interactive:
                self._fresh_line()
                self.wait(", ".join(self._running.values()))
            elif not known:
                self._line(f"→ {styled(said)} (running)")

    def _line(self, markup: str) -> None:
        self._fresh_line()
        self.console.print(markup, highlight=False, soft_wrap=True, emoji=False)

    def _fresh_line(self) -> None:
        self._still()
        if self._typing is not None:
            self.console.out(end="\n")
            self._typing = None

    def _still(self) -> None:
        if self._spinner is not None:
            self._spinner.stop()
            self._spinner = None
