from __future__ import annotations

import pytest
from browsing.scenes import ENDLESS
from playwright.sync_api import expect

from opencode_sessions.testing import Call, Step

pytestmark = pytest.mark.full


@pytest.fixture
def begun(tab):
    """A conversation."""
    tab.begin("Hello")
    tab.ends()
    return tab


def test_a_draft_is_there_again_after_a_reload_and_after_a_look_elsewhere(begun):
    begun.prompt.fill("Not yet se")
    begun.page.reload()
    expect(begun.prompt).to_have_value("Not yet se")
    path = begun.path
    begun.goto("/")
    expect(begun.prompt).to_have_value("")
    begun.prompt.fill("Of its own")
    begun.goto(path)
    expect(begun.prompt).to_be_focused()
    begun.page.keyboard.type("nt")
    expect(begun.prompt).to_have_value("Not yet sent")
    begun.goto("/")
    expect(begun.prompt).to_have_value("Of its own")


def test_what_was_sent_is_no_draft_any_more(begun):
    begun.prompt.fill("And on")
    begun.prompt.press("Enter")
    expect(begun.turns).to_have_count(2)
    begun.ends()
    begun.page.reload()
    expect(begun.turns).to_have_count(2)
    expect(begun.prompt).to_have_value("")
    begun.goto("/")
    expect(begun.prompt).to_have_value("")


def test_what_could_not_be_sent_is_still_a_draft(stage, alice, begun):
    alice.expects("ERR_|status of")
    begun.page.route("**/send/", lambda route: route.abort())
    begun.prompt.fill("Lost on the way")
    begun.prompt.press("Enter")
    expect(begun.page.get_by_text("It could not be sent")).to_be_visible()
    expect(begun.prompt).to_have_value("Lost on the way")
    begun.page.reload()
    expect(begun.prompt).to_have_value("Lost on the way")


def test_a_draft_is_not_left_to_who_logs_in_next(visit):
    tab = visit("bob").open()
    tab.prompt.fill("Between us")
    # Not by the button, which would end the session that other tests use.
    tab.page.evaluate("""() => {
        const form = document.querySelector('form[action="/logout/"]');
        form.addEventListener("submit", (event) => event.preventDefault());
        form.requestSubmit();
    }""")
    tab.page.reload()
    expect(tab.prompt).to_have_value("")


def test_escape_in_a_draft_stops_nothing(tab, scenes):
    tab.begin(scenes.add(ENDLESS).prompt)
    tab.shows("word3 ")
    tab.prompt.fill("And then")
    tab.page.keyboard.press("Escape")
    expect(tab.prompt).to_have_value("And then")
    tab.shows("word9 ")
    tab.runs()
    tab.prompt.fill("")
    tab.page.keyboard.press("Escape")
    tab.ends("cancelled")


def test_escape_in_the_reason_for_a_refusal_stops_nothing(tab, scenes):
    call = Call("bash", {"command": "touch escaped.txt", "description": "Once"})
    tab.begin(scenes.add(Step(calls=(call,)), Step(say="All right.")).prompt)
    tab.ask.get_by_text("Refuse, and say what to do instead").click()
    reason = tab.ask.get_by_label("A word to the agent")
    reason.fill("Not today")
    reason.press("Escape")
    tab.button("Refuse with this").click()
    tab.ends()
    tab.shows("All right.")
