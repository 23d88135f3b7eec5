"""Recover the turns that their runners left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator

from opencode_sessions.errors import TurnInProgressError, TurnTakenError
from opencode_sessions.reporting import OnError
from opencode_sessions.turns.results import TurnResult
from opencode_sessions.turns.turn import AsyncTurn, Turn

__all__ = ["recover", "recover_async"]


def recover(turns: Iterable[Turn], *, on_error: OnError | None = None) -> Iterator[TurnResult]:
    """Run the turns one after the other; skip one that another process has started.

    Args:
        turns: Of the messages that `abandoned` of your ORM's module finds.
        on_error: Called as `on_error(error, context)`, with the action `recover`, if a turn cannot be run; the next one
            follows. Without it, the error is logged.

    Yields:
        The result of each turn, as soon as the turn has ended.
    """
    for turn in turns:
        try:
            yield turn.run()
        except (TurnInProgressError, TurnTakenError):
            continue
        except Exception as error:  # noqa: BLE001 - reported: the next one is not to wait for it
            turn.report(error, on_error)


async def recover_async(
    turns: Iterable[AsyncTurn], *, on_error: OnError | None = None
) -> AsyncIterator[TurnResult]:
    """See `recover`."""
    for turn in turns:
        try:
            yield await turn.run()
        except (TurnInProgressError, TurnTakenError):
            continue
        except Exception as error:  # noqa: BLE001 - reported: the next one is not to wait for it
            turn.report(error, on_error)
