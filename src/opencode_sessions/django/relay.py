"""`relay`: how this process and the others notify each other, as `OPENCODE["NOTIFIER"]` says."""

from __future__ import annotations

import threading
from typing import NamedTuple

from opencode_sessions.django.conf import settings
from opencode_sessions.live.notifier import Notifier
from opencode_sessions.live.relay import Relay
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.runtime.threads import Threads

__all__ = ["relay"]

_lock = threading.Lock()


class _Made(NamedTuple):
    notifier: Notifier | None
    relay: Relay


_made = _Made(None, Relay(None, Threads()))


def relay() -> Relay:
    """The one of this process. If a test overrides the setting, it is another one."""
    global _made
    notifier = settings().notifier
    if notifier is not _made.notifier:
        with _lock:
            outdated = _made
            if notifier is not outdated.notifier:
                _made = _Made(notifier, Relay(notifier, Threads()))
        if outdated is not _made:
            run_sync(outdated.relay.close())
    return _made.relay
