"""What a message has to show, as HTML: its parts, its asks, its error.

    {% load opencode %}
    {% opencode_styles %}
    {% opencode_parts message %}
    {% opencode_asks message action=answer_url %}
    {% opencode_uploads message %}
    {% opencode_files message %}
    {{ text|opencode_markdown }}

See docs/display.md, and `opencode_sessions.django.html` for the same in Python.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from opencode_sessions.display.markdown import render_markdown
from opencode_sessions.django import html
from opencode_sessions.protocol.visible import pieces

__all__ = ["register"]

register = template.Library()

_MINUTE, _SHORT = 60, 10

register.simple_tag(html.render_parts, name="opencode_parts")
register.simple_tag(html.render_part, name="opencode_part")
register.simple_tag(html.render_detail, name="opencode_detail")
register.simple_tag(html.render_error, name="opencode_error")
register.simple_tag(html.render_files, name="opencode_files")
register.simple_tag(html.render_uploads, name="opencode_uploads")


@register.simple_tag(takes_context=True)
def opencode_asks(
    context: template.Context, message: Any, action: str = "", root: str | None = None
) -> SafeString:
    """See `render_asks`; the CSRF token is that of the page."""
    return html.render_asks(message, action=action, csrf_token=_token(context), root=root)


@register.simple_tag(takes_context=True)
def opencode_ask(
    context: template.Context, ask: Any, action: str = "", parts: Iterable[Any] = ()
) -> SafeString:
    """See `render_ask`; the CSRF token is that of the page."""
    return html.render_ask(ask, parts=parts, action=action, csrf_token=_token(context))


@register.simple_tag
def opencode_styles() -> SafeString:
    """The stylesheet's link."""
    return format_html('<link rel="stylesheet" href="{}">', static("opencode/parts.css"))


@register.simple_tag
def opencode_files_script() -> SafeString:
    """What loads the files of answers; see `opencode/files.js`."""
    return format_html('<script type="module" src="{}"></script>', static("opencode/files.js"))


@register.simple_tag
def opencode_icon(name: str) -> SafeString:
    """A symbol of the sprite; for the eye only."""
    return format_html(
        '<svg class="oc-icon" aria-hidden="true" focusable="false"><use href="{}#oc-{}"></use></svg>',
        static("opencode/icons.svg"),
        name,
    )


@register.filter
def opencode_markdown(text: str, how: str = "") -> SafeString:
    """Markdown as safe HTML; with `"images"`, pictures from elsewhere are shown; with `"growing"` more of it comes."""
    html = render_markdown(text, images=how == "images", growing=how == "growing")
    return mark_safe(html)  # noqa: S308 - it is sanitised


@register.filter
def opencode_visible(text: str) -> SafeString:
    """A text of `protocol.visible`, as which `display` gives a tool's input: its marks stand out."""
    shown = (
        f'<span class="oc-escape">{escape(piece)}</span>' if is_mark else escape(piece)
        for piece, is_mark in pieces(text)
    )
    return mark_safe("".join(shown))  # noqa: S308 - each is escaped


@register.filter
def opencode_seconds(duration: float) -> str:
    """`0.4 s`, `12 s`, `2 min 5 s`."""
    minutes, rest = divmod(round(duration), _MINUTE)
    if minutes:
        return f"{minutes} min {rest} s"
    return f"{duration:.1f} s" if duration < _SHORT else f"{rest} s"


def _token(context: template.Context) -> str:
    """The page's own, as `{% csrf_token %}` finds it."""
    token = context.get("csrf_token")
    return "" if token is None or str(token) == "NOTPROVIDED" else str(token)
