"""What Markdown costs that is made to be slow: counted, so that a busy machine changes nothing."""

from __future__ import annotations

import re
import sys
from html import unescape
from itertools import pairwise

import pytest
from hostile_texts import FAMILIES, SHAPED, counted_calls
from linkify_it import main as linkify
from selection import sample

from opencode_sessions.display import markdown
from opencode_sessions.display import markdown_budget as budget
from opencode_sessions.display.markdown import render_markdown

LINKS = [name for name in FAMILIES if ":" in name and "lines" not in name]
SOME = list(FAMILIES)[::8]
"""A few of each kind, as they are listed by kinds."""


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    """And the renderer is made."""
    render_markdown("x")
    monkeypatch.setattr(markdown, "_kept", markdown._Kept(0))


def cost(text):
    with counted_calls() as calls:
        html = render_markdown(text)
    return calls[0], len(html)


@pytest.mark.parametrize(
    ("family", "sizes"),
    [
        *(
            pytest.param(name, (3_000, 6_000), marks=[] if name in SOME else pytest.mark.full)
            for name in FAMILIES
            if not name.endswith("with blanks")
        ),
        *(pytest.param(name, (6_000, 12_000, 24_000), marks=pytest.mark.full) for name in SHAPED),
    ],
)
def test_twice_the_text_takes_at_most_twice_the_work(family, sizes):
    costs = [cost(FAMILIES[family](size)) for size in sizes]
    for size, (calls, html) in zip(sizes, costs, strict=True):
        assert calls <= 600 * size, costs
        assert html <= 20 * size + 10_000, costs
    for size, ((calls, html), (more_calls, more_html)) in zip(sizes, pairwise(costs), strict=False):
        assert more_calls <= 2.2 * calls + 10 * size, costs
        assert more_html <= 2.2 * html + 10 * size, costs


def test_cells_that_a_table_is_filled_up_with_count_while_it_is_read():
    calls, _ = cost(FAMILIES["wide tables"](12_500))
    assert calls <= 80 * 12_500


class Searching:
    """A pattern, or the module of patterns, that counts the characters it is given."""

    def __init__(self, real, counts):
        self._real = real
        self._counts = counts

    def __getattr__(self, name):
        found = getattr(self._real, name)
        if name not in ("search", "finditer"):
            return found

        def search(*arguments, **more):
            self._counts.append(len(arguments[-1]))
            return found(*arguments, **more)

        return search


def _validating(real, counts):
    def validate(self, text, position):
        counts.append(len(text) - position)
        return real(self, text, position)

    return validate


@pytest.fixture
def searched(monkeypatch):
    """The characters that each search for a link was given."""
    counts = []
    rule = sys.modules["markdown_it.rules_inline.linkify"]
    monkeypatch.setattr(rule, "SCHEME_RE", Searching(rule.SCHEME_RE, counts))
    monkeypatch.setattr(linkify, "re", Searching(linkify.re, counts))
    for name in ("_validate_http", "_validate_mailto"):
        monkeypatch.setattr(linkify.LinkifyIt, name, _validating(getattr(linkify.LinkifyIt, name), counts))
    markdown._tools.cache_clear()
    yield counts
    markdown._tools.cache_clear()


@pytest.mark.parametrize("size", sample([2_000, 20_000, 200_000]))
@pytest.mark.parametrize("family", LINKS)
def test_patterns_for_links_search_no_more_than_in_proportion_to_the_text(family, size, searched):
    text = FAMILIES[family](size)
    render_markdown(text)
    assert sum(searched) <= 1_000 * len(text)


@pytest.mark.parametrize("family", sample(FAMILIES, *SOME))
def test_nothing_is_lost_of_a_text_that_is_slow(family):
    assert "treasure" in render_markdown(FAMILIES[family](3_000) + "\n\ntreasure")


@pytest.mark.parametrize(
    "text",
    [
        "> " * 50 + "treasure <b>",
        "".join("  " * level + "- treasure\n" for level in range(50)),
        ("|a" * 99 + "\n" + "|-" * 99 + "\n" + "|x\n" * 999 + "\n\n") * 9,
        "word <b>\n" * 30_000,
    ],
    ids=["too deep a quote", "too deep a list", "too many cells", "too long"],
)
def test_a_text_beyond_the_budget_is_shown_as_it_was_written(text):
    html = render_markdown(text)
    assert html.startswith('<p class="oc-plain">')
    assert unescape(re.sub("<.*?>", "", html)) == f"{text}\n"


def test_a_text_within_the_budget_is_rendered():
    rows = "".join(f"| {number}.5 | {number} | **{number}** |\n" for number in range(1_500))
    links = "".join(f"- https://a.example/page/{number}?q=1\n" for number in range(500))
    html = render_markdown(f"| a | b | c |\n|---|---|---|\n{rows}\n{links}")
    assert html.count("<td>") == 4_500
    assert html.count("<a href") == 500


def test_the_clock_ends_what_steps_do_not_count(monkeypatch):
    monkeypatch.setattr(budget, "MOST_SECONDS", -1.0)
    assert "oc-plain" not in render_markdown("a *word*")
    assert "oc-plain" in render_markdown("a *word* " * 2_000)


def test_an_address_is_a_link_up_to_a_length():
    long = "https://a.example/" + "x" * 1_900
    assert f'<a href="{long}"' in render_markdown(f"See {long}, and **more**")
    assert "<a" not in render_markdown(f"See {long}{long}")


@pytest.mark.full
def test_what_was_rendered_is_kept_within_bounds(monkeypatch):
    kept = markdown._Kept(1_000)
    monkeypatch.setattr(markdown, "_kept", kept)
    html = render_markdown("*once*")
    with counted_calls() as calls:
        assert render_markdown("*once*") == html
    assert calls[0] < 20
    for number in range(100):
        render_markdown(f"*{number}*")
    assert sum(len(text) + len(html) for (text, _), html in kept._found.items()) == kept._held <= 1_000
    render_markdown("grows", growing=True)
    assert kept.get("grows", images=False) is None
    assert render_markdown("![a](https://a.example/b)", images=True) != render_markdown(
        "![a](https://a.example/b)"
    )
