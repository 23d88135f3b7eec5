"""A model's Markdown as HTML that can be trusted: rendered by markdown-it-py, then sanitised by nh3.

Raw HTML in it is shown, not obeyed. Links go to http, https and mailto addresses only, also where those stand bare in
the text, and open apart from the page. Pictures from elsewhere are links, unless they are allowed, as a picture tells
its server who looks at it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, MutableMapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from django.utils.safestring import SafeString, mark_safe

from opencode_sessions.errors import ConfigurationError

if TYPE_CHECKING:
    from markdown_it.token import Token

__all__ = ["render_markdown"]

_TAGS = {
    "a", "blockquote", "br", "code", "del", "em", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "s",
    "strong", "table", "tbody", "td", "th", "thead", "tr", "ul", "img",
}  # fmt: skip
_ATTRIBUTES = {
    "a": {"href", "title"},
    "code": {"class"},
    "img": {"src", "alt", "title"},
    "ol": {"start"},
    "td": {"class"},
    "th": {"class"},
}
_SCHEMES = {"http", "https", "mailto"}
_CLASS = re.compile(r"language-[\w+#.-]{1,40}|oc-(?:left|center|right)", re.ASCII)
_ADDRESS = re.compile(r"(?:https?://[^/\s]|mailto:[^\s])", re.ASCII | re.IGNORECASE)
_PICTURE = re.compile(r"https?://[^/\s]", re.ASCII | re.IGNORECASE)
_ALIGNED = re.compile(r"text-align:(left|center|right)")
_TOP_HEADING = 3  # a page has its own first two
_NO_OTHERS = {"ftp:": None, "//": None}
_NO_GUESSES = {"fuzzy_link": False, "fuzzy_email": False}  # README.md is a file, not a site in Moldova


def render_markdown(text: str, *, images: bool = False) -> SafeString:
    """HTML of a text in Markdown (CommonMark, with tables, strikethrough, bare links), safe to be put into a page.

    Args:
        text: By whomever.
        images: Show pictures from http and https addresses; else each is a link to it.

    Raises:
        ConfigurationError: The packages of the extra `django` are not installed.
    """
    render, sanitise = _tools(images)
    return mark_safe(sanitise(render(text)))  # noqa: S308 - that is what it was sanitised for


@cache
def _tools(images: bool) -> tuple[Callable[[str], str], Callable[[str], str]]:  # noqa: FBT001 - a key of the cache
    """Both are made once: they keep no state, and may be used by several threads."""
    try:
        import nh3  # noqa: PLC0415 - a host that renders no Markdown need not have it
        from linkify_it import LinkifyIt  # type: ignore[import-untyped]  # noqa: PLC0415 - likewise
        from markdown_it import MarkdownIt  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise ConfigurationError(
            f"Markdown is rendered by markdown-it-py, linkify-it-py and nh3, and there is no {error.name}: "
            "pip install 'opencode-sessions[django]'"
        ) from error
    markdown = MarkdownIt("commonmark", {"html": False, "linkify": True, "breaks": True})
    markdown.linkify = LinkifyIt(_NO_OTHERS, _NO_GUESSES)
    markdown.enable(["table", "strikethrough", "linkify"])
    markdown.core.ruler.push("opencode", _prepare)
    if not images:
        markdown.add_render_rule("image", _picture_as_link)

    def sanitise(html: str) -> str:
        return nh3.clean(
            html,
            tags=_TAGS,
            attributes=_ATTRIBUTES,
            attribute_filter=_keep_attribute,
            url_schemes=_SCHEMES,
            link_rel="noopener nofollow",
            set_tag_attribute_values={
                "a": {"target": "_blank"},
                "img": {"loading": "lazy", "referrerpolicy": "no-referrer"},
                # Both scroll sideways where they are wide: the keyboard must get there.
                "pre": {"tabindex": "0"},
                "table": {"tabindex": "0", "dir": "auto"},
                # Their text begins where its writing does; see parts.css for what has no side of its own.
                "blockquote": {"dir": "auto"},
                "ol": {"dir": "auto"},
                "ul": {"dir": "auto"},
            },
        )

    return markdown.render, sanitise


def _keep_attribute(_tag: str, name: str, value: str) -> str | None:
    """A relative link would lead into the host's own site."""
    if name == "class":
        return value if _CLASS.fullmatch(value) else None
    if name == "href":
        return value if _ADDRESS.match(value) else None
    if name == "src":
        return value if _PICTURE.match(value) else None
    return value


def _prepare(state: Any) -> None:
    """Headings below the page's own, and classes where Markdown has inline styles, which a strict policy forbids."""
    headings = [token for token in state.tokens if token.type in ("heading_open", "heading_close")]
    top = min((int(token.tag[1:]) for token in headings), default=1)
    for token in headings:
        token.tag = f"h{min(int(token.tag[1:]) - top + _TOP_HEADING, 6)}"
    for token in state.tokens:
        aligned = _ALIGNED.fullmatch(str(token.attrs.pop("style", "")))
        if aligned:
            token.attrs["class"] = f"oc-{aligned[1]}"


def _picture_as_link(
    renderer: Any,
    tokens: Sequence[Token],
    place: int,
    options: Any,
    env: MutableMapping[str, Any],
) -> str:
    from markdown_it.common.utils import escapeHtml  # noqa: PLC0415 - installed, or this would not be called

    token = tokens[place]
    source = escapeHtml(str(token.attrs.get("src", "")))
    named = renderer.renderInlineAsText(token.children or [], options, env)
    return f'<a href="{source}">{escapeHtml(named) or source}</a>'
