"""A model's Markdown as HTML: what it looks like, and what it cannot do."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from selection import sample

from opencode_sessions.display.markdown import render_markdown

ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<a href='javascript:alert(1)'>x</a>",
    "<body onload=alert(1)>",
    "<style>*{background:url(//evil.example)}</style>",
    "<link rel=stylesheet href=//evil.example>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<form action=//evil.example><button>x</button></form>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
    "<div style='position:fixed;inset:0'>x</div>",
    "<details open ontoggle=alert(1)>",
    "<input autofocus onfocus=alert(1)>",
    "<template><script>alert(1)</script></template>",
    "<!--><script>alert(1)</script>-->",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\nscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](&#x6A&#x61;vascript:alert(1))",
    "[x](\x01javascript:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](javascript://a.example/%0aalert(1))",
    "[x](vbscript:msgbox)",
    "[x](file:///etc/passwd)",
    "[x](//evil.example)",
    "[x](/logout)",
    "[x](?delete=1)",
    "[x](#top)",
    "[x](http:evil)",
    "[x](https://a.example '\" onmouseover=alert(1) x=\"')",
    '[x](https://a.example"onmouseover=alert(1))',
    "[x]: javascript:alert(1)\n\n[x]",
    "<javascript:alert(1)>",
    '<https://a.example/"onclick=alert(1)>',
    "![x](javascript:alert(1))",
    "![x](data:image/svg+xml;base64,PHN2Zz4=)",
    "![x](https://a.example/x.png)",
    '![" onerror=alert(1) x="](x)',
    "![x](//evil.example/x.png)",
    '```"><script>alert(1)</script>\nx\n```',
    "```x onclick=alert(1)\ny\n```",
    "```<img/src/onerror=alert(1)>\ny\n```",
    "`<script>alert(1)</script>`",
    "| a |\n|---|\n| <script>alert(1)</script> |",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "\u003cscript\u003ealert(1)\u003c/script\u003e",
    "[a](https://a.example)<script>[b](https://b.example)</script>",
    "1. <b onclick=alert(1)>\n   - <script>alert(1)</script>",
]  # fmt: skip

_TAGS = "a blockquote br code del em h3 h4 h5 h6 hr img li ol p pre s strong table tbody td th thead tr ul"
TAGS = set(_TAGS.split())
ALLOWED = {
    "a": {"href", "title", "rel", "target"},
    "pre": {"tabindex"},
    "table": {"tabindex", "dir"},
    "blockquote": {"dir"},
    "ul": {"dir"},
    "code": {"class"},
    "img": {"src", "alt", "title", "loading", "referrerpolicy"},
    "ol": {"start", "dir"},
    "td": {"class"},
    "th": {"class"},
}


class Inspector(HTMLParser):
    """Reads HTML as a browser would be given it, and refuses what has no place there."""

    def __init__(self, html):
        super().__init__()
        self.tags = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS, f"<{tag}>"
        self.tags.append((tag, dict(attrs)))
        for name, value in attrs:
            assert name in ALLOWED.get(tag, ()), f"{name}={value!r}"
            if name == "href":
                assert re.match(r"(https?://|mailto:)", value), value
            if name == "src":
                assert re.match(r"https?://", value), value
        if tag == "a":
            assert dict(attrs)["rel"] == "noopener nofollow"
            assert dict(attrs)["target"] == "_blank"

    def handle_comment(self, data):
        raise AssertionError(data)

    def handle_decl(self, decl):
        raise AssertionError(decl)


@pytest.mark.parametrize("images", [False, True])
@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_in_markdown_can_run_or_lead_astray(attack, images):
    html = render_markdown(attack, images=images)
    tags = Inspector(html).tags
    if not images:
        assert not any(tag == "img" for tag, _ in tags)


@given(
    st.lists(
        st.sampled_from([*ATTACKS, "\n", "> ", "* ", "**", "[", "](", ")", "<", ">", '"', "|", "`"])
    ).map("".join)
)
def test_no_mixture_of_attacks_gets_through(text):
    Inspector(render_markdown(text, images=True))


@given(st.text())
def test_any_text_is_rendered(text):
    Inspector(render_markdown(text))


def test_markdown_is_rendered():
    html = render_markdown(
        "**bold** ~~gone~~ `code`\nnext\n\n```python\nx = 1 < 2\n```\n\n| a | b |\n|:--|--:|\n| 1 | 2 |\n\n3. three\n"
    )
    assert "<p><strong>bold</strong> <s>gone</s> <code>code</code><br>" in html
    assert '<pre tabindex="0"><code class="language-python">x = 1 &lt; 2\n</code></pre>' in html
    assert '<th class="oc-left">a</th>' in html
    assert '<td class="oc-right">2</td>' in html
    assert '<ol start="3" dir="auto">' in html


def test_raw_html_is_shown_as_it_was_written():
    assert "&lt;b&gt;x&lt;/b&gt;" in render_markdown("<b>x</b>")


def test_links_open_apart_and_do_not_recommend():
    html = render_markdown("[x](https://a.example/?a=1&b=2 'T')")
    assert html == (
        '<p><a href="https://a.example/?a=1&amp;b=2" title="T" target="_blank" rel="noopener nofollow">x</a></p>\n'
    )


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("See https://a.example/x?y=1&z=2.", "https://a.example/x?y=1&amp;z=2"),
        ("**http://localhost:8000/c/1/**", "http://localhost:8000/c/1/"),
        ("(mailto:ada@a.example)", "mailto:ada@a.example"),
    ],
)
def test_an_address_that_stands_bare_is_a_link_like_others(text, address):
    assert f'<a href="{address}" target="_blank" rel="noopener nofollow">{address}</a>' in render_markdown(
        text
    )


@pytest.mark.parametrize(
    "text",
    ["README.md", "a.example", "git@a.example", "//a.example", "ftp://a.example", "`https://a.example`"],
)
def test_what_only_looks_like_an_address_is_none(text):
    assert "<a" not in render_markdown(f"Read {text} first.")


def test_a_list_begins_on_the_side_of_its_writing():
    assert render_markdown("- א").startswith('<ul dir="auto">')
    assert render_markdown("> x").startswith('<blockquote dir="auto">')


def test_pictures_are_links_unless_they_are_allowed():
    text = "![a *chart*](https://a.example/c.png)"
    assert '<a href="https://a.example/c.png"' in render_markdown(text)
    assert ">a chart</a>" in render_markdown(text)
    assert 'referrerpolicy="no-referrer"' in render_markdown(text, images=True)


def test_the_highest_heading_is_one_below_the_pages_own():
    assert "<h3>A</h3>\n<h4>B</h4>" in render_markdown("# A\n## B")
    assert "<h3>A</h3>\n<h6>B</h6>" in render_markdown("## A\n###### B")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 20_000,
        "*a_ " * 10_000,
        "> " * 5_000,
        "`" * 20_000,
        "![[]()" * 5_000,
        "|a" * 5_000 + "\n|-\n",
        "https://a.example/x " * 3_000,
        "mailto:" * 5_000,
        "https://" + "a." * 10_000,
    ],
)
def test_text_that_is_hard_to_read_takes_no_long_time(text):
    began = time.thread_time()
    render_markdown(text)
    assert time.thread_time() - began < 3


@pytest.mark.parametrize("package", sample(["nh3", "linkify_it"]))
def test_a_missing_package_is_named_with_the_extra_that_has_it(package):
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from opencode_sessions.display.markdown import render_markdown\n"
        "from opencode_sessions.errors import ConfigurationError\n"
        "try:\n    render_markdown('x')\nexcept ConfigurationError as error:\n    print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.startswith("Markdown is rendered by markdown-it-py, linkify-it-py and nh3, and there is no ")
    assert f"no {package}: " in told
    assert "pip install 'opencode-sessions[markdown]'" in told
