"""On paper nothing can be scrolled to: all that is said stands there, and nothing that could be pressed."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from opencode_sessions.testing import Step

pytestmark = pytest.mark.full

PAPER = {"width": 720, "height": 1020}
LINES = "\n".join(f"Line {number}" for number in range(60))
WIDE = f"""
| {" | ".join(f"column {number}" for number in range(16))} |
|{"---|" * 16}
| {" | ".join(f"cell {number}" for number in range(16))} |

```python
{"print('a long line') ; " * 12}
```
"""
HIDDEN = """() => [...document.querySelectorAll('.said__text, .oc-prose, .oc-prose *')].filter((each) =>
    each.scrollWidth > each.clientWidth + 1 && each.clientWidth || getComputedStyle(each).overflow === 'hidden'
    || each.scrollHeight > each.clientHeight + 1 && getComputedStyle(each).overflowY !== 'visible'
    ).map((each) => each.outerHTML.slice(0, 200))"""


def test_nothing_of_what_was_said_is_cut_off(tab, scenes):
    tab.begin(f"{LINES}\n{scenes.add(Step(say=WIDE)).prompt}")
    tab.ends()
    tab.page.set_viewport_size(PAPER)
    assert tab.page.evaluate(HIDDEN) != []
    tab.page.emulate_media(media="print")
    assert tab.page.evaluate(HIDDEN) == []
    assert tab.page.evaluate("document.documentElement.scrollWidth") == PAPER["width"]


def test_on_a_wide_sheet_the_answer_takes_no_less_room_than_on_the_screen(tab):
    tab.begin("Hello")
    tab.ends()
    wide = tab.answer.bounding_box()["width"]
    tab.page.emulate_media(media="print")
    assert tab.answer.bounding_box()["width"] >= wide


def test_what_could_be_pressed_is_not_printed_nor_what_is_dark(tab):
    tab.page.emulate_media(color_scheme="dark")
    tab.page.get_by_role("button", name="Theme:").click(click_count=2)
    tab.begin("Hello")
    tab.ends()
    assert tab.answer.evaluate("each => getComputedStyle(each).colorScheme") == "dark"
    tab.page.emulate_media(media="print")
    for button in tab.page.get_by_role("button", include_hidden=True).all():
        expect(button).to_be_hidden()
    assert tab.answer.evaluate("each => getComputedStyle(each).colorScheme") == "light"
