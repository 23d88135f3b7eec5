"""What went wrong is told in words that help, beneath the prompt, for as long as it is so."""

from __future__ import annotations

import re

import pytest
from browsing.scenes import ENDLESS
from playwright.sync_api import expect

pytestmark = pytest.mark.full

DELETED = "This conversation was deleted."
LONGEST = 100_000


@pytest.fixture
def begun(tab):
    tab.begin("Hello")
    tab.ends()
    return tab


def trouble(tab):
    return tab.page.locator("[data-trouble]")


def delete(tab):
    tab.button("Delete the conversation").click()
    tab.button("Delete").click()
    tab.page.get_by_role("heading", name="What shall we do?").wait_for()


def test_a_tab_whose_running_conversation_is_deleted_says_so_and_leads_home(alice, tab, scenes):
    tab.begin(scenes.add(ENDLESS).prompt)
    tab.shows("word3 ")
    other = alice.open(tab.path)
    other.shows("word3 ")
    alice.expects("status of 404")
    delete(tab)
    expect(trouble(other)).to_contain_text(DELETED)
    expect(other.turn.locator(".oc-prose--growing, .oc-card__spinner")).to_have_count(0)
    expect(other.stop).to_be_hidden()
    other.page.get_by_role("link", name="To your conversations").click()
    other.page.get_by_role("heading", name="What shall we do?").wait_for()


def test_what_is_sent_to_a_conversation_that_was_deleted_is_kept_and_one_is_told(alice, begun):
    other = alice.open(begun.path)
    alice.expects("status of 404")
    delete(begun)
    other.say("Still there?")
    expect(trouble(other)).to_contain_text(DELETED)
    expect(other.prompt).to_have_value("Still there?")


def test_a_tab_that_only_looks_is_told_too(alice, begun):
    other = alice.open(begun.path)
    alice.expects("status of 404")
    delete(begun)
    other.page.evaluate("document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))")
    expect(trouble(other)).to_contain_text(DELETED)


def test_who_is_logged_out_is_led_to_the_door_and_back(alice, begun):
    alice.context.clear_cookies(name="chat_session")
    begun.say("Let me in")
    expect(trouble(begun)).to_contain_text("you are logged out")
    begun.page.get_by_role("link", name="Log in").click()
    begun.page.get_by_role("heading", name="Log in").wait_for()
    assert begun.page.get_by_role("textbox", name="Name").is_visible()
    assert re.search(r"next=/c/\d+/$", begun.page.url)


def test_a_server_that_is_down_is_told_without_the_browsers_jargon(alice, begun):
    alice.expects("ERR_")
    begun.page.route("**/send/", lambda route: route.abort())
    begun.say("Anybody?")
    expect(trouble(begun)).to_have_text("It could not be sent: the server cannot be reached. Try again.")
    begun.prompt.press("End")
    begun.page.keyboard.type("!")
    expect(trouble(begun)).to_be_empty()


def test_offline_is_told_until_one_is_back(alice, tab, scenes):
    tab.begin(scenes.add(ENDLESS).prompt)
    tab.shows("word3 ")
    alice.expects("ERR_")
    alice.context.set_offline(True)
    tab.page.keyboard.press("Escape")
    stopping = tab.turn.locator("[data-oc-problem]")
    expect(stopping).to_have_text("The server cannot be reached. Try again.")
    tab.say("Later")
    expect(trouble(tab)).to_contain_text("You are offline")
    alice.context.set_offline(False)
    expect(trouble(tab)).to_be_empty()
    expect(stopping).to_have_count(0)
    tab.prompt.fill("")
    tab.page.keyboard.press("Escape")
    tab.ends("cancelled")


def test_what_is_pasted_and_too_long_is_refused_and_all_of_it_is_kept(begun):
    text = "x" * (LONGEST + 20_000)
    begun.prompt.fill("")
    begun.page.evaluate(f"document.execCommand('insertText', false, 'x'.repeat({len(text)}))")
    begun.prompt.press("Enter")
    assert "120,000 characters" in begun.prompt.evaluate("field => field.validationMessage")
    expect(begun.prompt).to_have_value(text)
    begun.page.reload()
    expect(begun.prompt).to_have_value(text)
    begun.prompt.press("Enter")
    expect(begun.turns).to_have_count(1)
    begun.prompt.fill("Short")
    begun.prompt.press("Enter")
    expect(begun.turns).to_have_count(2)
    begun.ends()


def test_the_server_refuses_what_is_too_long_too_with_all_of_it_to_be_shortened(visit):
    alice = visit("alice", java_script_enabled=False)
    alice.expects("status of 413")
    tab = alice.open()
    text = f"First line\n{'x' * LONGEST}"
    tab.prompt.fill(text)
    tab.button("Send").click()
    tab.page.get_by_role("heading", name="Not sent").wait_for()
    expect(tab.page.get_by_text("it has 100,011 characters, and 100,000 is the most")).to_be_visible()
    expect(tab.prompt).to_have_value(text)
    tab.prompt.fill("Short")
    tab.button("Send").click()
    tab.page.wait_for_url("**/c/*/")
    expect(tab.turns).to_have_count(1)


def test_what_the_server_finds_too_long_it_says_beneath_the_prompt(alice, begun):
    alice.expects("status of 413")
    begun.prompt.evaluate("field => { field.dataset.longest = 1e9; }")
    begun.prompt.fill("x" * (LONGEST + 1))
    begun.prompt.press("Enter")
    expect(trouble(begun)).to_contain_text("it has 100,001 characters, and 100,000 is the most")
