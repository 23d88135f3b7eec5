from __future__ import annotations

import pytest
from browsing.scenes import ENDLESS
from playwright.sync_api import expect

from opencode_sessions.testing import Call, Refusal, Script, Step


@pytest.fixture
def tab(visit):
    """A browser that runs no scripts."""
    return visit("alice", java_script_enabled=False).open()


def begin(tab, prompt):
    tab.prompt.fill(prompt)
    tab.button("Send").click()
    tab.page.wait_for_url("**/c/*/")


def ended(tab, status):
    return tab.turn.locator(f'opencode-turn[status="{status}"]')


def test_a_prompt_is_sent_and_answered_after_a_reload(tab):
    begin(tab, "Hello")
    tab.reload_until(ended(tab, "completed"))
    expect(tab.answer).to_contain_text('You said: "Hello".')
    tab.prompt.fill("And again")
    tab.button("Send").click()
    expect(tab.turns).to_have_count(2)
    tab.reload_until(ended(tab, "completed"))
    expect(tab.answer).to_contain_text('You said: "And again".')


@pytest.mark.full
def test_what_runs_says_that_a_reload_shows_more_and_no_button_is_dead(tab, scenes):
    look = Call("read", {"filePath": "flour.txt"})
    scene = scenes.add(Step(say="First this.", calls=(look,)), Step(say="Then that."), held=1)
    begin(tab, scene.prompt)
    reload = tab.turn.get_by_role("link", name="Reload the page")
    expect(reload).to_be_visible()
    expect(tab.turn.locator(".working__dots")).to_be_hidden()
    scene.go_on()
    tab.reload_until(ended(tab, "completed"))
    expect(reload).to_be_hidden()
    expect(tab.answer).to_contain_text("Then that.")
    for label in ("Copy the answer", "Theme: as the system"):
        expect(tab.page.get_by_label(label)).to_be_hidden()


@pytest.mark.full
def test_an_ask_is_answered(stage, tab, scenes):
    call = Call("bash", {"command": "touch unscripted.txt", "description": "Once"})
    begin(tab, scenes.add(Step(calls=(call,)), Step(say="Done.")).prompt)
    tab.reload_until(tab.ask)
    path = tab.page.url
    tab.button("Allow once").click()
    tab.reload_until(ended(tab, "completed"))
    assert tab.page.url.split("#")[0] == path.split("#")[0]
    expect(tab.answer).to_contain_text("Done.")
    assert (stage.work / "unscripted.txt").exists()


@pytest.mark.full
def test_a_question_is_answered(tab, scenes):
    asked = {
        "header": "Bread",
        "question": "Which?",
        "options": [{"label": each, "description": each} for each in ("Rye", "Wheat")],
    }
    scene = scenes.add(Step(calls=(Call("question", {"questions": [asked]}),)), Step(say="So be it."))
    begin(tab, scene.prompt)
    tab.reload_until(tab.ask)
    tab.ask.get_by_label("Rye").check()
    tab.button("Answer").click()
    tab.reload_until(ended(tab, "completed"))
    assert '"Rye"' in scene.heard[0]


@pytest.mark.full
def test_an_answer_that_says_nothing_is_refused_on_the_page(tab, scenes):
    asked = {"header": "Bread", "question": "Which?", "options": [{"label": "Rye", "description": "Rye"}]}
    begin(tab, scenes.add(Step(calls=(Call("question", {"questions": [asked]}),))).prompt)
    tab.reload_until(tab.ask)
    tab.button("Answer").click()
    expect(tab.page.get_by_role("alert")).to_contain_text("Choose an answer")
    tab.button("Dismiss").click()
    tab.reload_until(ended(tab, "failed"))


@pytest.mark.full
def test_a_turn_is_stopped_and_tried_again(tab, scenes):
    scene = scenes.add(ENDLESS)
    begin(tab, scene.prompt)
    tab.stop.click()
    tab.reload_until(ended(tab, "cancelled"))
    scene.script = Script(Step(say="Short."))
    tab.button("Try again").click()
    expect(tab.turns).to_have_count(2)
    tab.reload_until(ended(tab, "completed"))
    expect(tab.answer).to_contain_text("Short.")


@pytest.mark.full
def test_a_failed_turn_says_why(tab, scenes):
    begin(tab, scenes.add(Step(trouble=Refusal(400, "The oven is cold."))).prompt)
    tab.reload_until(ended(tab, "failed"))
    expect(tab.turn.get_by_role("alert")).to_contain_text("The oven is cold.")


@pytest.mark.full
def test_a_prompt_is_edited_and_the_conversation_renamed_and_deleted(tab):
    begin(tab, "Hello")
    tab.reload_until(ended(tab, "completed"))
    tab.turn.hover()
    tab.turn.get_by_label("Edit and send again").click()
    tab.turn.get_by_label("Your message, in other words").fill("Good morning")
    tab.turn.get_by_role("button", name="Send").click()
    expect(tab.page.get_by_text("Branched from")).to_be_visible()
    tab.reload_until(ended(tab, "completed"))
    expect(tab.answer).to_contain_text('You said: "Good morning".')
    tab.page.get_by_role("heading", level=1).click()
    tab.page.get_by_label("Title").fill("By hand")
    tab.button("Save").click()
    expect(tab.page.get_by_role("heading", level=1)).to_have_text("By hand")
    tab.button("Delete the conversation").click()
    tab.button("Delete").click()
    expect(tab.page.get_by_role("heading", name="What shall we do?")).to_be_visible()
