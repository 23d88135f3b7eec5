from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from opencode_sessions.testing import Call, Step

LOOK = Call("read", {"filePath": "flour.txt"})
NEXT = "Queued: it comes next"


@pytest.fixture
def queue(tab, scenes):
    """Call it with prompts: they wait behind a turn that is held, which is returned."""

    def hold(*prompts):
        scene = scenes.add(Step(say="First this.", calls=(LOOK,)), Step(say="Then that."), held=1)
        tab.begin(scene.prompt)
        tab.shows("First this.")
        for number, prompt in enumerate(prompts, 2):
            tab.say(prompt)
            expect(tab.turns).to_have_count(number)
        return scene

    return hold


def ends(turn, status):
    expect(turn.locator("opencode-turn")).to_have_attribute("status", status)


def says(tab, lines):
    """Where each of the turns is in the queue, as far as that can be seen."""
    for place, line in enumerate(lines):
        told = tab.turns.nth(place).locator(".working__queued")
        if line is None:
            expect(told).to_be_hidden()
        else:
            expect(told).to_have_text(line, use_inner_text=True)


@pytest.mark.full
def test_only_the_first_of_those_that_are_queued_comes_next(tab, queue):
    queue("Second", "Third", "Fourth")
    says(tab, [None, NEXT, "Queued", "Queued"])
    found = Axe().run(tab.page).response["violations"]
    assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []
    tab.turns.nth(1).get_by_role("button", name="Take back").click()
    ends(tab.turns.nth(1), "cancelled")
    says(tab, [None, None, NEXT, "Queued"])


@pytest.mark.lines(full="v2")
def test_what_is_queued_can_be_taken_back_and_the_next_goes_on(tab, queue, scenes):
    kept = scenes.add(Step(say="That one."))
    scene = queue("Not this one", kept.prompt)
    expect(tab.turns.first.get_by_role("button", name="Take back")).to_be_hidden()
    tab.turns.nth(1).get_by_role("button", name="Take back").click()
    ends(tab.turns.nth(1), "cancelled")
    expect(tab.turns.nth(1)).to_contain_text("Taken back.")
    expect(tab.turns.nth(1)).not_to_contain_text("Stopped")
    expect(tab.prompt).to_be_focused()
    ends(tab.turns.first, "streaming")
    scene.go_on()
    ends(tab.turns.first, "completed")
    tab.ends()
    tab.shows("That one.")
    assert list(kept.requests[-1].prompts) == [scene.prompt, kept.prompt]


@pytest.mark.full
def test_escape_stops_what_runs_and_the_next_goes_on(tab, queue):
    queue("Second")
    tab.page.keyboard.press("Escape")
    ends(tab.turns.first, "cancelled")
    tab.ends()
    tab.shows('You said: "Second".')


@pytest.mark.full
def test_taken_back_and_edited_it_goes_on_without_what_runs(tab, queue, scenes):
    queue("Not so")
    tab.turns.nth(1).get_by_role("button", name="Take back").click()
    ends(tab.turns.nth(1), "cancelled")
    # The page replaces the turn's buttons after its end, which moves what is above them.
    expect(tab.turn.get_by_role("button", name="Try again")).to_be_visible()
    other = scenes.add(Step(say="Otherwise."))
    tab.open_edit(tab.turn).fill(other.prompt)
    tab.turn.get_by_role("button", name="Send").click()
    tab.page.get_by_text("Branched from").wait_for()
    tab.ends()
    assert list(other.requests[-1].prompts) == [other.prompt]


@pytest.mark.full
def test_while_the_agent_asks_the_composer_says_so_and_what_is_sent_is_seen(tab, scenes):
    options = [{"label": f"Bread {number}", "description": "Long\n" * 3} for number in range(12)]
    asked = {"header": "Bread", "question": "Which?", "options": options}
    scene = scenes.add(Step(calls=(Call("question", {"questions": [asked]}),)), Step(say="So be it."))
    tab.begin(scene.prompt)
    expect(tab.ask).to_be_visible()
    waits = re.compile("The agent waits for your answer above")
    expect(tab.prompt).to_have_attribute("placeholder", waits)
    tab.say("And butter?")
    expect(tab.turns).to_have_count(2)
    expect(tab.turn.get_by_text(NEXT)).to_be_in_viewport()
    expect(tab.prompt).to_have_attribute("placeholder", waits)
    tab.button("Dismiss").click()
    expect(tab.ask).to_be_hidden()
    expect(tab.prompt).not_to_have_attribute("placeholder", waits)
    tab.ends()
