"""What is asked may be longer than a phone's screen: it is read, and answered, without the page moving away."""

from __future__ import annotations

import pytest
from browsing.scenes import story
from playwright.sync_api import expect

from opencode_sessions.testing import Call, Step

pytestmark = pytest.mark.full

PHONE = {"width": 390, "height": 844}
LONG = story(400)


def questions(number):
    options = [
        {"label": each, "description": f"{each}, and nothing else"} for each in ("Rye", "Wheat", "Oat")
    ]
    asked = [
        {"header": f"Q{place}", "question": f"Bread number {place}?", "options": options}
        for place in range(1, number + 1)
    ]
    return Call("question", {"questions": asked})


def command(lines):
    echoes = "\n".join(f"echo line {number}" for number in range(lines))
    return Call("bash", {"command": echoes, "description": "As I was told"})


@pytest.fixture
def tab(visit):
    return visit("alice", viewport=PHONE).open()


@pytest.fixture
def asked(tab, scenes):
    """Call it with a tool to call: what it asks is on the screen."""

    def ask(call):
        tab.begin(scenes.add(Step(say="First this.", calls=(call,)), Step(say=LONG, pause=0.005)).prompt)
        expect(tab.ask).to_be_visible()

    return ask


def top(tab):
    return tab.page.evaluate("scrollY")


def to_end(tab):
    """Scroll, until the page has taken note of it."""
    tab.page.evaluate("""new Promise((noted) => {
        scrollTo(0, document.documentElement.scrollHeight);
        requestAnimationFrame(() => requestAnimationFrame(noted));
    })""")


def is_in_sight(tab, element):
    """On the screen, and not behind the composer."""
    expect(element).to_be_in_viewport(ratio=1)
    dock = tab.page.get_by_label("Your message", exact=True).bounding_box()
    box = element.bounding_box()
    assert box["y"] + box["height"] <= dock["y"] + 20, "the composer covers it"  # its upper edge is a fade


def test_a_long_ask_is_shown_from_its_beginning_and_latest_leads_to_its_end(tab, asked):
    asked(questions(4))
    is_in_sight(tab, tab.ask.get_by_role("heading"))
    tab.button("Latest").click()
    is_in_sight(tab, tab.button("Dismiss"))
    expect(tab.button("Latest")).to_be_hidden()


def test_what_an_answer_lacks_is_told_where_its_button_was_pressed(tab, asked):
    tab.visitor.expects("status of 400")
    asked(questions(4))
    to_end(tab)
    before = top(tab)
    tab.button("Answer").click()
    is_in_sight(tab, tab.ask.get_by_role("alert"))
    assert top(tab) >= before
    tab.button("Dismiss").click()
    tab.ends("failed")


def test_the_reason_for_a_refusal_opens_where_it_was_asked_for(tab, asked):
    tab.page.set_viewport_size({"width": 320, "height": 568})
    asked(command(40))
    to_end(tab)
    tab.ask.get_by_text("Refuse, and say what to do instead").click()
    reason = tab.ask.get_by_label("A word to the agent")
    expect(reason).to_be_visible()
    tab.page.wait_for_timeout(300)  # nothing is to come that could be waited for
    expect(reason).to_be_in_viewport(ratio=1)
    reason.fill("Not today")
    tab.button("Refuse with this").click()
    tab.ends()


def test_nothing_moves_when_the_way_to_the_latest_comes_and_goes(tab, asked):
    asked(command(40))
    to_end(tab)
    expect(tab.button("Latest")).to_be_hidden()
    height = tab.page.evaluate("document.documentElement.scrollHeight")
    tab.page.evaluate("scrollBy(0, -300)")
    expect(tab.button("Latest")).to_be_visible()
    assert tab.page.evaluate("document.documentElement.scrollHeight") == height


def answer(tab):
    for number in range(4):
        tab.ask.get_by_role("group").nth(number).get_by_label("Rye").check()
    tab.button("Answer").click()


def test_who_has_answered_sees_how_it_goes_on(tab, asked):
    asked(questions(4))
    answer(tab)
    tab.ends()
    tab.shows(LONG)
    expect(tab.turn.locator("footer")).to_be_in_viewport()


@pytest.mark.full
def test_they_see_it_also_where_they_hear_late_that_their_answer_has_arrived(tab, asked):
    asked(questions(4))
    late = []
    tab.page.route("**/answer", lambda route: late.append((route, route.fetch())))
    answer(tab)
    expect(tab.ask).to_have_count(0)
    tab.ends()
    for route, response in late:
        route.fulfill(response=response)
    tab.shows(LONG)
    expect(tab.turn.locator("footer")).to_be_in_viewport()


@pytest.mark.full
def test_they_see_the_end_also_where_it_comes_at_once(tab, asked):
    asked(questions(4))
    answer(tab)
    expect(tab.ask).to_have_count(0)
    tab.page.evaluate("const end = Date.now() + 5000; while (Date.now() < end);")
    tab.ends()
    tab.shows(LONG)
    expect(tab.turn.locator("footer")).to_be_in_viewport()


def test_a_fold_that_is_opened_stays_in_sight_while_the_answer_grows(tab, scenes):
    look = Call("read", {"filePath": "flour.txt"})
    scene = scenes.add(Step(say="First this.", calls=(look,)), Step(say=LONG, pause=0.005), held=1)
    tab.begin(scene.prompt)
    card = tab.part("tool").locator("summary").first
    card.click()
    scene.go_on()
    tab.ends()
    tab.shows(LONG)
    expect(card).to_be_in_viewport()
