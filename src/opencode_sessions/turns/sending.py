"""Sending the prompt of a turn, under the ids that its row holds."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from opencode_sessions.errors import (
    ConfigurationError,
    ConnectionLostError,
    RequestTimedOutError,
    ServerUnreachableError,
    SessionNotFoundError,
    StaleSessionError,
)
from opencode_sessions.turns.exchange import is_unused
from opencode_sessions.turns.options import check_files, prompt_parts
from opencode_sessions.turns.ports import TurnWire
from opencode_sessions.turns.spec import TurnSpec

__all__ = ["prepare_prompt", "send_prompt", "stale_session"]

_log = logging.getLogger("opencode_sessions.turn")

_UNACKNOWLEDGED = (RequestTimedOutError, ConnectionLostError, ServerUnreachableError)


async def prepare_prompt(
    wire: TurnWire, spec: TurnSpec, session_id: str, prompt_id: str, prompt: str
) -> list[dict[str, Any]]:
    """The prompt with its files, once the state of the agent's folder is noted. It can be slow.

    The first prompt of a session also has what was said before, if the host tells it.
    """
    files = spec.options.files
    if not isinstance(files, Sequence):
        _, found = await spec.lifecycle.store.read(files.locate)
        files = check_files(await wire.clock.call(found))
    await spec.artifacts.begin(wire, spec.store)
    return prompt_parts(prompt_id, prompt, files, before=await _said_before(wire, spec, session_id))


async def _said_before(wire: TurnWire, spec: TurnSpec, session_id: str) -> str:
    retell = spec.options.retell
    try:
        if retell is None or not await is_unused(wire, session_id):
            return ""
    except SessionNotFoundError:
        return ""  # the request that sends the prompt finds that out, too, and the session is made again
    _, said = await spec.lifecycle.store.read(retell)
    if not isinstance(said, str):
        raise ConfigurationError(f"retell must return a text, not {said!r}")
    return said


async def send_prompt(
    wire: TurnWire, spec: TurnSpec, session_id: str, prompt_id: str, parts: Sequence[Mapping[str, Any]]
) -> bool:
    """Send the prompt once. False if the session does not exist; True also if the server did not acknowledge it."""
    options = spec.options
    try:
        await wire.prompt(
            session_id,
            parts,
            message_id=prompt_id,
            agent=options.agent,
            model=options.model,
            system=options.system,
            variant=options.variant,
            schema=options.shape.schema if options.shape is not None else None,
        )
    except SessionNotFoundError:
        return False
    except _UNACKNOWLEDGED as error:
        # The prompt may have arrived: the stored messages will show it.
        _log.warning("the prompt of %s was sent, but not acknowledged: %s", spec.store.key, error)
    return True


def stale_session(session_id: str, record: str) -> StaleSessionError:
    """The error of a turn whose new session is gone, too."""
    error = StaleSessionError(
        f"the server has no session {session_id}, which {record} names, and the fresh one that replaced it is gone "
        "too: is something deleting sessions, or are there two servers behind this address?"
    )
    error.session_id, error.record = session_id, record
    return error
