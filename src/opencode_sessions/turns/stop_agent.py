"""Stopping the agent that works on one prompt, and no other; and what it has asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from opencode_sessions.errors import AskAnsweredError, SessionNotFoundError
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.sessions.lifecycle import Lifecycle
from opencode_sessions.turns.asks import Answer, Ask, send_answer
from opencode_sessions.turns.exchange import is_stored, read_newest_exchange
from opencode_sessions.turns.ports import TurnWire

__all__ = ["reject_asks", "stop_agent", "stop_late"]

_LOOKS = (0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0)
"""Seconds between looks: the first prompt in a directory was stored after 2.5 s, and at work 0.3 s later (1.18.33)."""

_LATE = (0.1, 0.2, 0.4, 0.8)
"""Likewise, in a directory that is in use: the model was asked 0.1 s after the prompt (1.18.33)."""


async def stop_agent(
    lifecycle: Lifecycle, wire: TurnWire, session_id: str, prompt_id: str, *, patiently: bool = False
) -> None:
    """Stop a session, if it is at work on this prompt or is about to be. Never raises: it reports.

    It is if the prompt is the newest there, or its answer is the newest message, and that answer has not ended.

    Where it has ended there is nothing to stop, and the next turn's prompt may be on its way.

    Args:
        lifecycle: Of the session's record.
        wire: The server.
        session_id: Where the prompt was sent.
        prompt_id: Whose agent is to be stopped.
        patiently: It may be on its way: the server accepts a prompt before it stores it, and stores it before it runs
            it, and an abort in between does not keep it from being run. Returns when it is seen to have stopped.
    """
    ids = (session_id, prompt_id)
    looks = _LOOKS if patiently else ()
    stopped = False
    try:
        if await wire.withdraw(*ids) or not await _arrives(wire, *ids, looks):
            return
        for pause in (*looks, None):
            if not await _is_unanswered(wire, *ids):
                return
            if not patiently or await wire.busy(session_id):
                await lifecycle.abort(wire, session_id)
                stopped = True
            elif stopped:
                return
            if pause is not None:
                await wire.clock.sleep(pause)
    except SessionNotFoundError:
        return
    except Exception as error:  # noqa: BLE001 - best effort: it is reported, not raised
        lifecycle.report_suppressed("abort", session_id, error)


async def stop_late(lifecycle: Lifecycle, wire: TurnWire, session_id: str, prompt_id: str) -> None:
    """Stop what a prompt began that was sent after its turn had ended; see `stop_agent`. Never raises: it reports.

    A prompt that is sent again makes the server ask the model again, if later prompts were answered (1.18.33). That
    answer is the newest message of the session then.
    """
    for pause in _LATE:
        await stop_agent(lifecycle, wire, session_id, prompt_id, patiently=True)
        await wire.clock.sleep(pause)
    await stop_agent(lifecycle, wire, session_id, prompt_id)


async def reject_asks(lifecycle: Lifecycle, wire: TurnWire, asks: Iterable[Mapping[str, Any]]) -> None:
    """Reject what waited in the row of a turn that was stopped. Never raises: it reports.

    Most are rejected already, as what waits in the session was listed; but a server can refuse that list (1.18.33).
    """
    for ask in map(Ask.from_json, asks):
        try:
            await send_answer(wire, ask, Answer.reject())
        except AskAnsweredError:
            pass
        except Exception as error:  # noqa: BLE001 - best effort: it is reported, not raised
            lifecycle.report_suppressed("reject_asks", ask.session_id, error)


async def _is_unanswered(wire: TurnWire, session_id: str, prompt_id: str) -> bool:
    """Is it the newest prompt, or its answer the newest message, and that answer not at its end?"""
    exchange = await read_newest_exchange(wire, session_id, prompt_id)
    return exchange is not None and not Reply.of(session_id, prompt_id, exchange).final


async def _arrives(wire: TurnWire, session_id: str, prompt_id: str, looks: tuple[float, ...]) -> bool:
    for pause in looks:
        if await is_stored(wire, session_id, prompt_id):
            return True
        await wire.clock.sleep(pause)
    return await is_stored(wire, session_id, prompt_id)
