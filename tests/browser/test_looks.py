from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from opencode_sessions.testing import Call, Refusal, Step

pytestmark = pytest.mark.full

LOOK = Call("read", {"filePath": "flour.txt"})
WIDE = f"""# A title

{"Longwordwithoutaspace" * 12} and `{"inline_code_" * 20}`

| {" | ".join(f"column {number}" for number in range(12))} |
|{"---|" * 12}
| {" | ".join(f"cell {number}" for number in range(12))} |

```python
{"print('a long line') ; " * 12}
```

https://example.org/{"path/" * 40}
"""
PHONES = ({"width": 390, "height": 844}, {"width": 320, "height": 568})


def run(command):
    return Call("bash", {"command": command, "description": "As I was told"})


def question():
    options = [{"label": each, "description": f"{each}, and nothing else"} for each in ("Rye", "Wheat")]
    asked = {"header": "Bread", "question": "Which bread shall it be?", "options": options}
    return Call("question", {"questions": [asked]})


def todos():
    states = {"Mix": "completed", "Knead": "in_progress", "Bake": "pending"}
    return Call(
        "todowrite",
        {"todos": [{"content": text, "status": state, "priority": "high"} for text, state in states.items()]},
    )


def home(tab, scenes):
    tab.page.get_by_role("heading", name="What shall we do?").wait_for()


def streaming(tab, scenes):
    tab.begin(
        scenes.add(Step(reason="Hm.", say="First.", calls=(LOOK, todos())), Step(say="Then."), held=1).prompt
    )
    tab.shows("First.")
    expect(tab.part("tool")).to_have_count(2)
    tab.runs()


def asking(tab, scenes):
    write = Call("write", {"filePath": "look.md", "content": "# New\n\nA file.\n"})
    tab.begin(scenes.add(Step(say="May I?", calls=(write, run("touch look.txt")))).prompt)
    expect(tab.ask).to_have_count(2)
    for fold in tab.ask.get_by_text("Refuse, and say").all():
        fold.click()


def questioning(tab, scenes):
    tab.begin(scenes.add(Step(say="Tell me.", calls=(question(),))).prompt)
    expect(tab.ask).to_be_visible()


def answered(tab, scenes):
    tab.begin(scenes.add(Step(reason="Let me see.", calls=(LOOK,)), Step(say=WIDE)).prompt)
    tab.ends()
    for summary in tab.answer.locator("summary").all():
        summary.click()


def failed(tab, scenes):
    tab.begin(scenes.add(Step(trouble=Refusal(400, "The oven is cold."))).prompt)
    tab.ends("failed")


def deleting(tab, scenes):
    tab.begin("Hello")
    tab.ends()
    tab.button("Delete the conversation").click()
    expect(tab.button("Keep it")).to_be_visible()


def editing(tab, scenes):
    tab.begin("Hello")
    tab.ends()
    tab.prompt.press("ArrowUp")
    expect(tab.turn.get_by_role("button", name="Send")).to_be_visible()


STATES = (home, streaming, asking, questioning, answered, failed, deleting, editing)
WIDEST = (home, asking, questioning, answered, deleting)


def faults(page):
    """What axe finds serious or critical."""
    found = Axe().run(page).response["violations"]
    return [
        (each["id"], node["html"], node["failureSummary"])
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def let_go(tab):
    """What was begun for a picture is not left to run."""
    if tab.stop.is_visible():
        tab.stop.click()
        tab.ends("cancelled")


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_axe_finds_nothing_serious_in_light_or_dark(tab, scenes, state):
    state(tab, scenes)
    for theme in ("light", "dark"):
        tab.page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        found = faults(tab.page)
        assert not found, f"{theme}: {found}"
    let_go(tab)


def test_axe_would_find_a_fault(tab):
    tab.page.evaluate("document.querySelector('#prompt').previousElementSibling.remove()")
    tab.page.evaluate("document.querySelector('#prompt').removeAttribute('placeholder')")
    assert {fault for fault, *_ in faults(tab.page)} == {"label"}


def test_axe_finds_nothing_serious_at_the_door(chromium, stage):
    context = chromium.new_context()
    page = context.new_page()
    for path in ("/login/", stage.links["alice"]):
        page.goto(stage.url + path)
        assert faults(page) == []
    context.close()


@pytest.mark.parametrize("state", WIDEST, ids=lambda state: state.__name__)
def test_on_a_phone_nothing_is_wider_than_the_screen(tab, scenes, state):
    tab.page.set_viewport_size(PHONES[0])
    state(tab, scenes)
    for size in PHONES:
        tab.page.set_viewport_size(size)
        assert tab.page.evaluate("document.documentElement.scrollWidth") == size["width"]
    let_go(tab)


def test_on_a_phone_the_list_is_a_drawer(visit):
    tab = visit("alice", viewport=PHONES[0], has_touch=True, is_mobile=True).open()
    drawer = tab.page.get_by_role("navigation", name="Conversations")
    expect(drawer).to_be_hidden()
    tab.page.get_by_role("button", name="Conversations").tap()
    expect(drawer).to_be_visible()
    assert faults(tab.page) == []
    drawer.get_by_role("button", name="Close the list").tap()
    expect(drawer).to_be_hidden()


def test_on_a_touch_screen_enter_makes_a_line_and_the_button_sends(visit):
    tab = visit("alice", viewport=PHONES[0], has_touch=True, is_mobile=True).open()
    tab.prompt.tap()
    tab.page.keyboard.type("One")
    tab.page.keyboard.press("Enter")
    tab.page.keyboard.type("Two")
    expect(tab.prompt).to_have_value("One\nTwo")
    tab.button("Send").tap()
    tab.page.wait_for_url("**/c/*/")
    tab.ends()
    tab.shows("One Two")


def moving(tab):
    return tab.page.evaluate(
        "document.getAnimations().filter(({ playState }) => playState === 'running').length"
    )


def test_where_less_motion_is_wanted_nothing_moves(tab, scenes):
    streaming(tab, scenes)
    tab.page.emulate_media(reduced_motion="no-preference")
    assert moving(tab) > 0
    tab.page.emulate_media(reduced_motion="reduce")
    assert moving(tab) == 0
    let_go(tab)


def test_the_theme_that_was_chosen_stays(tab):
    def colours():
        return tab.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")

    tab.page.emulate_media(color_scheme="light")
    toggle = tab.page.get_by_role("button", name="Theme:")
    light = colours()
    tab.page.emulate_media(color_scheme="dark")
    dark = colours()
    assert light != dark
    toggle.click()
    expect(toggle).to_have_accessible_name("Theme: light")
    assert colours() == light
    tab.page.reload()
    assert colours() == light
    expect(toggle).to_have_accessible_name("Theme: light")
    toggle.click()
    toggle.click()
    expect(toggle).to_have_accessible_name("Theme: as the system")
    assert colours() == dark
