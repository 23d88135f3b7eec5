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
from django.utils.html import format_html, json_script
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_noop

from opencode_sessions.display import ShownMessage, display_message
from opencode_sessions.django.addresses import files_of
from opencode_sessions.texts import number

register = template.Library()

SCRIPT_TEXTS = (
    gettext_noop("The answer is there."),
    gettext_noop("The answer failed."),
    gettext_noop("Stopped."),
    gettext_noop("Taken back."),
    gettext_noop("The agent asks you something."),
    gettext_noop("This is too long: it has {length} characters, and {most} is the most."),
    gettext_noop("This conversation was deleted."),
    gettext_noop("To your conversations"),
    gettext_noop("It could not be sent: you are logged out."),
    gettext_noop("Log in"),
    gettext_noop("It could not be sent (the server said {status}). Try again."),
    gettext_noop("It could not be sent: the server cannot be reached. Try again."),
    gettext_noop("You are offline. Try again when you are back."),
    gettext_noop("Remove {name}"),
    gettext_noop("Files to send: {count}."),
    gettext_noop("Copied."),
    gettext_noop("Theme: light"),
    gettext_noop("Theme: dark"),
    gettext_noop("Theme: as the system"),
)


@register.filter
def shown(message: Any) -> ShownMessage:
    """All that a message has to show, with paths and files as its events have them."""
    found = display_message(message, root=settings.OPENCODE.get("DIRECTORY"), files=files_of(message))
    if found.error is None or not found.error.stopped or message.started_at is not None:
        return found
    return replace(
        found, error=replace(found.error, title=gettext("Taken back"))
    )  # it was queued, and never began


@register.simple_tag
def icon(name: str) -> SafeString:
    """A symbol of the chat's own sprite; for the eye only."""
    return format_html(
        '<svg class="icon" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>',
        static("chat/icons.svg"),
        name,
    )


@register.simple_tag
def chat_texts() -> SafeString:
    """The texts of `chat.js` in the language of the page."""
    return json_script({each: gettext(each) for each in SCRIPT_TEXTS}, "chat-texts")


@register.simple_tag
def new_key() -> uuid.UUID:
    """For a form, so that what it sends is stored once, however often it arrives: see `Message.key`."""
    return uuid.uuid4()


@register.filter
def money(dollars: float) -> str:
    """`$1.20`; of a few cents, as much as says something: `$0.0042`."""
    return f"${number(dollars, 2 if dollars >= 0.1 or not dollars else 4)}"  # noqa: PLR2004 - dollars


@register.filter
def seconds(duration: timedelta) -> float:
    """Of a duration."""
    return duration.total_seconds()


@register.filter
def day(moment: datetime) -> str:
    """`Today`, `Yesterday`, `The last seven days`, `Earlier`."""
    ago = (timezone.localdate() - timezone.localdate(moment)).days
    if ago <= 1:
        return gettext("Yesterday") if ago == 1 else gettext("Today")
    return gettext("The last seven days") if ago <= 7 else gettext("Earlier")  # noqa: PLR2004 - days
