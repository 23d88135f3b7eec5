from __future__ import annotations

import pytest
from browsing.scenes import ENDLESS, SLOW, STORY
from playwright.sync_api import expect

from opencode_sessions.testing import Call, Step

LOOK = Call("read", {"filePath": "flour.txt"})
COUNTED = "!say one two three four five six."


@pytest.mark.full
def test_words_are_seen_before_the_turn_is_over(tab, held):
    tab.begin(COUNTED)
    tab.shows("one two three four")
    tab.runs()
    held.set()
    tab.ends()
    tab.shows("one two three four five six.")


@pytest.mark.lines(full="v2")
def test_after_a_reload_in_the_middle_nothing_is_lost_or_doubled_and_it_goes_on(tab, held):
    tab.begin(COUNTED)
    tab.shows("one two three four")
    tab.page.reload()
    tab.shows("one two three four")
    tab.runs()
    held.set()
    tab.ends()
    tab.shows("one two three four five six.")
    expect(tab.turns).to_have_count(1)
    expect(tab.part("text")).to_have_count(1)


@pytest.mark.full
def test_what_was_left_running_goes_on_without_anybody_who_looks(tab, scenes):
    scene = scenes.add(Step(say="First this.", calls=(LOOK,)), Step(say="Then that."), held=1)
    tab.begin(scene.prompt)
    tab.shows("First this.")
    path = tab.path
    tab.goto("/")
    expect(tab.page.get_by_role("link", name=scene.prompt)).to_contain_text("is at work")
    scene.go_on()
    tab.goto(path)
    tab.ends()
    tab.shows("Then that.")


@pytest.mark.full
def test_a_tab_opened_in_the_middle_shows_all_and_two_tabs_agree(alice, tab, scenes):
    scene = scenes.add(
        Step(reason="I shall look.", say="First this.", calls=(LOOK,)), Step(say="Then that."), held=1
    )
    tab.begin(scene.prompt)
    tab.shows("First this.")
    other = alice.open(tab.path)
    other.shows("First this.")
    expect(other.part("thought")).to_have_count(1)
    expect(other.part("tool")).to_have_count(1)
    other.runs()
    scene.go_on()
    for each in (tab, other):
        each.ends()
        each.shows("Then that.")
    assert tab.texts() == other.texts()
    tab.page.reload()
    assert tab.texts() == other.texts()


@pytest.mark.full
def test_what_is_sent_in_one_tab_streams_in_the_other(alice, tab, held):
    tab.begin("Hello from here")
    tab.ends()
    other = alice.open(tab.path)
    other.say(COUNTED)
    expect(tab.turns).to_have_count(2)
    tab.shows("one two three four")
    tab.runs()
    held.set()
    tab.ends()
    other.ends()
    assert tab.texts() == other.texts()


@pytest.mark.lines
@pytest.mark.full
def test_stop_keeps_what_was_said_and_says_so(tab, scenes):
    tab.begin(scenes.add(ENDLESS).prompt)
    tab.shows("word3 ")
    seen = tab.part("text").inner_text()
    tab.stop.click()
    tab.ends("cancelled")
    expect(tab.turn).to_contain_text("Stopped")
    kept = tab.part("text").inner_text()
    assert kept.startswith(seen)
    assert "end." not in kept
    tab.page.reload()
    expect(tab.turn).to_contain_text("Stopped")
    assert tab.part("text").inner_text().startswith(kept)


@pytest.mark.full
def test_over_a_slow_line_nothing_is_lost(stage, tab, scenes):
    stage.network.delay(0.15, jitter=0.1)
    stage.network.slow(30_000, "down")
    tab.begin(scenes.add(SLOW).prompt)
    tab.ends()
    tab.shows(STORY)


def test_where_the_line_breaks_the_page_says_so_and_finds_back_by_itself(stage, alice, tab, scenes):
    scene = scenes.add(Step(say="First this.", calls=(LOOK,)), Step(say=STORY), held=1)
    tab.begin(scene.prompt)
    tab.shows("First this.")
    alice.expects("ERR_")
    stage.network.refuse()
    stage.network.cut()
    banner = tab.page.get_by_text("Reconnecting…")
    expect(banner).to_be_visible()
    scene.go_on()
    stage.network.admit()
    expect(banner).to_be_hidden()
    tab.ends()
    tab.shows("First this.")
    tab.shows(STORY)


@pytest.mark.full
def test_a_thought_is_folded_and_once_it_is_opened_it_stays_open(tab, scenes):
    scene = scenes.add(Step(reason="Let me think.", say="First.", calls=(LOOK,)), Step(say=STORY), held=1)
    tab.begin(scene.prompt)
    tab.shows("First.")
    thought, card = tab.part("thought"), tab.part("tool")
    expect(thought.get_by_text("Let me think.")).to_be_hidden()
    thought.locator("summary").click()
    card.locator("summary").first.click()
    scene.go_on()
    tab.ends()
    tab.shows(STORY)
    expect(thought.get_by_text("Let me think.")).to_be_visible()
    expect(card).to_have_attribute("open", "")
