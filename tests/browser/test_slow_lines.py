"""Over a slow line what was asked for arrives late, or never, and other things come first."""

from __future__ import annotations

import re

import pytest
from browsing.scenes import ENDLESS, story
from playwright.sync_api import expect

from opencode_sessions.testing import Call, Refusal, Step

pytestmark = pytest.mark.full

PHONE = {"width": 390, "height": 844}
LOOK = Call("read", {"filePath": "flour.txt"})
LOOK_AGAIN = "document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))"

# In this browser all tabs are taken to be looked at.
SEEN = """(seen) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => !seen });
  document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
}"""


class Held:
    """What a page asks for at some address waits, until it is let go; what it asks for later does not."""

    def __init__(self, page, pattern, *, answered):
        self._page = page
        self._answered = answered
        self._waits = []
        self._over = False
        page.route(pattern, self._take)

    def _take(self, route):
        if self._over:
            route.continue_()
        else:
            self._waits.append((route, route.fetch() if self._answered else None))

    def wait(self):
        """Until there is something; nothing more is held from then on."""
        while not self._waits:
            self._page.wait_for_timeout(20)
        self._over = True

    def let_go(self):
        self._over = True
        for route, answer in self._waits:
            route.continue_() if answer is None else route.fulfill(response=answer)

    def break_off(self):
        for route, _ in self._waits:
            route.abort()


@pytest.fixture
def hold():
    """Call it for a page and a pattern: requests wait, or where they are `answered` their answers do."""

    def hold(tab, pattern, *, answered=False):
        return Held(tab.page, pattern, answered=answered)

    return hold


@pytest.fixture
def begun(tab):
    """A conversation."""
    tab.begin("Hello")
    tab.ends()
    return tab


@pytest.fixture
def paused(tab, scenes):
    """Call it with the last step: a turn that waits before that is in the tab."""

    def pause(last):
        scene = scenes.add(Step(say="First this.", calls=(LOOK,)), last, held=1)
        tab.begin(scene.prompt)
        tab.shows("First this.")
        return scene

    return pause


def run(command):
    return Call("bash", {"command": command, "description": "As I was told"})


def said(tab):
    return tab.page.locator(".said__text").all_inner_texts()


# -- sending


def test_what_is_written_while_a_prompt_cannot_be_sent_stays_behind_it(alice, begun, hold):
    alice.expects("ERR_")
    sending = hold(begun, "**/send/")
    begun.say("First words")
    sending.wait()
    begun.page.keyboard.type("second words")
    sending.break_off()
    expect(begun.prompt).to_have_value("First words\nsecond words")


def test_other_words_are_sent_too_where_it_is_not_known_that_the_first_have_arrived(alice, begun):
    alice.expects("ERR_")

    def lose(route):
        route.fetch()
        route.abort()

    begun.page.route("**/send/", lose, times=1)
    begun.say("Once, please")
    expect(begun.prompt).to_have_value("Once, please")
    begun.say("Twice, please")
    expect(begun.turns).to_have_count(3)
    assert said(begun) == ["Hello", "Once, please", "Twice, please"]


def test_what_was_sent_elsewhere_meanwhile_is_shown_in_its_place(alice, begun, hold):
    other = alice.open(begun.path)
    listing = hold(begun, "**/conversations/?at=*")
    other.say("From elsewhere")
    expect(other.turns).to_have_count(2)
    begun.say("From here")
    expect(begun.turn).to_contain_text("From here")
    listing.let_go()
    expect(begun.turns).to_have_count(3)
    assert said(begun) == ["Hello", "From elsewhere", "From here"]


def test_who_has_gone_to_read_elsewhere_meanwhile_is_left_there(visit, scenes, hold):
    tab = visit("alice", viewport=PHONE).open()
    tab.begin(scenes.add(Step(say=story(600))).prompt)
    tab.ends()
    sending = hold(tab, "**/send/", answered=True)
    tab.say("Next")
    sending.wait()
    tab.page.evaluate("scrollTo(0, 300)")
    expect(tab.button("Latest")).to_be_visible()
    sending.let_go()
    expect(tab.turns).to_have_count(2)
    tab.ends()
    expect(tab.turn.locator("footer")).to_contain_text("tokens")
    assert tab.page.evaluate("scrollY") == 300


def test_who_sends_by_the_button_goes_on_writing(begun):
    begun.prompt.fill("More")
    begun.button("Send").press("Enter")
    expect(begun.turns).to_have_count(2)
    expect(begun.prompt).to_be_focused()
    begun.ends()


# -- a turn's foot, and what it costs


def test_what_failed_can_be_tried_again_though_its_foot_did_not_arrive(alice, tab, paused, hold):
    alice.expects("ERR_")
    scene = paused(Step(trouble=Refusal(400, "No.")))
    foot = hold(tab, "**/m/*/")
    scene.go_on()
    tab.ends("failed")
    foot.wait()
    foot.break_off()
    tab.page.evaluate(LOOK_AGAIN)
    expect(tab.button("Try again")).to_be_visible()


def test_a_foot_that_comes_late_does_not_take_away_the_button_that_is_being_pressed(tab, paused, hold):
    scene = paused(Step(trouble=Refusal(400, "No.")))
    late = hold(tab, "**/m/*/", answered=True)
    scene.go_on()
    tab.ends("failed")
    late.wait()
    tab.page.evaluate(LOOK_AGAIN)
    tab.button("Try again").hover()
    tab.page.mouse.down()
    with tab.page.expect_response("**/m/*/") as foot:
        late.let_go()
    foot.value.finished()
    tab.page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    tab.page.mouse.up()
    expect(tab.turns).to_have_count(2)


def test_what_is_edited_stays_though_it_is_known_late_that_it_was_taken_back(tab, paused, hold):
    paused(Step(say="Then that."))
    tab.say("Second")
    expect(tab.turns).to_have_count(2)
    late = hold(tab, "**/cancel", answered=True)
    tab.button("Take back").click()
    expect(tab.button("Try again")).to_be_visible()  # as the stream is faster
    edit = tab.open_edit(tab.turn)
    edit.fill("Otherwise")
    late.wait()
    late.let_go()
    expect(tab.page.locator("[data-said]")).to_have_text("Taken back.")
    expect(edit).to_be_focused()
    expect(edit).to_have_value("Otherwise")


def test_what_ended_before_the_script_had_come_has_its_foot_too(tab, paused, hold):
    scene = paused(Step(say="Then that."))
    script = hold(tab, "**/chat.js")
    tab.page.reload(wait_until="commit")
    tab.runs()
    script.wait()
    scene.go_on()
    expect(tab.turn.locator("opencode-turn")).to_have_attribute("status", "completed")
    script.let_go()
    expect(tab.button("Copy the answer")).to_be_visible()


def test_escape_stops_nothing_that_has_ended_and_only_lacks_its_foot(tab, paused, hold):
    cancels = []
    tab.page.on("request", lambda request: "/cancel" in request.url and cancels.append(request.url))
    scene = paused(Step(say="Then that."))
    foot = hold(tab, "**/m/*/")
    scene.go_on()
    tab.ends()
    foot.wait()
    tab.page.keyboard.press("Escape")
    foot.let_go()
    expect(tab.button("Copy the answer")).to_be_visible()
    assert cancels == []


def test_what_it_has_cost_is_not_told_by_who_was_asked_before(tab, paused, hold):
    scene = paused(Step(say="Then that."))
    first = hold(tab, "**/m/*/", answered=True)
    scene.go_on()
    tab.ends()
    first.wait()
    tab.say("And again")
    expect(tab.turns).to_have_count(2)
    tab.ends()
    expect(tab.turn.locator("footer")).to_contain_text("tokens")
    whole = tab.page.get_by_title("Tokens read and written in this conversation").inner_text()
    first.let_go()
    expect(tab.turns.first.locator("footer")).to_contain_text("tokens")
    expect(tab.page.get_by_title("Tokens read and written in this conversation")).to_have_text(whole)


# -- what happens elsewhere


def test_what_comes_to_pass_while_the_list_is_on_its_way_is_looked_for_again(alice, begun, hold):
    alice.context.add_init_script("window.setInterval = () => 0")  # it looks now and then in any case
    tab = alice.open(begun.path)
    listing = hold(tab, "**/conversations/?at=*", answered=True)
    tab.page.evaluate(LOOK_AGAIN)
    listing.wait()
    begun.say("From elsewhere")
    expect(begun.turns).to_have_count(2)
    begun.ends()
    listing.let_go()
    expect(tab.turns).to_have_count(2)


def test_a_link_that_is_being_pressed_is_followed_though_the_list_has_changed(alice, begun, scenes):
    other = alice.open("/")
    box = other.page.locator(f'a[href="{begun.path}"]').bounding_box()
    other.page.mouse.move(box["x"] + 30, box["y"] + box["height"] / 2)
    other.page.mouse.down()
    with other.page.expect_response(re.compile("/conversations/")) as listing:
        begun.say(scenes.add(ENDLESS).prompt)
    listing.value.finished()
    other.page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    other.page.mouse.up()
    other.page.wait_for_url(re.compile(re.escape(begun.path)))
    begun.stop.click()
    begun.ends("cancelled")


def test_a_conversation_that_was_deleted_while_nobody_looked_does_not_go_on_meanwhile(alice, tab, scenes):
    alice.expects("status of 404")
    tab.begin(scenes.add(ENDLESS).prompt)
    tab.shows("word3 ")
    other = alice.open(tab.path)
    tab.page.evaluate(SEEN, False)
    other.button("Delete the conversation").click()
    other.button("Delete").click()
    other.page.get_by_role("heading", name="What shall we do?").wait_for()
    tab.page.evaluate(SEEN, True)
    expect(tab.page.locator("[data-trouble]")).to_contain_text("This conversation was deleted.")
    expect(tab.turn.locator("opencode-turn")).to_have_attribute("offline", "")
    expect(tab.page.get_by_text("Reconnecting…")).to_be_hidden()


# -- the line


def test_what_is_taken_back_waits_for_no_line_any_more(alice, tab, paused):
    alice.expects("status of 502")
    paused(Step(say="Then that."))
    tab.page.route("**/events*", lambda route: route.fulfill(status=502, body="bad gateway"))
    tab.say("Second")
    banner = tab.page.get_by_text("Reconnecting…")
    expect(banner).to_be_visible()
    tab.button("Take back").click()
    expect(tab.turn).to_contain_text("Taken back.")
    expect(banner).to_be_hidden()


def test_that_the_server_cannot_be_reached_is_told_however_many_turns_share_the_line(
    stage, alice, tab, paused
):
    paused(Step(say="Then that."))
    for number in range(2, 5):
        tab.say(f"No. {number}")
        expect(tab.turns).to_have_count(number)
    alice.expects("ERR_")
    stage.network.refuse()
    stage.network.cut()
    tab.say("Later")
    trouble = tab.page.locator("[data-trouble]")
    expect(trouble).to_contain_text("the server cannot be reached")
    asked = set()
    tab.page.on("request", lambda request: "/events" in request.url and asked.add(request.url.split("?")[0]))
    first = tab.turns.first.locator("opencode-turn").get_attribute("src")
    while len([url for url in asked if not url.endswith(first)]) < 2:  # two have had the second stream
        tab.page.wait_for_timeout(100)
    expect(trouble).to_contain_text("the server cannot be reached")
    stage.network.admit()
    expect(trouble).to_be_empty()


# -- asks


def test_who_writes_in_an_ask_before_the_script_has_come_goes_on_writing_there(tab, scenes, hold):
    asked = {"header": "Bread", "question": "Which?", "options": [{"label": "Rye", "description": "Rye"}]}
    tab.begin(
        scenes.add(Step(calls=(Call("question", {"questions": [asked]}),)), Step(say="So be it.")).prompt
    )
    own = tab.ask.get_by_label("Or in your own words")
    expect(own).to_be_visible()
    script = hold(tab, "**/chat.js")
    tab.page.reload(wait_until="commit")
    own.press_sequentially("Spe")
    script.let_go()
    tab.page.wait_for_load_state()
    expect(tab.prompt).to_have_attribute("placeholder", re.compile("The agent waits"))
    tab.page.keyboard.type("lt")
    expect(own).to_have_value("Spelt")
    tab.button("Answer").click()
    tab.ends()


def test_of_two_asks_that_are_answered_at_once_the_last_to_go_leads_to_the_prompt(tab, scenes, hold):
    both = (run("touch at-once-first.txt"), run("touch at-once-second.txt"))
    tab.begin(scenes.add(Step(calls=both), Step(say="That was all.")).prompt)
    expect(tab.ask).to_have_count(2)
    slow = hold(tab, "**/answer")
    tab.ask.first.get_by_role("button", name="Allow once").press("Enter")
    slow.wait()
    tab.ask.last.get_by_role("button", name="Allow once").press("Enter")
    expect(tab.ask).to_have_count(1)
    slow.let_go()
    tab.ends()
    expect(tab.prompt).to_be_focused()


def test_an_ask_that_takes_the_place_of_another_is_told(alice, tab, scenes):
    first, second = (run(f"touch in-its-place-{number}.txt") for number in (1, 2))
    tab.begin(scenes.add(Step(calls=(first,)), Step(calls=(second,)), Step(say="Done.")).prompt)
    expect(tab.ask).to_contain_text("in-its-place-1")
    other = alice.open(tab.path)
    tab.page.evaluate(SEEN, False)
    other.button("Allow once").click()
    expect(other.ask).to_contain_text("in-its-place-2")
    told = tab.page.locator("[data-said]")
    told.evaluate("line => line.replaceChildren()")
    tab.page.evaluate(SEEN, True)
    expect(tab.ask).to_contain_text("in-its-place-2")
    expect(told).to_have_text("The agent asks you something.")
    tab.button("Refuse").click()
    tab.ends("failed")
