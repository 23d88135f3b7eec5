"""Where the keyboard goes on when what was pressed goes away."""

from __future__ import annotations

import re

import pytest
from browsing.scenes import ENDLESS
from playwright.sync_api import expect

from opencode_sessions.testing import Call, Refusal, Script, Step

pytestmark = pytest.mark.full


def run(command):
    return Call("bash", {"command": command, "description": "As I was told"})


def question():
    options = [{"label": each, "description": each} for each in ("Rye", "Wheat")]
    return Call("question", {"questions": [{"header": "Bread", "question": "Which?", "options": options}]})


@pytest.fixture
def press(tab):
    """Call it with a button's name: it is pressed with a key."""

    def press(button):
        button.focus()
        button.press("Enter")

    return press


def test_of_two_asks_the_answer_to_one_leads_to_the_other_and_then_to_the_prompt(tab, scenes, press):
    both = (run("touch focus-first.txt"), run("touch focus-second.txt"))
    tab.begin(scenes.add(Step(calls=both), Step(say="That was all.")).prompt)
    expect(tab.ask).to_have_count(2)
    press(tab.ask.first.get_by_role("button", name="Allow once"))
    expect(tab.ask).to_have_count(1)
    expect(tab.ask.get_by_role("heading")).to_be_focused()
    press(tab.button("Allow once"))
    expect(tab.ask).to_have_count(0)
    expect(tab.prompt).to_be_focused()
    tab.ends()


def test_after_a_question_is_dismissed_and_after_what_failed_is_tried_again_it_is_the_prompt(
    tab, scenes, press
):
    scene = scenes.add(Step(calls=(question(),)))
    tab.begin(scene.prompt)
    press(tab.button("Dismiss"))
    tab.ends("failed")
    expect(tab.prompt).to_be_focused()
    scene.script = Script(Step(say="Without, then."))
    press(tab.button("Try again"))
    expect(tab.turns).to_have_count(2)
    expect(tab.prompt).to_be_focused()
    tab.ends()


def test_after_a_stop_it_is_the_prompt(tab, scenes, press):
    tab.begin(scenes.add(ENDLESS).prompt)
    tab.shows("word3 ")
    press(tab.stop)
    tab.ends("cancelled")
    expect(tab.prompt).to_be_focused()


def test_what_ends_by_itself_leaves_the_focus_where_it_is(tab, scenes):
    tab.begin(scenes.add(Step(say="Said.", calls=(run("true"),)), Step(trouble=Refusal(400, "No."))).prompt)
    link = tab.page.get_by_role("link", name="New conversation")
    expect(tab.ask).to_be_visible()
    link.focus()
    tab.ask.get_by_role("button", name="Allow once").evaluate("button => button.click()")
    tab.ends("failed")
    expect(link).to_be_focused()


def test_a_word_that_lacks_is_corrected_where_one_was(tab, scenes, press):
    tab.visitor.expects("status of 400")
    tab.begin(scenes.add(Step(calls=(question(),))).prompt)
    press(tab.button("Answer"))
    expect(tab.ask.get_by_role("alert")).to_be_visible()
    expect(tab.button("Answer")).to_be_focused()
    press(tab.button("Dismiss"))
    tab.ends("failed")


def test_to_delete_one_is_asked_first_and_the_harmless_answer_is_the_nearest(tab):
    tab.begin("Hello")
    tab.ends()
    expect(tab.prompt).to_be_focused()
    tab.button("Delete the conversation").press("Enter")
    expect(tab.button("Keep it")).to_be_focused()
    tab.page.keyboard.press("Enter")
    expect(tab.button("Keep it")).to_be_hidden()
    expect(tab.button("Delete the conversation")).to_be_focused()


def test_who_tabs_out_of_the_list_on_a_phone_is_behind_it_no_more(visit):
    tab = visit("alice", viewport={"width": 390, "height": 844}).open()
    drawer = tab.page.get_by_role("navigation", name="Conversations")
    tab.page.get_by_role("button", name="Conversations").press("Enter")
    expect(drawer).to_be_visible()
    tab.page.keyboard.press("Tab")
    expect(drawer.get_by_role("link", name=re.compile("Parley"))).to_be_focused()
    drawer.get_by_role("button", name="Log out").focus()
    expect(drawer).to_be_visible()
    tab.page.keyboard.press("Tab")
    expect(drawer).to_be_hidden()
    expect(tab.page.locator(":focus")).to_be_in_viewport()
