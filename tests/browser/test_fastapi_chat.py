"""The FastAPI chat in Chromium: what a person sees of a turn, does to it, and keeps when something dies."""

from __future__ import annotations

import json
import re
import sqlite3

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing.visitor import Tab, Visitor
from fix_browser import PATIENCE, STILL
from pictures import png
from playwright.sync_api import expect
from selection import sample

from opencode_sessions.testing import FaultProxy

LONG = "!slow 0.05\n!say one two three four five six"
WHOLE = "one two three four five six"
ENDED = re.compile("completed|cancelled|failed")
UNREACHABLE = 150_000
"""Milliseconds: a server that is away is waited for a minute."""
PHONE = {"width": 390, "height": 844}


def tool(name, **given):
    return f"!tool {name} {json.dumps(given)}"


def run(command):
    return tool("bash", command=command, description="As I was told")


def question():
    bread = {
        "header": "Bread",
        "question": "Which bread?",
        "options": [{"label": "Rye", "description": "Dark"}, {"label": "Wheat", "description": "Light"}],
    }
    topping = {
        "header": "Topping",
        "question": "What goes on it?",
        "multiple": True,
        "options": [{"label": each, "description": each} for each in ("Butter", "Cheese", "Jam")],
    }
    drink = {"header": "Drink", "question": "And to drink?", "options": [{"label": "Tea", "description": ""}]}
    return tool("question", questions=[bread, topping, drink])


class ChatTab(Tab):
    """One page of this chat."""

    @property
    def turns(self):
        return self.page.get_by_role("article")

    @property
    def answer(self):
        """What the newest turn says."""
        return self.turn.locator(".text")

    @property
    def ask(self):
        return self.page.locator("form.ask")

    def ends(self, words="", **patience):
        """The newest turn is over, and these words stand below it; `timeout` is in milliseconds."""
        expect(self.turn).to_have_attribute("data-status", ENDED, **patience)
        expect(self.turn).to_contain_text(words)

    def asked(self, prompt):
        self.say(prompt)
        expect(self.ask.first).to_be_visible()
        return self.ask


@pytest.fixture
def come(chromium, start_fastapi):
    """Call it with a process for somebody who visits it; options are those of a browser's context.

    The test fails for what went wrong in any of their tabs and was not expected. They leave before a process that was
    started for the test ends.
    """
    visitors = []

    def come(process, **options):
        context = chromium.new_context(**STILL | options)
        context.set_default_timeout(PATIENCE)
        visitors.append(Visitor(context, process, ChatTab))
        return visitors[-1]

    yield come
    for visitor in visitors:
        visitor.context.close()
    assert [trouble for visitor in visitors for trouble in visitor.troubles] == []


@pytest.fixture
def ada(come, fastapi_chat):
    return come(fastapi_chat)


@pytest.fixture
def tab(ada):
    return ada.open()


# -- What is in the default run.


def test_an_answer_is_shown_as_it_is_written_in_two_tabs_and_after_a_reload(ada, tab, held):
    tab.say(LONG)
    expect(tab.answer).to_have_text("one two three four")
    expect(tab.prompt).to_have_value("")
    other = ada.open(tab.path)
    expect(other.answer).to_have_text("one two three four")
    tab.page.reload()
    expect(tab.answer).to_have_text("one two three four")
    expect(tab.stop).to_be_visible()
    held.set()
    for each in (tab, other):
        each.ends()
        expect(each.answer).to_have_text(WHOLE)
        expect(each.stop).to_have_count(0)


@pytest.mark.parametrize("button", sample(["Allow once", "Refuse"]))
def test_what_the_agent_asks_is_answered_and_goes_away_in_all_tabs(ada, tab, button):
    ask = tab.asked(run("echo hello"))
    expect(ask).to_contain_text("Run echo hello")
    other = ada.open(tab.path)
    expect(other.ask).to_be_visible()
    tab.button(button).click()
    expect(other.ask).to_have_count(0)
    ended = "Done" if button == "Allow once" else "It stopped, as what it asked for was refused"
    for each in (tab, other):
        each.ends(ended)
        expect(each.turn).to_contain_text("Ran echo hello" if button == "Allow once" else "Did not run")


@pytest.mark.lines(full="v2")
def test_questions_are_answered_with_one_with_several_and_in_own_words(ada, tab):
    ask = tab.asked(question())
    ada.expects("status of 400")
    tab.button("Answer").click()
    expect(ask.get_by_role("alert")).to_contain_text("Choose an answer to “Bread”")
    ask.get_by_label("Rye").check()
    for each in ("Butter", "Jam"):
        ask.get_by_label(each).check()
    ask.get_by_label("Or in your own words").last.fill("Water, please")
    tab.button("Answer").click()
    tab.ends("Done")
    tab.turn.get_by_text("Asked 3 questions").click()
    for answer in ("Which bread? Rye", "What goes on it? Butter, Jam", "And to drink? Water, please"):
        expect(tab.turn).to_contain_text(answer)


# -- Files.


DROP = """(area, [kind, name, text]) => {
  const data = new DataTransfer();
  data.items.add(new File([text], name, { type: "text/plain" }));
  const event = kind === "paste" ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true })
    : new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true });
  area.dispatchEvent(event);
}"""


@pytest.fixture
def filed(come, start_fastapi, fastapi_database, tmp_path):
    """A tab of the chat whose agents work in a sandbox."""
    ada = come(start_fastapi(fastapi_database(), CHAT_SANDBOX=str(tmp_path / "agents")))
    return ada.open()


def write(name, content):
    return tool("write", filePath=name, content=content)


def test_files_go_to_the_agent_and_what_it_makes_comes_back(filed):
    tab, page = filed, filed.page
    table = {"name": "days.csv", "mimeType": "text/csv", "buffer": b"day,city\n1,Rome\n"}
    page.get_by_label("Attach files").set_input_files([table])
    tab.prompt.evaluate(DROP, ["drop", "dropped.txt", "dropped"])
    tab.prompt.evaluate(DROP, ["paste", "pasted.txt", "pasted"])
    waiting = page.get_by_label("Files to send").get_by_role("listitem")
    expect(waiting).to_have_text(["days.csv×", "dropped.txt×", "pasted.txt×"])
    tab.button("Remove dropped.txt").click()
    tab.say("\n".join([run("cat uploads/*.txt > both.txt"), write("plan.md", "# Rome"), "!say made"]))
    for asked in ("cat uploads", "plan.md"):
        ask = tab.ask.filter(has_text=asked)
        ask.get_by_role("button", name="Allow once").click()
        expect(ask).to_have_count(0)
    tab.ends("made")
    expect(waiting).to_have_count(0)
    sent, made = (tab.turn.get_by_label(name) for name in ("Files that were sent", "Files of this answer"))
    expect(sent.get_by_role("link")).to_have_text(["days.csv", "pasted.txt"])
    expect(made.get_by_role("link", name="both.txt")).to_be_visible()
    made.get_by_label("Preview of both.txt").click()
    expect(made.get_by_text("pasted", exact=True)).to_be_visible()
    sent.get_by_label("Preview of days.csv").click()
    expect(sent.get_by_role("cell", name="Rome")).to_be_visible()
    with page.expect_download() as download:
        made.get_by_role("link", name="Download all of them").click()
    assert download.value.suggested_filename == "files.zip"


@pytest.mark.full
def test_what_has_changed_since_the_version_before_is_shown_also_after_a_reload(filed):
    tab = filed
    for city in ("Rome", "Lisbon"):
        tab.say("\n".join([write("plan.md", f"# {city}"), f"!say {city}"]))
        tab.button("Allow once").click()
        tab.ends(city)
    made = tab.turn.get_by_label("Files of this answer")
    expect(made.get_by_label("Changes in plan.md")).to_be_visible()
    tab.page.reload()
    made.get_by_label("Changes in plan.md").click()
    expect(made.locator(".remove")).to_have_text("-# Rome")
    expect(made.locator(".add")).to_have_text("+# Lisbon")


@pytest.mark.full
def test_a_file_that_is_not_taken_is_said_and_kept_to_be_removed(ada, tab):
    ada.expects("status of 415")
    program = {"name": "tool.txt", "mimeType": "text/plain", "buffer": b"\x7fELF" + bytes(99)}
    tab.page.get_by_label("Attach files").set_input_files([program])
    tab.say("And this?")
    expect(tab.page.get_by_role("alert").first).to_contain_text(
        "“tool.txt” is of a type that is not taken here"
    )
    expect(tab.prompt).to_have_value("And this?")
    tab.button("Remove tool.txt").click()
    tab.prompt.press("Enter")
    tab.ends('You said: "And this?".')


# -- What the agent asks.


@pytest.mark.full
def test_a_long_ask_can_be_allowed_only_where_all_of_it_is_shown(tab):
    ask = tab.asked(run("\n".join(f"true {number}" for number in range(700))))
    expect(ask).to_contain_text("This is not all of it")
    expect(tab.button("Allow once")).to_have_count(0)
    expect(ask).not_to_contain_text("true 699")
    tab.button("Read all of it to decide").press("Enter")
    expect(ask).to_contain_text("true 699")
    expect(ask.get_by_role("heading")).to_be_focused()
    tab.button("Allow once").click()
    tab.ends("Done")


@pytest.mark.full
def test_what_a_file_is_to_be_stands_on_the_ask(tab):
    ask = tab.asked(tool("write", filePath="seen.md", content="# New\n\nA file.\n"))
    for line in ("+# New", "+A file."):
        expect(ask.locator(".add").get_by_text(line, exact=True)).to_be_visible()
    tab.button("Refuse").click()
    tab.ends("It stopped")


@pytest.mark.full
def test_the_agent_hears_why_and_enter_in_the_reason_allows_nothing(tab):
    ask = tab.asked(run("touch never.txt"))
    reason = ask.get_by_label("If you refuse, a word to the agent")
    reason.press_sequentially("Bake it")
    reason.press("Enter")
    reason.press_sequentially("later.")
    tab.button("Refuse").click()
    tab.ends("Done")
    expect(tab.turn).to_contain_text("Did not run touch never.txt")
    tab.turn.get_by_text("Did not run").click()
    expect(tab.turn).to_contain_text("later.")


@pytest.mark.full
def test_what_is_typed_and_open_stays_while_events_come_and_the_focus_goes_on(tab):
    ask = tab.asked(f"{run('echo first')}\n!and{run('echo second').removeprefix('!tool')}")
    expect(ask).to_have_count(2)
    first, second = (ask.filter(has_text=f"echo {name}") for name in ("first", "second"))
    call = tab.turn.locator("details").first
    call.locator("summary").click()
    reason = first.get_by_label("If you refuse")
    reason.press_sequentially("Not tod")
    second.get_by_role("button", name="Allow once").evaluate("button => button.click()")
    expect(ask).to_have_count(1)
    expect(reason).to_be_focused()
    tab.page.keyboard.type("ay")
    expect(reason).to_have_value("Not today")
    expect(call).to_have_attribute("open", "")
    first.get_by_role("button", name="Refuse").press("Enter")
    expect(ask).to_have_count(0)
    expect(tab.prompt).to_be_focused()
    tab.ends("Done")


@pytest.mark.full
def test_of_two_asks_the_answer_to_one_leads_to_the_other(tab):
    ask = tab.asked(f"{run('echo first')}\n!and{run('echo second').removeprefix('!tool')}")
    expect(ask).to_have_count(2)
    ask.first.get_by_role("button", name="Allow once").press("Enter")
    expect(ask).to_have_count(1)
    expect(ask.get_by_role("heading")).to_be_focused()
    ask.get_by_role("button", name="Allow once").press("Enter")
    tab.ends("Done")


@pytest.mark.full
def test_an_ask_is_answered_before_it_is_known_that_the_answer_to_another_has_arrived(tab):
    ask = tab.asked(f"{run('echo first')}\n!and{run('echo second').removeprefix('!tool')}")
    expect(ask).to_have_count(2)
    late = []
    tab.page.route("**/answer", lambda route: late.append((route, route.fetch())), times=1)
    ask.first.get_by_role("button", name="Allow once").click()
    expect(ask).to_have_count(1)
    ask.get_by_role("button", name="Allow once").click()
    tab.ends("Done")
    for route, response in late:
        route.fulfill(response=response)


# -- What is stopped, fails, and is tried again.


@pytest.mark.full
def test_what_is_stopped_is_tried_again_on_the_same_page(tab, held):
    tab.say(LONG)
    expect(tab.answer).to_have_text("one two three four")
    tab.page.evaluate("window.stayed = true")
    tab.stop.press("Enter")
    tab.ends("Stopped by you.")
    expect(tab.answer).to_have_text("one two three four")
    expect(tab.prompt).to_be_focused()
    held.set()
    for _ in range(2):  # however often
        tab.turns.first.get_by_role("button", name="Try again").click()
        expect(tab.turns).to_have_count(2)
        tab.ends()
        expect(tab.answer).to_have_text(WHOLE)
    assert tab.page.evaluate("window.stayed")


@pytest.mark.full
def test_a_turn_that_waits_for_another_is_stopped_at_once(tab, held):
    tab.say(LONG)
    expect(tab.answer).to_have_text("one two three four")
    tab.say("hello")
    expect(tab.turns).to_have_count(2)
    tab.turn.get_by_role("button", name="Stop").click()
    tab.ends("Stopped by you.")
    held.set()
    expect(tab.turns.first).to_have_attribute("data-status", ENDED)
    expect(tab.turns.first.locator(".text")).to_have_text(WHOLE)


@pytest.mark.full
def test_why_a_turn_failed_is_said(tab):
    tab.say("!error 400 The oven is cold.")
    tab.ends("The model's provider refused the request. The oven is cold.")
    expect(tab.page.get_by_role("status")).to_contain_text("refused the request")


@pytest.mark.full
def test_why_a_turn_failed_is_said_also_where_the_page_hears_of_it_afterwards(tab):
    def late(route):
        route.fetch(timeout=PATIENCE)  # which is answered when the turn is over
        route.continue_()

    tab.page.route(re.compile("/events$"), late, times=1)
    tab.say("!error 400 The oven is cold.")
    expect(tab.page.get_by_role("status")).to_contain_text("refused the request")


@pytest.mark.full
def test_a_prompt_that_cannot_be_sent_is_kept(ada, tab):
    ada.expects("ERR_|status of 502")
    for fail in (
        lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"),
        lambda route: route.abort(),
    ):
        tab.page.route(re.compile("/messages$"), fail, times=1)
        tab.say("hello")
        expect(tab.page.locator(".composer").get_by_role("alert")).to_contain_text("Try again.")
        expect(tab.prompt).to_have_value("hello")
    tab.prompt.press("Enter")
    tab.ends('You said: "hello".')


# -- What dies.


@pytest.mark.full
def test_the_page_goes_on_though_the_web_process_is_killed_and_started_again(
    come, start_fastapi, fastapi_database, held
):
    database = fastapi_database()
    process = start_fastapi(database)
    ada = come(process)
    tab = ada.open()
    tab.say(LONG)
    expect(tab.answer).to_have_text("one two three four")
    tab.page.evaluate("window.stayed = true")
    ada.expects("ERR_")
    process.kill()
    expect(tab.page.get_by_text("Reconnecting…")).to_be_visible()
    tab.say("hello")
    expect(tab.page.get_by_role("alert").filter(has_text="cannot be reached")).to_be_visible()
    _expire_leases(database)
    process.start()
    process.wait_until_it_serves()
    held.set()
    tab.ends()
    expect(tab.answer).to_have_text(WHOLE)
    tab.prompt.press("Enter")
    tab.ends('You said: "hello".')
    assert tab.page.evaluate("window.stayed")


@pytest.mark.full
def test_the_page_goes_on_though_the_web_process_is_told_to_end_and_a_gateway_answers_meanwhile(
    come, start_fastapi, fastapi_database, held
):
    process = start_fastapi(fastapi_database())
    ada = come(process)
    tab = ada.open()
    tab.say(LONG)
    expect(tab.answer).to_have_text("one two three four")
    ada.expects("ERR_|status of 502")
    tab.page.route(re.compile("/events$"), lambda route: route.fulfill(status=502, body=""), times=2)
    process.terminate()
    process.start()
    process.wait_until_it_serves()
    held.set()
    tab.ends()
    expect(tab.answer).to_have_text(WHOLE)


@pytest.mark.full
def test_the_page_connects_again_when_the_network_says_nothing_any_more(come, fastapi_chat, held):
    with FaultProxy(fastapi_chat.url) as network:
        ada = come(network)
        ada.expects(
            "ERR_"
        )  # a connection that the web server closed during the stall is reset when it is used again
        tab = ada.open()
        tab.page.clock.install()
        tab.page.reload()
        tab.say(LONG)
        expect(tab.answer).to_have_text("one two three four")
        network.stall()
        held.set()
        with tab.page.expect_request(re.compile("/events$")):
            tab.page.clock.fast_forward(41_000)
        network.resume()
        tab.ends()
        expect(tab.answer).to_have_text(WHOLE)


@pytest.mark.lines
@pytest.mark.full
def test_when_the_opencode_server_dies_the_turn_fails_with_words_and_the_next_one_works(
    come, start_fastapi, fastapi_database, own_server, held
):
    opencode = own_server()
    tab = come(start_fastapi(fastapi_database(), opencode=opencode)).open()
    tab.say(LONG)
    expect(tab.answer).to_have_text("one two three four")
    opencode.kill()
    tab.ends("agent's server", timeout=UNREACHABLE)
    held.set()
    opencode.restart()
    tab.button("Try again").click()
    expect(tab.turns).to_have_count(2)
    tab.ends()
    expect(tab.answer).to_have_text(WHOLE)


@pytest.mark.full
def test_a_tab_at_another_process_shows_the_turn_and_answers_it(come, start_fastapi, fastapi_database):
    database = fastapi_database()
    runs, shows = (start_fastapi(database) for _ in range(2))
    ada = come(runs)
    tab = ada.open()
    tab.asked(run("echo hello"))
    ada.stage = shows  # to which its cookie is sent, too: cookies know no ports
    other = ada.open(tab.path)
    expect(other.ask).to_contain_text("echo hello")
    other.button("Allow once").click()
    for each in (tab, other):
        expect(each.ask).to_have_count(0)
        each.ends("Done")


def _expire_leases(database):
    """As if the time had gone by, after which another process may take up what this one ran."""
    with sqlite3.connect(database.partition("///")[2]) as db:
        db.execute("UPDATE messages SET opencode_turn_lease = '2020-01-01 00:00:00.000000'")
    db.close()


# -- What it looks like.


def asking(tab):
    expect(
        tab.asked(f'{run("true")}\n!and write {{"filePath": "look.md", "content": "# A\\n"}}')
    ).to_have_count(2)


def questioning(tab):
    tab.asked(question())


def answered(tab):
    tab.asked(f"!reason Hm.\n{run('echo ' + 'long' * 60)}\n!say {'Longwordwithoutaspace' * 12}")
    tab.button("Allow once").click()
    tab.ends("Longword")
    for summary in tab.turn.locator("summary").all():
        summary.click()


def failed(tab):
    tab.say("!error 400 The oven is cold.")
    tab.ends("cold.")
    tab.page.get_by_text("All chats").click()


def stopped(tab):
    asking(tab)
    tab.stop.click()
    tab.ends("Stopped by you.")


def sent(tab):
    picture = {"name": f"{'long' * 40}.png", "mimeType": "image/png", "buffer": png(20, 20)}
    tab.page.get_by_label("Attach files").set_input_files([picture])
    tab.say("Look")
    tab.ends()
    tab.turn.get_by_label("Preview of long").click()
    expect(tab.turn.locator("img")).to_be_visible()
    tab.page.get_by_label("Attach files").set_input_files([picture])


@pytest.mark.full
@pytest.mark.parametrize(
    "state", [asking, questioning, answered, failed, stopped, sent], ids=lambda each: each.__name__
)
def test_axe_finds_nothing_and_nothing_is_wider_than_a_phone(tab, state):
    state(tab)
    for theme in ("light", "dark"):
        tab.page.emulate_media(color_scheme=theme)
        found = Axe().run(tab.page).response["violations"]
        assert not found, [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]
    tab.page.set_viewport_size(PHONE)
    assert tab.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    if tab.stop.count():
        tab.stop.click()
        tab.ends("Stopped by you.")


@pytest.mark.full
def test_on_a_touch_screen_enter_makes_a_line_and_no_keyboard_comes_by_itself(come, fastapi_chat):
    tab = come(fastapi_chat, viewport=PHONE, has_touch=True, is_mobile=True).open()
    expect(tab.prompt).not_to_be_focused()
    tab.prompt.tap()
    tab.page.keyboard.type("One")
    tab.page.keyboard.press("Enter")
    tab.page.keyboard.type("Two")
    expect(tab.prompt).to_have_value("One\nTwo")
    tab.button("Send").tap()
    tab.ends("One Two")


@pytest.mark.full
def test_what_is_written_is_text_wherever_it_stands(ada, tab):
    evil = '</script><img src="x" onerror="window.evil = true"><!--'
    tab.say(evil)
    tab.ends()
    expect(tab.answer).to_contain_text(evil)
    tab.asked(run(f"echo '{evil}'"))
    tab.button("Allow once").click()
    tab.ends("Done")
    tab.page.reload()
    tab.ends("Done")
    expect(tab.page.get_by_role("heading", level=1)).to_have_text(evil)
    assert tab.page.locator("img").count() == 0
    assert not tab.page.evaluate("window.evil")


@pytest.mark.full
def test_chats_are_apart_and_the_list_leads_from_one_to_the_other(tab):
    tab.say("The first")
    tab.ends()
    tab.button("New chat").click()
    tab.page.wait_for_url(re.compile(r"/chats/\d+$"))
    expect(tab.turns).to_have_count(0)
    tab.page.get_by_text("All chats").click()
    tab.page.get_by_role("link", name="The first").click()
    tab.ends('You said: "The first".')
