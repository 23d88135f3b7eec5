"""A browser has six connections to a server over HTTP/1.1, for all its tabs together."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from opencode_sessions.testing import Call, Step

ASK = Call("bash", {"command": "touch queued-behind.txt", "description": "As I was told"})
MANY = 7

pytestmark = pytest.mark.full

# In this browser all tabs are taken to be looked at.
SEEN = """
(seen) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => !seen });
  Object.defineProperty(document, "visibilityState", { configurable: true, get: () => seen ? "visible" : "hidden" });
  document.dispatchEvent(new Event("visibilitychange"));
}
"""


def test_an_ask_is_answered_with_many_prompts_queued_behind_it(stage, tab, scenes):
    tab.begin(scenes.add(Step(calls=(ASK,)), Step(say="That was all.")).prompt)
    expect(tab.ask).to_be_visible()
    for number in range(MANY):
        tab.say(f"And another thing, number {number}")
        expect(tab.turns).to_have_count(number + 2)
    tab.button("Allow once").click()
    expect(tab.ask).to_be_hidden()
    for turn in tab.turns.all():
        expect(turn.locator("opencode-turn")).to_have_attribute("status", "completed")
    assert (stage.work / "queued-behind.txt").exists()
    assert [f"number {number}" in said for number, said in enumerate(tab.texts()[1:])] == [True] * MANY


def test_tabs_in_the_background_leave_the_line_to_others(alice, scenes):
    tabs = []
    for _ in range(MANY):
        scene = scenes.add(Step(say="First this.", calls=(ASK,)), Step(say="Then that."), held=0)
        tabs.append((alice.open(), scene))
        tabs[-1][0].begin(scene.prompt)
        tabs[-1][0].runs()
        tabs[-1][0].page.evaluate(SEEN, False)
    alice.open("/")
    for tab, scene in tabs:
        scene.go_on()
        tab.page.evaluate(SEEN, True)
        tab.shows("First this.")
        tab.button("Refuse").click()
        tab.ends("failed")
