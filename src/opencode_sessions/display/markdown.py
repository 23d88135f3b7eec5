"""A model's Markdown as safe HTML: rendered by markdown-it-py, then sanitised by nh3.

Raw HTML is shown as text. Links, also bare ones, go only to http, https and mailto addresses, and open in a new tab.
Pictures on other hosts become links unless they are allowed, because a picture tells its server who looks at it. A text
that exceeds its budget is shown as plain text.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, MutableMapping, Sequence
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any

from opencode_sessions.display.markdown_budget import (
    LONGEST_LINK,
    MOST_CHARACTERS,
    Budget,
    OverBudget,
    hold_to_budget,
)
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


class _Kept:
    """A cache of the last renderings, up to a number of characters of text and HTML."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._found: OrderedDict[tuple[str, bool], str] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, text: str, images: bool) -> str | None:  # noqa: FBT001 - a key
        with self._lock:
            found = self._found.get((text, images))
            if found is not None:
                self._found.move_to_end((text, images))
            return found

    def put(self, text: str, images: bool, html: str) -> None:  # noqa: FBT001 - a key
        with self._lock:
            if (text, images) not in self._found:
                self._held += len(text) + len(html)
            self._found[text, images] = html
            while self._held > self._most:
                (old, _), rendered = self._found.popitem(last=False)
                self._held -= len(old) + len(rendered)


_kept = _Kept(8_000_000)


def render_markdown(text: str, *, images: bool = False, growing: bool = False) -> str:
    """Safe HTML for a text in Markdown (CommonMark, with tables, strikethrough and bare links).

    The HTML of the last texts is cached in memory, up to 8 million characters. A text that costs too much to render is
    shown as plain text: see `markdown_budget`.

    Args:
        text: The text, from any source.
        images: Whether to show pictures from http and https addresses; otherwise each is a link.
        growing: Whether the text still grows, so that its HTML is not cached.

    Raises:
        ConfigurationError: The packages of the extra `markdown` are not installed.
    """
    html = _kept.get(text, images)
    if html is None:
        html = _render(text, images)
        if not growing:
            _kept.put(text, images, html)
    return html


def _render(text: str, images: bool) -> str:  # noqa: FBT001 - a key
    render, sanitise = _tools(images)
    try:
        if len(text) <= MOST_CHARACTERS:
            return sanitise(render(text, {"budget": Budget()}))
    except OverBudget:
        pass
    return f'<p class="oc-plain">{escape(text)}</p>\n'


@cache
def _tools(images: bool) -> tuple[Callable[..., str], Callable[[str], str]]:  # noqa: FBT001 - a key of the cache
    """The renderer and the sanitiser, made once. They have no state, so several threads may use them."""
    try:
        import nh3  # noqa: PLC0415 - optional: a host may render no Markdown
        from linkify_it import LinkifyIt  # type: ignore[import-untyped]  # noqa: PLC0415 - likewise
        from markdown_it import MarkdownIt  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise ConfigurationError(
            f"Markdown is rendered by markdown-it-py, linkify-it-py and nh3, and there is no {error.name}: "
            "pip install 'opencode-sessions[markdown]'"
        ) from error

    class Links(LinkifyIt):  # type: ignore[misc]
        """Looks only as far as the longest allowed address."""

        def match_at_start(self, text: str) -> Any:
            return super().match_at_start(text[: LONGEST_LINK + len("https:")])

        def test_schema_at(self, text: str, name: str, position: int) -> int:
            length: int = super().test_schema_at(text[position : position + LONGEST_LINK], name, 0)
            return length if length < LONGEST_LINK else 0

    markdown = MarkdownIt("commonmark", {"html": False, "linkify": True, "breaks": True})
    markdown.linkify = Links(_NO_OTHERS, _NO_GUESSES)
    markdown.enable(["table", "strikethrough", "linkify"])
    markdown.core.ruler.push("opencode", _prepare)
    hold_to_budget(markdown)
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
                # Both scroll sideways if they are wide, so the keyboard must reach them.
                "pre": {"tabindex": "0"},
                "table": {"tabindex": "0", "dir": "auto"},
                # Their text follows the direction of its script; see parts.css for the others.
                "blockquote": {"dir": "auto"},
                "ol": {"dir": "auto"},
                "ul": {"dir": "auto"},
            },
        )

    return markdown.render, sanitise


def _keep_attribute(_tag: str, name: str, value: str) -> str | None:
    """Is the link allowed? A relative link would lead into the host's own site."""
    if name == "class":
        return value if _CLASS.fullmatch(value) else None
    if name == "href":
        return value if _ADDRESS.match(value) else None
    if name == "src":
        return value if _PICTURE.match(value) else None
    return value


def _prepare(state: Any) -> None:
    """Lower the level of headings below the page's own, and replace inline styles, which a strict CSP forbids."""
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
