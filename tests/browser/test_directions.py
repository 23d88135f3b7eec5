"""What is written from right to left stands on the right, beside what is not."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from opencode_sessions.testing import Step

pytestmark = pytest.mark.full

HEBREW = "\N{HEBREW LETTER SHIN}\N{HEBREW LETTER LAMED}\N{HEBREW LETTER VAV}\N{HEBREW LETTER FINAL MEM}"
ANSWER = f"""{HEBREW} `shop/cart.py`

In English.

- {HEBREW}
- English, in between

1. English
2. {HEBREW}

> {HEBREW}

| {HEBREW} | {HEBREW} | {HEBREW} |
|---|:-:|--:|
| 1 | 2 | 3 |
"""
SIDES = """(box, selector) => [...box.querySelectorAll(selector)].map((each) => {
    const range = document.createRange();
    range.selectNodeContents(each);
    const [text, room] = [range.getBoundingClientRect(), each.getBoundingClientRect()];
    return text.left - room.left < room.right - text.right ? "left" : "right";
})"""


@pytest.fixture
def written(tab, scenes):
    """A conversation in Hebrew."""
    tab.begin(f"{HEBREW} {scenes.add(Step(say=ANSWER)).prompt}")
    tab.ends()
    return tab


def runs(element, direction):
    """Expects ``element`` to be written in ``direction``, whatever redraws it meanwhile."""
    expect(element).to_have_css("direction", direction)


def test_titles_and_what_is_typed_begin_on_their_own_side(written):
    title = written.page.get_by_role("heading", level=1)
    runs(title, "rtl")
    runs(written.page.locator("nav a[aria-current] .link__title"), "rtl")
    written.prompt.fill(HEBREW)
    runs(written.prompt, "rtl")
    written.prompt.fill("Hello")
    runs(written.prompt, "ltr")
    runs(written.open_edit(written.turn), "rtl")
    title.click()
    field = written.page.get_by_label("Title")
    expect(field).to_be_visible()
    runs(field, "rtl")


def test_an_answer_is_laid_out_by_the_writing_of_each_of_its_pieces(written):
    def sides(selector):
        return written.answer.evaluate(f"box => ({SIDES})(box, {selector!r})")

    assert sides("[data-part] > p") == ["right", "left"]
    assert sides("ul > li") == ["right", "right"]
    assert sides("ol > li") == ["left", "left"]
    assert sides("blockquote > p") == ["right"]
    blocks = written.answer.locator("ul, ol, blockquote, table")
    expect(blocks).to_have_count(4)
    for place, direction in enumerate(("rtl", "ltr", "rtl", "rtl")):
        runs(blocks.nth(place), direction)
    aligned = written.answer.locator("td").evaluate_all(
        "cells => cells.map((cell) => getComputedStyle(cell).textAlign)"
    )
    assert aligned == ["right", "center", "right"]
    runs(written.answer.locator("code"), "ltr")
