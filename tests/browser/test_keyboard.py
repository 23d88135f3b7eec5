from __future__ import annotations

import pytest
from browsing.scenes import ENDLESS, SLOW, STORY
from playwright.sync_api import expect

from opencode_sessions.testing import Call, Step

LOOK = Call("read", {"filePath": "flour.txt"})


@pytest.fixture
def keys(tab):
    """The keyboard; there is no mouse in these tests."""
    return tab.page.keyboard


@pytest.fixture
def walk_to(tab, keys):
    """Call it to press Tab until an element has the focus; every stop on the way must be seen."""

    def walk(element, key="Tab"):
        for _ in range(400):  # the list of conversations is as long as other tests have made it
            keys.press(key)
            assert tab.page.evaluate("document.activeElement.checkVisibility()")
            if element.evaluate("element => element === document.activeElement"):
                return
        raise AssertionError(f"{key} does not lead to {element}")

    return walk


def test_a_whole_conversation_goes_without_a_mouse(stage, tab, scenes, keys, walk_to):
    call = Call("bash", {"command": "echo typed > typed.txt", "description": "Once"})
    scene = scenes.add(Step(calls=(call,)), Step(say="It is typed."))
    expect(tab.prompt).to_be_focused()
    keys.type(scene.prompt)
    keys.press("Enter")
    tab.page.wait_for_url("**/c/*/")
    expect(tab.ask).to_be_visible()
    walk_to(tab.button("Allow once"), "Shift+Tab")
    keys.press("Enter")
    tab.ends()
    assert (stage.work / "typed.txt").read_text() == "typed\n"
    card = tab.part("tool")
    walk_to(card.locator("summary").first, "Shift+Tab")
    keys.press("Enter")
    expect(card).to_have_attribute("open", "")
    expect(card).to_contain_text("echo typed > typed.txt")
    keys.press("/")
    expect(tab.prompt).to_be_focused()
    keys.type("And on")
    keys.press("Shift+Enter")
    keys.type("it goes.")
    expect(tab.prompt).to_have_value("And on\nit goes.")
    keys.press("Enter")
    expect(tab.turns).to_have_count(2)
    tab.ends()
    walk_to(tab.page.get_by_role("link", name="New conversation"), "Shift+Tab")
    keys.press("Enter")
    tab.page.get_by_role("heading", name="What shall we do?").wait_for()


@pytest.mark.full
def test_escape_stops(tab, scenes, keys):
    tab.begin(scenes.add(ENDLESS).prompt)
    tab.shows("word3 ")
    keys.press("Escape")
    tab.ends("cancelled")


@pytest.mark.full
def test_a_question_is_answered_with_keys(tab, scenes, keys, walk_to):
    asked = {
        "header": "Bread",
        "question": "Which?",
        "options": [{"label": each, "description": each} for each in ("Rye", "Wheat")],
    }
    scene = scenes.add(Step(calls=(Call("question", {"questions": [asked]}),)), Step(say="So be it."))
    tab.begin(scene.prompt)
    expect(tab.ask).to_be_visible()
    walk_to(tab.button("Answer"), "Shift+Tab")
    walk_to(tab.ask.get_by_role("radio").last, "Shift+Tab")
    keys.press("Space")
    keys.press("ArrowUp")
    expect(tab.ask.get_by_label("Rye")).to_be_checked()
    walk_to(tab.button("Answer"))
    keys.press("Enter")
    tab.ends()
    assert '"Rye"' in scene.heard[0]


@pytest.mark.full
def test_a_link_that_only_the_keyboard_finds_leads_past_the_list(tab, keys, walk_to):
    skip = tab.page.get_by_role("link", name="Skip to the conversation")
    expect(skip).not_to_be_in_viewport()
    walk_to(skip, "Shift+Tab")
    expect(skip).to_be_in_viewport()
    keys.press("Enter")
    expect(tab.page.get_by_role("main")).to_be_focused()


@pytest.mark.full
def test_an_up_arrow_edits_the_last_prompt_and_escape_leaves_it(tab, keys):
    tab.begin("Hello there")
    tab.ends()
    keys.press("ArrowUp")
    edit = tab.turn.get_by_label("Your message, in other words")
    expect(edit).to_be_focused()
    expect(edit).to_have_value("Hello there")
    keys.press("Escape")
    expect(edit).to_be_hidden()
    expect(tab.turn.get_by_label("Edit and send again")).to_be_focused()


@pytest.mark.full
def test_the_title_is_changed_and_left_with_keys(tab, keys, walk_to):
    tab.begin("Hello there")
    tab.ends()
    walk_to(tab.page.locator("summary", has=tab.page.get_by_role("heading", level=1)), "Shift+Tab")
    keys.press("Enter")
    expect(tab.page.get_by_label("Title")).to_be_focused()
    keys.press("Escape")
    expect(tab.page.get_by_label("Title")).to_be_hidden()
    keys.press("Enter")
    expect(tab.page.get_by_label("Title")).to_be_focused()
    keys.press("ControlOrMeta+a")
    keys.type("By hand")
    keys.press("Enter")
    expect(tab.page.get_by_role("heading", level=1)).to_have_text("By hand")


@pytest.mark.full
def test_focus_stays_where_it_is_while_the_answer_grows(tab, scenes, keys, walk_to):
    scene = scenes.add(Step(say="First.", calls=(LOOK,)), Step(say=STORY, pause=0.02), held=1)
    tab.begin(scene.prompt)
    card = tab.part("tool")
    expect(card).to_have_attribute("data-state", "done")
    summary = card.locator("summary").first
    walk_to(summary, "Shift+Tab")
    keys.press("Enter")
    scene.go_on()
    tab.ends()
    tab.shows(STORY)
    expect(summary).to_be_focused()
    expect(card).to_have_attribute("open", "")


@pytest.mark.full
def test_what_is_being_written_stays_while_an_answer_ends_and_a_turn_is_added_elsewhere(
    alice, tab, scenes, keys
):
    scene = scenes.add(Step(say="First.", calls=(LOOK,)), Step(say="Then that."), held=1)
    tab.begin(scene.prompt)
    keys.type("Not yet se")
    other = alice.open(tab.path)
    scene.go_on()
    other.ends()
    other.say("From elsewhere")
    expect(tab.turns).to_have_count(2)
    other.ends()
    expect(tab.prompt).to_be_focused()
    keys.type("nt")
    expect(tab.prompt).to_have_value("Not yet sent")


@pytest.mark.full
def test_a_selection_in_the_answer_stays_while_it_grows(tab, scenes):
    tab.begin(scenes.add(SLOW).prompt)
    tab.shows("word3 ")
    tab.part("text").locator("p").first.evaluate("""paragraph => {
        const range = new Range();
        range.setStart(paragraph.firstChild, 0);
        range.setEnd(paragraph.firstChild, 11);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
    }""")
    tab.ends()
    tab.shows(STORY)
    assert tab.page.evaluate("getSelection().toString()") == "word1 word2"
