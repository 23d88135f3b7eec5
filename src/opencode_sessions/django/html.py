"""What a message has to show, as HTML: for views by these functions, for templates by `{% load opencode %}`.

The templates are `opencode/parts/….html`; a host's own of the same name stand in their place. There is no inline style
and no script in them, so they fit a strict Content Security Policy. All need a configured Django.
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
    """All parts of a message, and why it failed.

    Args:
        message: The row, or what `display_message` made of it.
        root: The worktree, for paths that are shown from there on.
    """
    return _render("parts", message=_shown(message, root))


def render_part(part: Shown) -> SafeString:
    """One part, as `display` gives it: an element with the id `part-…`, which a page can replace by a newer one."""
    return _render(part.type, part=part)


def render_detail(detail: Detail) -> SafeString:
    """What a tool's card shows below its line."""
    return _render(f"detail_{detail.type}", detail=detail)


def render_uploads(message: Any) -> SafeString:
    """The files that a person has sent with a message, with links to download and preview them."""
    return _render("files", files=_listed(message, uploads=True), label=text("Files that were sent"))


def render_files(message: Any) -> SafeString:
    """The files that the agent of a message's turn has made, likewise; and what is left out, with the reason."""
    due = are_due(message)  # first: else they could be collected between the two
    files = _listed(message, uploads=False)
    several = sum(bool(file["url"]) for file in files) > 1
    archive = address_of("archive", message) if several else ""
    return _render("files", files=files, archive=archive, due=due, label=text("Files of this answer"))


def render_preview(preview: Preview, file: MessageFile, message: Any) -> SafeString:
    """What is shown of a file."""
    return _render("preview", preview=preview, picture=address_of("picture", message, file.id))


def _listed(message: Any, *, uploads: bool) -> list[dict[str, Any]]:
    base = files_of(message)
    return [told(file, base) for file in files_of_message(message) if file.is_upload == uploads]


def render_error(error: ShownError | Mapping[str, Any] | None) -> SafeString:
    """A row's `error`; nothing if there is none."""
    shown = error if isinstance(error, ShownError) else display_error(error)
    return mark_safe("") if shown is None else _render("error", error=shown)


def render_asks(
    message: Any, *, action: str = "", csrf_token: str = "", root: str | None = None
) -> SafeString:
    """All that the agent waits for a person to answer, each with its form.

    Args:
        message: The row, or what `display_message` made of it.
        action: Where the forms are sent; by default the page itself.
        csrf_token: Of the request: `django.middleware.csrf.get_token(request)`.
        root: The worktree, for paths that are shown from there on.
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
    """One ask, as the row has it or as `display_ask` gives it, with the form that answers it.

    Its fields are those of `opencode_sessions.display.forms`. `always` is offered unless `ALLOW_ALWAYS` is off. Where
    something is left out, leave cannot be given: a link leads to `action` with `?ask=…`, which shows the whole and has
    the form for it.

    Args:
        ask: What the agent asks.
        parts: Those of the row, where `ask` is the row's: they tell what the tool that asks was given.
        action: Where the form is sent; by default the page itself.
        csrf_token: As in `render_asks`.
        back: Where a page without scripts goes on: the form's field `next`.
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
