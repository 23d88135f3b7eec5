"""The started hosts of this process. Two hosts with different settings for the same rows are refused.

For example, a turn that one host enqueues would get the other host's rules if that one recovers it first.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.host.settings import HostSettings

__all__ = ["started"]

_lock = threading.Lock()
_started: list[tuple[HostSettings, Mapping[str, object]]] = []


@contextmanager
def started(settings: HostSettings, places: Mapping[str, object]) -> Iterator[None]:
    """Inside, no host with other settings starts for one of these places.

    Args:
        settings: The host's.
        places: Of its tables, by name; see `HostTable.place`.

    Raises:
        ConfigurationError: One is started.
    """
    own = (settings, places)
    with _lock:
        for other, theirs in _started:
            if other != settings and (
                both := [name for name, place in places.items() if place in theirs.values()]
            ):
                raise ConfigurationError(
                    f"another host with other settings is started in this process for the table {both[0]}: give both "
                    "the same HostSettings, or say in turn_options what differs between messages"
                )
        _started.append(own)
    try:
        yield
    finally:
        with _lock:
            # Not `remove`, which would take out an equal one's.
            _started[:] = [each for each in _started if each is not own]
