"""Sending the prompt of a turn, under the ids that its row holds."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from opencode_sessions.errors import (
    ConnectionLostError,
    RequestTimedOutError,
    ServerUnreachableError,
    SessionNotFoundError,
)
from opencode_sessions.turns.options import File, check_files, prompt_parts
from opencode_sessions.turns.ports import TurnWire
from opencode_sessions.turns.spec import TurnSpec

__all__ = ["send_prompt"]

_log = logging.getLogger("opencode_sessions.turn")

_UNACKNOWLEDGED = (RequestTimedOutError, ConnectionLostError, ServerUnreachableError)


async def send_prompt(wire: TurnWire, spec: TurnSpec, session_id: str, prompt_id: str, prompt: str) -> bool:
    """Send the prompt once. False if the session does not exist; True also if the server did not acknowledge it."""
    options = spec.options
    files = await _files(wire, spec)
    await spec.artifacts.begin(wire, spec.store)
    try:
        await wire.prompt(
            session_id,
            prompt_parts(prompt_id, prompt, files),
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


async def _files(wire: TurnWire, spec: TurnSpec) -> Sequence[File]:
    files = spec.options.files
    if isinstance(files, Sequence):
        return files
    _, found = await spec.lifecycle.store.read(files.locate)
    return check_files(await wire.clock.call(found))
