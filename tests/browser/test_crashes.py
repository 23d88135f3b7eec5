from __future__ import annotations

import pytest
from browsing.scenes import SLOW, STORY
from playwright.sync_api import expect

from opencode_sessions.testing import Call, Step

# A server takes its time to start on a busy machine, and may leave what it is asked meanwhile unanswered.
AFTER_RESTART = 60_000


@pytest.fixture
def stays(tab):
    """The page is not loaded again while the test runs."""
    yield lambda: tab.page.evaluate("window.stayed = true")
    assert tab.page.evaluate("window.stayed")


@pytest.mark.lines
@pytest.mark.full
def test_an_answer_completes_though_the_opencode_server_was_killed_in_its_middle(stage, tab, scenes, stays):
    tab.begin(scenes.add(SLOW).prompt)
    tab.shows("word3 ")
    stays()
    stage.server.kill()
    stage.server.restart()
    tab.ends(timeout=AFTER_RESTART)
    tab.shows(STORY)


@pytest.mark.full
def test_what_was_asked_when_the_server_died_is_withdrawn_and_the_agent_goes_on(stage, tab, scenes, stays):
    call = Call("bash", {"command": "touch withdrawn.txt", "description": "Once"})
    scene = scenes.add(Step(calls=(call,)), Step(say="So it was not done."))
    tab.begin(scene.prompt)
    expect(tab.ask).to_be_visible()
    stays()
    stage.server.kill()
    stage.server.restart()
    expect(tab.ask).to_be_hidden(timeout=AFTER_RESTART)
    tab.ends()
    tab.shows("So it was not done.")
    assert "interrupted" in scene.heard[0]
    assert not (stage.work / "withdrawn.txt").exists()
    expect(tab.answer.locator(".oc-card__spinner")).to_have_count(0)


@pytest.mark.lines
@pytest.mark.full
def test_an_answer_completes_though_the_web_process_was_killed_in_its_middle(
    stage, alice, tab, scenes, stays
):
    tab.begin(scenes.add(SLOW).prompt)
    tab.shows("word3 ")
    stays()
    alice.expects("ERR_|status of 5")
    stage.kill_web()
    expect(tab.page.get_by_text("Reconnecting…")).to_be_visible()
    stage.restart_web()
    tab.ends()
    expect(tab.page.get_by_text("Reconnecting…")).to_be_hidden()
    tab.shows(STORY)


def test_a_prompt_whose_answer_is_lost_is_kept_and_sent_again_it_is_stored_once(stage, alice, tab):
    tab.begin("Hello")
    tab.ends()
    alice.expects("ERR_")

    def lose(route):
        route.fetch()
        route.abort()

    tab.page.route("**/send/", lose, times=1)
    tab.say("Once, please")
    expect(tab.page.get_by_role("alert").filter(has_text="could not be sent")).to_be_visible()
    expect(tab.prompt).to_have_value("Once, please")
    tab.prompt.press("Enter")
    expect(tab.prompt).to_have_value("")
    tab.ends()
    tab.page.reload()
    expect(tab.turns).to_have_count(2)


def test_what_is_sent_offline_is_kept_until_one_is_back(alice, tab):
    tab.begin("Hello")
    tab.ends()
    alice.expects("ERR_")
    alice.context.set_offline(True)
    tab.say("Later")
    expect(tab.page.get_by_role("alert").filter(has_text="You are offline")).to_be_visible()
    expect(tab.prompt).to_have_value("Later")
    alice.context.set_offline(False)
    tab.prompt.press("Enter")
    expect(tab.turns).to_have_count(2)
    tab.ends()
