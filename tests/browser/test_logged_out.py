"""Who is logged out, in another tab or as time has passed, is told so by a page that was left open."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from opencode_sessions.testing import Call, Step

pytestmark = pytest.mark.full

TOLD = "You are logged out. Reload the page."


@pytest.fixture
def asked(stage, alice, tab, scenes):
    """A tab with an ask in it, whose user is logged in no more."""
    ask = Call("bash", {"command": "touch logged-out.txt", "description": "As I was told"})
    tab.begin(scenes.add(Step(say="First this.", calls=(ask,)), Step(say="Then that.")).prompt)
    expect(tab.ask).to_be_visible()
    alice.context.clear_cookies(name="chat_session")
    yield tab
    assert not (stage.work / "logged-out.txt").exists()


def test_an_answer_that_was_not_taken_is_told_in_its_form(asked):
    asked.button("Allow once").click()
    expect(asked.ask.get_by_role("alert")).to_have_text(TOLD)
    expect(asked.button("Allow once")).to_be_enabled()


def test_a_stop_that_was_not_taken_is_told_too(asked):
    asked.page.keyboard.press("Escape")
    expect(asked.turn.get_by_role("alert")).to_be_visible()
    expect(asked.turn.get_by_role("alert")).to_have_text(TOLD)


def test_a_stream_that_is_refused_says_so_and_ends(stage, alice, asked):
    alice.expects("ERR_|MIME type")
    tries = []
    asked.page.on("request", lambda request: "/events" in request.url and tries.append(request.url))
    stage.network.cut()
    expect(asked.turn.locator("opencode-turn > [data-oc-problem]")).to_have_text(TOLD)
    expect(asked.page.get_by_text("Reconnecting…")).to_be_hidden()
    so_far = len(tries)
    asked.page.wait_for_timeout(3000)
    assert so_far == len(tries) > 0
    expect(asked.page.get_by_text(TOLD)).to_have_count(1)


def test_a_logout_in_another_tab_is_told_at_once(stage, visit, scenes):
    stage.invite("carol")  # whose login no other test needs
    carol = visit("carol")
    carol.expects("ERR_|MIME type")
    tab = carol.open()
    tab.begin(scenes.add(Step(say="First this."), held=0).prompt)
    tab.runs()
    carol.open().button("Log out").click()
    expect(tab.turn.locator("opencode-turn > [data-oc-problem]")).to_have_text(TOLD, timeout=20_000)
    expect(tab.page.get_by_text("Reconnecting…")).to_be_hidden()
