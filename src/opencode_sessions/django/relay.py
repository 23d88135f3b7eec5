"""`relay`: the notes between this process and the others, by `OPENCODE["NOTIFIER"]`."""

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


_held = [_Made(None, Relay(None, Threads()))]


def relay() -> Relay:
    """The relay of this process. If a test overrides the setting, it is another one."""
    notifier = settings().notifier
    if notifier is not _held[0].notifier:
        with _lock:
            outdated = _held[0]
            if notifier is not outdated.notifier:
                _held[0] = _Made(notifier, Relay(notifier, Threads()))
        if outdated is not _held[0]:
            run_sync(outdated.relay.close())
    return _held[0].relay
