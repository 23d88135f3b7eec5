"""Stopping the agent that works on one prompt, and no other; and what it has asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
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
    """Stop the session if it works on this prompt, or is about to. Errors are reported, never raised.

    It works on the prompt if that is the newest prompt, or its answer is the newest message, and the answer has not
    ended. If the answer has ended, the session is left alone, because the next turn's prompt may be on its way.

    If this task is cancelled, the agent is stopped first.

    Args:
        lifecycle: The lifecycle of the session's record.
        wire: The server.
        session_id: The session of the prompt.
        prompt_id: The prompt.
        patiently: Return only when the agent has stopped. The prompt may be on its way: the server accepts a prompt
            before it stores it, and stores it before it runs it. An abort in between does not prevent the run.
    """
    stop = partial(_stop, lifecycle, wire, session_id, prompt_id, patiently=patiently)
    try:
        await stop()
    except GeneratorExit:
        raise  # a closed generator may await nothing
    except BaseException:
        await stop()  # the row says that the turn has ended, so nobody else would stop the agent
        raise


async def _stop(
    lifecycle: Lifecycle, wire: TurnWire, session_id: str, prompt_id: str, *, patiently: bool
) -> None:
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
    """Stop the agent of a prompt that was sent after its turn had ended. Errors are reported, never raised.

    If later prompts were answered, a prompt that is sent again makes the server ask the model again (1.18.33). The
    answer to it is then the newest message of the session. See `stop_agent`.
    """
    for pause in _LATE:
        await stop_agent(lifecycle, wire, session_id, prompt_id, patiently=True)
        await wire.clock.sleep(pause)
    await stop_agent(lifecycle, wire, session_id, prompt_id)


async def reject_asks(lifecycle: Lifecycle, wire: TurnWire, asks: Iterable[Mapping[str, Any]]) -> None:
    """Reject the asks in the row of a turn that was stopped. Errors are reported, never raised.

    `stop_agent` has rejected most of them, but a server can refuse to list the asks of a session (1.18.33).
    """
    for ask in map(Ask.from_json, asks):
        try:
            await send_answer(wire, ask, Answer.reject())
        except AskAnsweredError:
            pass
        except Exception as error:  # noqa: BLE001 - best effort: it is reported, not raised
            lifecycle.report_suppressed("reject_asks", ask.session_id, error)


async def _is_unanswered(wire: TurnWire, session_id: str, prompt_id: str) -> bool:
    """Is the prompt the newest one, or its answer the newest message, and has the answer not ended?"""
    exchange = await read_newest_exchange(wire, session_id, prompt_id)
    return exchange is not None and not Reply.of(session_id, prompt_id, exchange).final


async def _arrives(wire: TurnWire, session_id: str, prompt_id: str, looks: tuple[float, ...]) -> bool:
    for pause in looks:
        if await is_stored(wire, session_id, prompt_id):
            return True
        await wire.clock.sleep(pause)
    return await is_stored(wire, session_id, prompt_id)
