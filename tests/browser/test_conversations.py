from __future__ import annotations

import re

import pytest
from browsing.scenes import ENDLESS
from browsing.visitor import CONVERSATION
from playwright.sync_api import expect

from opencode_sessions.testing import Refusal, Script, Step

LOSE = """
import django
django.setup()
from chat.models import Message
print(Message.objects.create(
    conversation_id={conversation}, prompt="With rye.", status="failed", error={{"name": "ServerUnreachableError"}},
    opencode_prompt_id="msg_that_never_arrived", opencode_prompt_session_id=Message.objects.filter(
        conversation_id={conversation}).first().opencode_prompt_session_id,
).pk)
"""
"""A prompt that has its id, and failed before it was sent."""

FORGET = """
import django
django.setup()
from chat.models import Message
for message in Message.objects.filter(conversation_id={conversation})[:2]:
    message.opencode_prompt_id = message.opencode_prompt_session_id = None
    message.save()
"""
"""As in a copy of what the agent did not have any more."""


@pytest.fixture
def failed(tab, scenes):
    """A turn that has failed. The next one like it goes well."""
    scene = scenes.add(Step(trouble=Refusal(400, "The oven is cold.")))
    tab.begin(scene.prompt)
    tab.ends("failed")
    scene.script = Script(Step(say="It is warm now."))
    return scene


@pytest.mark.full
def test_where_there_is_no_https_messages_are_sent_too(alice):
    alice.context.add_init_script("delete Crypto.prototype.randomUUID")  # as browsers do there
    tab = alice.open()
    tab.begin("One")
    for number, said in enumerate(("Two", "Three"), start=2):
        tab.say(said)
        expect(tab.turns).to_have_count(number)
    tab.ends()


@pytest.mark.lines(full="v2")
def test_a_failed_turn_says_why_and_can_be_tried_again(tab, failed):
    expect(tab.turn.get_by_role("alert")).to_contain_text("The oven is cold.")
    tab.button("Try again").click()
    expect(tab.turns).to_have_count(2)
    tab.ends()
    tab.shows("It is warm now.")
    expect(tab.button("Try again")).to_have_count(0)


@pytest.mark.full
def test_tried_again_in_two_tabs_at_once_it_runs_once(alice, tab, failed):
    other = alice.open(tab.path)
    for each in (tab, other):
        expect(each.button("Try again")).to_be_enabled()
    # Found before one is pressed, which makes the other tab's go away.
    for button in [each.button("Try again").element_handle() for each in (tab, other)]:
        button.evaluate("button => { button.click(); button.click(); }")
    for each in (tab, other):
        expect(each.turns).to_have_count(2)
        each.ends()
        each.shows("It is warm now.")
    assert len(failed.requests) == 2
    tab.page.reload()
    expect(tab.turns).to_have_count(2)


@pytest.mark.full
def test_a_stopped_turn_can_be_tried_again(tab, scenes):
    scene = scenes.add(ENDLESS)
    tab.begin(scene.prompt)
    tab.shows("word3 ")
    tab.page.keyboard.press("Escape")
    tab.ends("cancelled")
    scene.script = Script(Step(say="Short."))
    tab.button("Try again").click()
    expect(tab.turns).to_have_count(2)
    tab.ends()
    tab.shows("Short.")


def edit(tab, turn, prompt):
    """Send the turn's prompt in other words: the page is that of the branch then."""
    tab.open_edit(turn).fill(prompt)
    source = tab.path
    turn.get_by_role("button", name="Send").click()
    tab.page.wait_for_url(lambda url: CONVERSATION.search(url) and source not in url)
    tab.ends()


def talk(tab, first, *others):
    """A conversation with these prompts, each answered before the next."""
    tab.begin(first)
    tab.ends()
    for number, prompt in enumerate(others, 2):
        tab.say(prompt)
        expect(tab.turns).to_have_count(number)
        tab.ends()


@pytest.mark.lines(full="v2")
def test_edited_and_sent_again_it_goes_on_in_a_branch_that_knows_what_came_before(tab, scenes):
    talk(tab, "We bake bread.", "With rye.")
    source, before = tab.path, tab.texts()
    scene = scenes.add(Step(say="Wheat it is."))
    edit(tab, tab.turn, f"With wheat. {scene.prompt}")
    expect(tab.page.get_by_text("Branched from")).to_be_visible()
    expect(tab.turns).to_have_count(2)
    tab.shows("Wheat it is.")
    assert tab.texts()[0] == before[0]
    assert list(scene.requests[-1].prompts) == ["We bake bread.", f"With wheat. {scene.prompt}"]
    tab.goto(source)
    assert tab.texts() == before


@pytest.mark.full
def test_in_a_branch_of_a_branch_the_agent_knows_what_came_before_and_nothing_else(tab, scenes):
    talk(tab, "We bake bread.", "With rye.", "With salt.")
    edit(tab, tab.turn, "With honey.")
    expect(tab.turns).to_have_count(3)
    scene = scenes.add(Step(say="Wheat it is."))
    edit(tab, tab.turns.nth(1), f"With wheat. {scene.prompt}")
    expect(tab.turns).to_have_count(2)
    assert list(scene.requests[-1].prompts) == ["We bake bread.", f"With wheat. {scene.prompt}"]
    tab.say(f"Third. {scene.prompt}")
    expect(tab.turns).to_have_count(3)
    tab.ends()
    edit(tab, tab.turns.nth(1), f"Fourth. {scene.prompt}")
    assert list(scene.requests[-1].prompts) == ["We bake bread.", f"Fourth. {scene.prompt}"]


@pytest.mark.full
def test_a_branch_is_branched_after_what_it_came_from_is_deleted(tab, scenes):
    talk(tab, "We bake bread.", "With rye.", "With salt.")
    source = tab.path
    edit(tab, tab.turn, "With honey.")
    branch = tab.path
    tab.goto(source)
    tab.button("Delete the conversation").click()
    tab.button("Delete").click()
    tab.page.get_by_role("heading", name="What shall we do?").wait_for()
    tab.goto(branch)
    scene = scenes.add(Step(say="Wheat it is."))
    edit(tab, tab.turns.nth(1), scene.prompt)
    assert list(scene.requests[-1].prompts) == ["We bake bread.", scene.prompt]


@pytest.mark.full
def test_what_was_never_sent_is_edited_without_what_came_after_it(stage, tab, scenes):
    talk(tab, "We bake bread.")
    lost = stage.python("-c", LOSE.format(conversation=re.search(r"\d+", tab.path)[0])).strip()
    tab.page.reload()
    expect(tab.turns).to_have_count(2)
    tab.say("With salt.")
    expect(tab.turns).to_have_count(3)
    tab.ends()
    scene = scenes.add(Step(say="Wheat it is."))
    edit(tab, tab.page.locator(f"#m{lost}"), scene.prompt)
    assert list(scene.requests[-1].prompts) == ["We bake bread.", scene.prompt]


@pytest.mark.full
def test_an_answer_of_which_nobody_knows_where_it_was_given_is_edited_without_a_memory(stage, tab, scenes):
    talk(tab, "We bake bread.", "With rye.", "With salt.")
    stage.python("-c", FORGET.format(conversation=re.search(r"\d+", tab.path)[0]))
    scene = scenes.add(Step(say="Wheat it is."))
    edit(tab, tab.turns.nth(1), scene.prompt)
    expect(tab.turns).to_have_count(2)
    assert list(scene.requests[-1].prompts) == [scene.prompt]


@pytest.mark.full
def test_a_branch_is_told_apart_in_the_list(tab):
    talk(tab, "We bake bread.", "With rye.")
    edit(tab, tab.turn, "With wheat, shall we? It is lighter.")
    link = tab.page.locator(f'a[href="{tab.path}"]')
    expect(link).to_have_accessible_name("Branch: With wheat, shall we?")
    expect(link.locator("svg")).to_be_visible()
    source = tab.page.get_by_text("Branched from").get_by_role("link")
    expect(source).to_have_text("We bake bread")
    expect(tab.page.locator(f'nav a[href="{source.get_attribute("href")}"]')).to_have_accessible_name(
        "We bake bread"
    )


@pytest.mark.full
def test_the_first_prompt_edited_begins_anew(tab, scenes):
    tab.begin("We bake bread.")
    tab.ends()
    scene = scenes.add(Step(say="Cake it is."))
    tab.prompt.press("ArrowUp")
    expect(tab.turn.get_by_label("Your message, in other words")).to_be_focused()
    tab.page.keyboard.press("ControlOrMeta+a")
    tab.page.keyboard.type(f"We bake cake. {scene.prompt}")
    tab.page.keyboard.press("Enter")
    tab.page.get_by_text("Branched from").wait_for()
    tab.ends()
    assert list(scene.requests[-1].prompts) == [f"We bake cake. {scene.prompt}"]


@pytest.mark.full
def test_a_conversation_is_renamed(tab):
    tab.begin("What it was called at first")
    tab.ends()
    tab.rename("Bread & butter")
    expect(tab.page.get_by_role("heading", level=1)).to_have_text("Bread & butter")
    expect(tab.page).to_have_title(re.compile("^Bread & butter"))
    expect(tab.page.get_by_role("link", name="Bread & butter", exact=True)).to_be_visible()
    expect(tab.page.get_by_role("link", name="What it was called at first")).to_have_count(0)


def test_a_conversation_is_deleted_once_that_is_confirmed(alice, tab):
    tab.begin("Not for long")
    tab.ends()
    path = tab.path
    tab.button("Delete the conversation").click()
    tab.button("Keep it").click()
    expect(tab.button("Delete")).to_be_hidden()
    tab.button("Delete the conversation").click()
    tab.button("Delete").click()
    tab.page.get_by_role("heading", name="What shall we do?").wait_for()
    expect(tab.page.locator(f'a[href="{path}"]')).to_have_count(0)
    alice.expects("status of 404")
    assert tab.page.goto(alice.stage.url + path).status == 404


@pytest.mark.full
def test_deleting_a_conversation_stops_what_runs_in_it_in_another_tab_too(alice, tab, scenes):
    tab.begin(scenes.add(ENDLESS).prompt)
    tab.shows("word3 ")
    other = alice.open(tab.path)
    other.runs()
    alice.expects("status of 404")
    tab.button("Delete the conversation").click()
    tab.button("Delete").click()
    tab.page.get_by_role("heading", name="What shall we do?").wait_for()
    expect(other.turn.locator("opencode-turn")).to_have_attribute("status", re.compile("cancelled|gone"))


@pytest.mark.full
def test_what_an_answer_has_cost_is_told(tab):
    tab.begin("Hello")
    tab.ends()
    bill = tab.turn.locator("footer")
    expect(bill).to_contain_text("tokens")
    spent = bill.inner_text()
    expect(bill).to_contain_text("$0.")
    whole = tab.page.get_by_title("Tokens read and written in this conversation")
    expect(whole).to_have_text(re.search(r"[\d,]+ tokens", spent)[0])
    tab.say("And again")
    expect(tab.turns).to_have_count(2)
    tab.ends()
    expect(whole).not_to_have_text(re.search(r"[\d,]+ tokens", spent)[0])


def test_an_impatient_double_enter_sends_once(tab):
    tab.prompt.fill("Once")
    tab.prompt.evaluate("""field => {
        const enter = () => new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true });
        field.dispatchEvent(enter());
        field.dispatchEvent(enter());
    }""")
    tab.page.wait_for_url("**/c/*/")
    tab.ends()
    expect(tab.turns).to_have_count(1)
    here = tab.page.locator(f'a[href="{tab.path}"]')
    number = int(re.search(r"\d+", tab.path)[0])
    expect(here).to_have_count(1)
    expect(tab.page.locator(f'a[href="/c/{number - 1}/"]').filter(has_text="Once")).to_have_count(0)
    expect(tab.page.locator(f'a[href="/c/{number + 1}/"]')).to_have_count(0)
