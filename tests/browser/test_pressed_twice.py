"""What is pressed twice, or held down, does once what it was meant to do, and nothing to what has come in its place."""

from __future__ import annotations

import re

import pytest
from browsing.scenes import ENDLESS, SLOW
from playwright.sync_api import expect

from opencode_sessions.testing import Call, Step

pytestmark = pytest.mark.full

LATER = """() => {
  const { setTimeout } = window;
  window.later = [];
  window.setTimeout = (act, wait, ...given) =>
    wait === 1500 ? later.push(() => act(...given)) : setTimeout(act, wait, ...given);
}"""
"""What the page does a second and a half later waits until the test does it."""


@pytest.fixture
def press_again(tab):
    """Call it with a button: the second click of two comes to it."""

    def press(button):
        box = button.bounding_box()
        tab.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        tab.page.mouse.down(click_count=2)
        tab.page.mouse.up(click_count=2)

    return press


def test_who_clicks_twice_to_send_does_not_stop_it(tab, scenes, press_again):
    tab.begin("Hello")
    tab.ends()
    tab.prompt.fill(scenes.add(ENDLESS).prompt)
    tab.button("Send").click()
    expect(tab.stop).to_be_visible()
    press_again(tab.stop)
    tab.shows("word9 ")
    tab.runs()
    tab.stop.click()
    tab.ends("cancelled")


def test_who_clicks_twice_to_allow_something_does_not_allow_what_is_asked_next(
    stage, tab, scenes, press_again
):
    both = (
        Call("bash", {"command": f"touch twice-{number}.txt", "description": "As told"}) for number in (1, 2)
    )
    tab.begin(scenes.add(*(Step(calls=(call,)) for call in both), Step(say="Done.")).prompt)
    expect(tab.ask).to_contain_text("twice-1")
    tab.button("Allow once").click()
    expect(tab.ask).to_contain_text("twice-2")
    press_again(tab.button("Allow once"))
    tab.button("Refuse").click()
    tab.ends("failed")
    assert not (stage.work / "twice-2.txt").exists()


def test_escape_that_is_held_down_stops_one_turn_alone(tab, scenes):
    tab.begin(scenes.add(ENDLESS).prompt)
    tab.shows("word3 ")
    tab.say(scenes.add(SLOW).prompt)
    expect(tab.turns).to_have_count(2)
    tab.page.keyboard.down("Escape")
    expect(tab.turns.first.locator("opencode-turn")).to_have_attribute("status", "cancelled")
    tab.shows("word1 ")
    tab.page.keyboard.down("Escape")  # as keys repeat themselves
    tab.page.keyboard.up("Escape")
    tab.ends()


def test_a_stop_that_is_pressed_twice_is_sent_once_and_complains_once(alice, tab, scenes):
    alice.expects("ERR_")
    tab.begin(scenes.add(ENDLESS).prompt)
    tab.shows("word3 ")
    tab.page.route("**/cancel", lambda route: route.abort(), times=2)
    tab.page.evaluate("""() => {
        const escape = () => new KeyboardEvent("keydown", { key: "Escape", bubbles: true, cancelable: true });
        document.body.dispatchEvent(escape());
        document.body.dispatchEvent(escape());
    }""")
    expect(tab.turn.locator("form[aria-busy]")).to_have_count(0)
    expect(tab.turn.get_by_role("alert")).to_have_count(1)
    tab.page.unroute_all()
    tab.page.keyboard.press("Escape")
    tab.ends("cancelled")


def test_what_is_copied_twice_can_be_copied_a_third_time(alice, tab):
    alice.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.begin("Hello")
    tab.ends()
    copy = tab.button("Copy the answer")
    copy.wait_for()
    tab.page.evaluate(LATER)
    for number in (1, 2):
        copy.click()
        tab.page.wait_for_function("count => later.length === count", arg=number)
    tab.page.evaluate("later.forEach((act) => act())")
    expect(copy.locator("use")).to_have_attribute("href", re.compile("#copy$"))
