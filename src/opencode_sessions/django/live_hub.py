"""`hub`: the hub of this process. `HTML`: the encoder for its browsers.

The signals of turns feed the hub. Listeners would not be enough: a turn that is only cancelled or failed sends a
signal, but calls no listener.
"""

from __future__ import annotations

import signal
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.signals import user_logged_out
from django.db import models

from opencode_sessions.display import ShownAsk
from opencode_sessions.django.connections import give_back_connections
from opencode_sessions.django.html import render_ask, render_error, render_part
from opencode_sessions.django.relay import relay
from opencode_sessions.django.signals import (
    turn_answered,
    turn_asked,
    turn_changed,
    turn_finished,
    turn_started,
)
from opencode_sessions.django.turn_rows import rows
from opencode_sessions.frontends.html import HtmlEncoder
from opencode_sessions.live import LiveHub
from opencode_sessions.protocol.reply import Change, Reply
from opencode_sessions.runtime.shutdown import install_handlers, on_signal
from opencode_sessions.runtime.threads import Threads
from opencode_sessions.store.turn_table import RowKey

__all__ = ["HTML", "aopening", "hub", "opening", "rows"]

_UID = "opencode_sessions.django.live"


def _render_ask(ask: ShownAsk, action: str) -> str:
    return render_ask(
        ask, action=action
    )  # without a CSRF token, as all browsers get this HTML; `turn.js` sends one


hub = LiveHub(rows, Threads(), relay)
HTML = HtmlEncoder(render_part=render_part, render_ask=_render_ask, render_error=render_error)


async def opening() -> None:
    """Called when a stream begins, in this thread. The middleware no longer needs its connections then."""
    install_handlers()
    give_back_connections()


async def aopening() -> None:
    """Called when a stream begins, in an event loop."""
    install_handlers()
    await sync_to_async(give_back_connections)()  # in the thread that the middleware ran in


def _key(sender: type[models.Model], facts: dict[str, Any]) -> RowKey:
    return rows.key(sender, facts["pk"], facts["using"], facts["tenant"])


def _changed(sender: type[models.Model], *, reply: Reply, change: Change, **facts: Any) -> None:
    hub.changed(_key(sender, facts), reply, change)


def _started(sender: type[models.Model], **facts: Any) -> None:
    hub.row_changed(_key(sender, facts))


def _asked(sender: type[models.Model], **facts: Any) -> None:
    hub.row_changed(_key(sender, facts), eagerly=True)


def _finished(sender: type[models.Model], **facts: Any) -> None:
    hub.finished(_key(sender, facts))


def _logged_out(sender: Any, *, user: Any, **_: Any) -> None:  # noqa: ARG001 - the signal has it
    if user is not None:
        hub.logged_out(user.pk)


turn_changed.connect(_changed, dispatch_uid=_UID)
turn_started.connect(_started, dispatch_uid=_UID)
turn_asked.connect(_asked, dispatch_uid=_UID)
turn_answered.connect(_asked, dispatch_uid=_UID)
turn_finished.connect(_finished, dispatch_uid=_UID)
user_logged_out.connect(_logged_out, dispatch_uid=_UID)

for number in (signal.SIGTERM, signal.SIGINT):
    on_signal(number, hub.end)
