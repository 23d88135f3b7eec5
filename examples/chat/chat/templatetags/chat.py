"""How the chat's templates show an answer, money, time and symbols."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.conf import settings
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from opencode_sessions.display import ShownMessage, display_message
from opencode_sessions.django.addresses import files_of

register = template.Library()


@register.filter
def shown(message: Any) -> ShownMessage:
    """All that a message has to show, with paths and files as its events have them."""
    found = display_message(message, root=settings.OPENCODE.get("DIRECTORY"), files=files_of(message))
    if found.error is None or not found.error.stopped or message.started_at is not None:
        return found
    return replace(found, error=replace(found.error, title="Taken back"))  # it was queued, and never began


@register.simple_tag
def icon(name: str) -> SafeString:
    """A symbol of the chat's own sprite; for the eye only."""
    return format_html(
        '<svg class="icon" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>',
        static("chat/icons.svg"),
        name,
    )


@register.simple_tag
def new_key() -> uuid.UUID:
    """For a form, so that what it sends is stored once, however often it arrives: see `Message.key`."""
    return uuid.uuid4()


@register.filter
def money(dollars: float) -> str:
    """`$1.20`; of a few cents, as much as says something: `$0.0042`."""
    return f"${dollars:.2f}" if dollars >= 0.1 or not dollars else f"${dollars:.4f}"  # noqa: PLR2004 - dollars


@register.filter
def seconds(duration: timedelta) -> float:
    """Of a duration."""
    return duration.total_seconds()


@register.filter
def day(moment: datetime) -> str:
    """`Today`, `Yesterday`, `The last seven days`, `Earlier`."""
    ago = (timezone.localdate() - timezone.localdate(moment)).days
    if ago <= 1:
        return "Yesterday" if ago == 1 else "Today"
    return "The last seven days" if ago <= 7 else "Earlier"  # noqa: PLR2004 - days
