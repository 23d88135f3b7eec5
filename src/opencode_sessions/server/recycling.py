"""Restarting a managed server whose memory exceeds a limit: OpenCode keeps each directory in memory (1.18.33).

| its memory | and | what happens |
|---|---|---|
| exceeds the limit | no session is busy | it is restarted at once |
| exceeds the limit | sessions are busy | it is restarted once none is, or after the grace period |
| still exceeds it after a restart | | it is restarted again, after the grace period |

The events tell which sessions are busy. The server is killed rather than asked to end, so that it aborts nothing: an
aborted turn counts as cancelled, but a turn whose server died resumes.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Protocol

from opencode_sessions.errors import ConfigurationError, OpencodeError, ServerStartError
from opencode_sessions.protocol.events import Event, SessionDeleted, SessionIdle, SessionStatus
from opencode_sessions.wire.clients import Client
from opencode_sessions.wire.memory import group_memory

__all__ = ["Recycler"]

_log = logging.getLogger("opencode_sessions.server")

_LOOK = 1.0  # seconds between two looks at the memory
_AGAIN = 5.0  # seconds until the next attempt to subscribe, if one failed


class _Server(Protocol):
    username: str
    password: str

    @property
    def url(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def running(self) -> bool: ...
    def kill(self) -> None: ...
    def restart(self) -> None: ...


class Recycler:
    """Watches a server in a thread of its own, from `start` to `end`.

    Args:
        server: The server.
        lock: Held around a restart.
        limit: The memory that the server's processes may use together, in bytes.
        grace: Seconds for busy sessions to end, and the least time between two restarts.

    Raises:
        ConfigurationError: The limit or the grace period is not a positive number.
    """

    def __init__(self, server: _Server, lock: threading.RLock, *, limit: int, grace: float) -> None:
        if not isinstance(limit, int) or limit <= 0:
            raise ConfigurationError(
                f"recycle_at must be a number of bytes, such as 2_000_000_000, not {limit!r}"
            )
        if not isinstance(grace, int | float) or grace < 0:
            raise ConfigurationError(f"recycle_grace must be a number of seconds, not {grace!r}")
        self._server = server
        self._lock = lock
        self._limit = limit
        self._grace = grace
        self._client: Client | None = None
        self._busy: set[str] = set()
        self._exceeded_since: float | None = None
        self._restarted: float | None = None

    def start(self) -> None:
        """Begin to watch.

        Raises:
            ServerStartError: The memory cannot be read on this machine, or exceeds the limit already.
        """
        taken = group_memory(self._server.pid)
        if taken is None:
            raise ServerStartError(
                "recycle_at needs /proc, which tells what memory a server takes: leave it out here"
            )
        if taken >= self._limit:
            raise ServerStartError(
                f"recycle_at is {_mb(self._limit)}, and opencode takes {_mb(taken)} when it has just started: pass more"
            )
        server = self._server
        self._client = Client(server.url, username=server.username, password=server.password)
        watch = threading.Thread(
            target=self._run, args=(self._client,), name="opencode-sessions recycler", daemon=True
        )
        watch.start()

    def end(self) -> None:
        """Stop watching. A restart that has begun goes on."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _run(self, client: Client) -> None:
        while self._client is client:
            try:
                self._watch(client)
            except ServerStartError:
                _log.exception("opencode did not start again, and is not watched any more")
                return
            except OpencodeError as error:
                if self._client is client:
                    _log.warning("the memory of opencode is not watched for %g s: %s", _AGAIN, error)
                    time.sleep(_AGAIN)

    def _watch(self, client: Client) -> None:
        due = time.monotonic()
        with client.subscribe() as events:
            while self._client is client:
                self._note(events.next(_LOOK))
                if time.monotonic() >= due:
                    self._look(client)
                    due = time.monotonic() + _LOOK

    def _note(self, event: Event | None) -> None:
        """Note which sessions are busy. After a gap this may be out of date, but the grace period limits the effect."""
        if event is None or event.session_id is None:
            return
        if isinstance(event, SessionStatus) and event.status != "idle":
            self._busy.add(event.session_id)
        elif isinstance(event, SessionStatus | SessionIdle | SessionDeleted):
            self._busy.discard(event.session_id)

    def _look(self, client: Client) -> None:
        with self._lock:
            if self._client is not client or not self._server.running:
                return
            taken, now = group_memory(self._server.pid) or 0, time.monotonic()
            if taken <= self._limit:
                self._exceeded_since = None
                return
            if self._exceeded_since is None:
                self._exceeded_since = now
            if self._busy and now - self._exceeded_since < self._grace:
                return
            if self._restarted is not None and now - self._restarted < self._grace:
                return
            _log.warning(
                "opencode takes %s, more than %s: restarting it, with %d busy sessions",
                _mb(taken),
                _mb(self._limit),
                len(self._busy),
            )
            self._server.kill()
            self._server.restart()
            self._busy.clear()
            self._exceeded_since, self._restarted = None, time.monotonic()


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
