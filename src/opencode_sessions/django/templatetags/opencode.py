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
from django.utils.html import conditional_escape, escape, format_html, format_html_join, json_script
from django.utils.safestring import SafeString, mark_safe

from opencode_sessions.display.markdown import render_markdown
from opencode_sessions.django import html
from opencode_sessions.protocol.visible import pieces
from opencode_sessions.texts import fill, form, later, number, text

__all__ = ["register"]

register = template.Library()

_MINUTE, _SHORT = 60, 10

SCRIPT_TEXTS = (
    later("You are logged out. Reload the page."),
    later("The server cannot be reached. Try again."),
    later("The server refused it ({status}). Reload the page, and try again."),
)
"""Those of `opencode/turn.js` and `opencode/files.js`."""

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


@register.simple_tag
def opencode_text(message: str, **values: Any) -> SafeString:
    """See `texts.text`: `{% opencode_text "Stopped by {who}" who=name %}`. Values are escaped, unless they are safe."""
    return _filled(text(message), values)


@register.simple_tag
def opencode_counted(one: str, many: str, count: int, **values: Any) -> SafeString:
    """See `texts.counted`: `{% opencode_counted "{count} file" "{count} files" number %}`."""
    return _filled(form(one, many, count), {"count": count, **values})


@register.simple_tag
def opencode_texts() -> SafeString:
    """The texts of the scripts in this language, for the page's head; nothing in English. See docs/languages.md."""
    found = {message: text(message) for message in SCRIPT_TEXTS}
    changed = {message: shown for message, shown in found.items() if shown != message}
    return json_script(changed, "opencode-texts") if changed else mark_safe("")


@register.filter
def opencode_codes(names: Iterable[str]) -> SafeString:
    """Each as code, with commas between them."""
    codes = ((opencode_visible(name),) for name in names)
    return format_html_join(", ", "<code>{}</code>", codes)


@register.filter
def opencode_markdown(markdown: str, how: str = "") -> SafeString:
    """Markdown as safe HTML; with `"images"`, pictures from elsewhere are shown; with `"growing"` more of it comes."""
    html = render_markdown(markdown, images=how == "images", growing=how == "growing")
    return mark_safe(html)  # noqa: S308 - it is sanitised


@register.filter
def opencode_visible(text_of_tool: str) -> SafeString:
    """A text of `protocol.visible`, as which `display` gives a tool's input: its marks stand out."""
    shown = (
        f'<span class="oc-escape">{escape(piece)}</span>' if is_mark else escape(piece)
        for piece, is_mark in pieces(text_of_tool)
    )
    return mark_safe("".join(shown))  # noqa: S308 - each is escaped


@register.filter
def opencode_seconds(duration: float) -> str:
    """`0.4 s`, `12 s`, `2 min 5 s`."""
    minutes, rest = divmod(round(duration), _MINUTE)
    if minutes:
        return text("{minutes} min {seconds} s", minutes=minutes, seconds=rest)
    return text("{seconds} s", seconds=number(duration, 1) if duration < _SHORT else rest)


def _filled(found: str, values: dict[str, Any]) -> SafeString:
    shown = {
        name: value if type(value) is int else conditional_escape(value) for name, value in values.items()
    }
    return mark_safe(fill(escape(found), shown))  # noqa: S308 - all of it is escaped


def _token(context: template.Context) -> str:
    """The page's own, as `{% csrf_token %}` finds it."""
    token = context.get("csrf_token")
    return "" if token is None or str(token) == "NOTPROVIDED" else str(token)
