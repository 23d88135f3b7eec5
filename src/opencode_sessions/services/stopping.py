"""Stopping the agent that works on one prompt, and no other."""

from __future__ import annotations

from opencode_sessions.errors import SessionNotFoundError
from opencode_sessions.services.exchange import is_newest, is_stored
from opencode_sessions.services.lifecycle import Lifecycle
from opencode_sessions.services.ports import TurnWire

__all__ = ["stop_agent"]


async def stop_agent(lifecycle: Lifecycle, wire: TurnWire, session_id: str, prompt_id: str) -> None:
    """Stop a session, if this prompt is the newest there. Never raises: what goes wrong is reported."""
    try:
        ours = await is_stored(wire, session_id, prompt_id) and await is_newest(wire, session_id, prompt_id)
    except SessionNotFoundError:
        return
    except Exception as error:  # noqa: BLE001 - best effort: it is reported, not raised
        lifecycle.swallow("abort", session_id, error)
        return
    if ours:
        await lifecycle.abort(wire, session_id)
