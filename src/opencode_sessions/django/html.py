"""A message as HTML: these functions for views, and `{% load opencode %}` for templates.

The templates are `opencode/parts/….html`; templates of the host with the same names replace them. They have no inline
styles and no scripts, so they work with a strict Content Security Policy. All functions need a configured Django.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

from opencode_sessions.display import (
    QuestionAsk,
    Shown,
    ShownAsk,
    ShownError,
    ShownMessage,
    display_ask,
    display_error,
    display_message,
)
from opencode_sessions.display.forms import ASK, answer_field, own_field
from opencode_sessions.display.tools.cards import Detail
from opencode_sessions.django.addresses import address_of, files_of
from opencode_sessions.django.conf import settings
from opencode_sessions.django.files import are_due, files_of_message
from opencode_sessions.files.message_files import MessageFile
from opencode_sessions.files.previews import Preview
from opencode_sessions.host.files import told
from opencode_sessions.texts import text

__all__ = [
    "render_ask",
    "render_asks",
    "render_detail",
    "render_error",
    "render_files",
    "render_part",
    "render_parts",
    "render_preview",
    "render_uploads",
]


def render_parts(message: Any, *, root: str | None = None) -> SafeString:
    """All parts of a message, and its error.

    Args:
        message: The row, or the result of `display_message`.
        root: The worktree; paths are shown relative to it.
    """
    return _render("parts", message=_shown(message, root))


def render_part(part: Shown) -> SafeString:
    """One part from `display`: an element with the id `part-…`, which a page can replace by a newer one."""
    return _render(part.type, part=part)


def render_detail(detail: Detail) -> SafeString:
    """The content of a tool's card."""
    return _render(f"detail_{detail.type}", detail=detail)


def render_uploads(message: Any) -> SafeString:
    """The files that a person has sent with a message, with links to download and preview them."""
    return _render("files", files=_listed(message, uploads=True), label=text("Files that were sent"))


def render_files(message: Any) -> SafeString:
    """The files that the agent of a message's turn has made, with links; and the files left out, with the reasons."""
    due = are_due(message)  # first, or they could be collected between the two calls
    files = _listed(message, uploads=False)
    several = sum(bool(file["url"]) for file in files) > 1
    archive = address_of("archive", message) if several else ""
    return _render("files", files=files, archive=archive, due=due, label=text("Files of this answer"))


def render_preview(preview: Preview, file: MessageFile, message: Any) -> SafeString:
    """The preview of a file."""
    return _render("preview", preview=preview, picture=address_of("picture", message, file.id))


def _listed(message: Any, *, uploads: bool) -> list[dict[str, Any]]:
    base = files_of(message)
    return [told(file, base) for file in files_of_message(message) if file.is_upload == uploads]


def render_error(error: ShownError | Mapping[str, Any] | None) -> SafeString:
    """A row's `error`; empty without one."""
    shown = error if isinstance(error, ShownError) else display_error(error)
    return mark_safe("") if shown is None else _render("error", error=shown)


def render_asks(
    message: Any, *, action: str = "", csrf_token: str = "", root: str | None = None
) -> SafeString:
    """All asks that wait for a person, each with its form.

    Args:
        message: The row, or the result of `display_message`.
        action: The URL of the forms; by default the page itself.
        csrf_token: The token of the request: `django.middleware.csrf.get_token(request)`.
        root: The worktree; paths are shown relative to it.
    """
    asks = (render_ask(ask, action=action, csrf_token=csrf_token) for ask in _shown(message, root).asks)
    return mark_safe("".join(asks))  # noqa: S308 - each is safe


def render_ask(
    ask: ShownAsk | Mapping[str, Any],
    *,
    parts: Iterable[Any] = (),
    action: str = "",
    csrf_token: str = "",
    back: str = "",
) -> SafeString:
    """One ask, from the row or from `display_ask`, with the form that answers it.

    The form has the fields of `opencode_sessions.display.forms`. It offers `always` unless `ALLOW_ALWAYS` is off. A
    shortened card cannot be allowed: a link leads to `action` with `?ask=…`, a page with the full ask and its form.

    Args:
        ask: The ask.
        parts: The parts of the row, if `ask` is from the row; they have the input of the tool that asks.
        action: The URL of the form; by default the page itself.
        csrf_token: See `render_asks`.
        back: The next URL for a page without scripts: the form's field `next`.
    """
    shown = display_ask(ask, parts) if isinstance(ask, Mapping) else ask
    questions = shown.questions if isinstance(shown, QuestionAsk) else ()
    fields = [(question, answer_field(question), own_field(question)) for question in questions]
    always = settings().allow_always
    whole = f"{action}{'&' if '?' in action else '?'}{urlencode({ASK: shown.id})}"
    return _render(
        "ask",
        ask=shown,
        fields=fields,
        action=action,
        csrf_token=csrf_token,
        allow_always=always,
        whole=whole,
        back=back,
    )


def _shown(message: Any, root: str | None) -> ShownMessage:
    return (
        message
        if isinstance(message, ShownMessage)
        else display_message(message, root=root, files=files_of(message))
    )


def _render(name: str, **context: Any) -> SafeString:
    return render_to_string(f"opencode/parts/{name}.html", context)
