"""One recorded turn, told to one who watches it, in each protocol: what is sent, and what telling it takes."""

from __future__ import annotations

import time
from statistics import median

import django
from django.conf import settings

from bench import events
from opencode_sessions import OpencodeServer, Reply
from opencode_sessions.frontends.agui import AGUI
from opencode_sessions.frontends.display_json import JSON
from opencode_sessions.frontends.vercel import VERCEL
from opencode_sessions.live.encoder import Encoder
from opencode_sessions.live.feed import Feed
from opencode_sessions.live.live_reply import LiveReply
from opencode_sessions.live.view import RenderContext, view_of_row
from opencode_sessions.protocol.sse import SSEDecoder
from opencode_sessions.store.turn_table import TurnRow
from opencode_sessions.wire.v1.frames import decode_event

_ROUNDS = 15
_CONTEXT = RenderContext(turn="messages-1", thread="bench", run="bench")


def measure(server: OpencodeServer) -> list[tuple[str, ...]]:
    recording, result = events.record(server)
    found = [event for frame in SSEDecoder().feed(recording) if (event := decode_event(frame.data))]
    encoders = {"HTML": _html(), "JSON": JSON, "Vercel": VERCEL, "AG-UI": AGUI}
    rows = [("one turn, told at each change", "changes", "bytes", "CPU")]
    for name, encoder in encoders.items():
        took = []
        for _ in range(_ROUNDS):
            began = time.process_time()
            changes, sent = _tell(Reply(result.session_id, result.prompt_id), found, encoder)
            took.append(time.process_time() - began)
        rows.append((name, str(changes), f"{sent:,}", f"{median(took) * 1e3:.1f} ms"))
    return rows


def _tell(reply: Reply, found: list, encoder: Encoder) -> tuple[int, int]:
    """How often something is sent, and how many bytes."""
    feed, live, renderers = Feed(), LiveReply(reply, _CONTEXT), frozenset([encoder])
    row = _row("streaming", 1, reply)
    changes, sent, seen = 0, len(encoder.begin(_CONTEXT)), 0
    for event in found:
        dirty = {change.part.id for change in reply.apply(event)}
        view = live.view(dirty, row, {}, renderers) if dirty else None
        if view is not None and feed.take(view):
            changes, sent = changes + 1, sent + len(feed.since(seen, encoder, _CONTEXT))
            seen = feed.version
    feed.take(view_of_row(_row("completed", 2, reply), feed.view, _CONTEXT, renderers))
    said = feed.since(seen, encoder, _CONTEXT) + encoder.end(_CONTEXT, feed.view, "completed")
    return changes + 1, sent + len(said)


def _row(status: str, revision: int, reply: Reply) -> TurnRow:
    return TurnRow(
        status=status,
        revision=revision,
        content=reply.text,
        parts=reply.to_json(),
        asks=[],
        error=None,
        cost=0.01,
        input_tokens=1000,
        output_tokens=100,
        opencode_prompt_id=reply.prompt_id,
    )


def _html() -> Encoder:
    if not settings.configured:
        apps = ["opencode_sessions.django"]
        backend = {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
        settings.configure(INSTALLED_APPS=apps, TEMPLATES=[backend])
        django.setup()
    from opencode_sessions.django.live_hub import HTML  # noqa: PLC0415 - not before Django is configured

    return HTML
