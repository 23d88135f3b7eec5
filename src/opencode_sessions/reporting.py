"""Errors that must not be raised go to `on_error`, once, with their context."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from opencode_sessions.validation import check_ordinary, no_coroutine

__all__ = ["ErrorContext", "ErrorReporter", "OnError"]

_log = logging.getLogger("opencode_sessions.errors")


@dataclass(frozen=True, slots=True)
class ErrorContext:
    """The action during which an error was suppressed.

    Attributes:
        action: `abort`, `list_asks`, `reject_asks`, `delete_replaced`, `delete_unconfirmed`, `delete_with_row`,
            `prune`, `observe`, `ask`, `fallback`, `snapshot`, `finish`, `update_after_cancel`,
            `reset_to_pending`, `claim`, `release`, `park`, `enqueue`, `stream`, `recover`, `run`.
        record: The row's key.
        session_id: The session of the action.
    """

    action: str
    record: str
    session_id: str | None = None


OnError = Callable[[Exception, ErrorContext], object]


def log_error(error: Exception, context: ErrorContext) -> None:
    """Log an error at ERROR, which happens without an `on_error`."""
    _log.error(
        "%s failed for %s (session %s): %s",
        context.action,
        context.record,
        context.session_id,
        error,
        exc_info=error,
    )


class ErrorReporter:
    """Calls the host's `on_error` with a suppressed error, and logs an error of that function."""

    def __init__(self, on_error: OnError | None) -> None:
        check_ordinary("on_error", on_error)
        self._on_error = on_error or log_error

    def __call__(self, error: Exception, context: ErrorContext) -> None:
        """Report one error."""
        try:
            no_coroutine("on_error", self._on_error(error, context))
        except Exception:  # noqa: BLE001 - only the log is left
            _log.exception("on_error itself failed; what it was told:")
            log_error(error, context)
