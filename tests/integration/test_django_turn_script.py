"""`turn.js` in a browser, under a strict policy: what a page shows while a turn runs, and how it is steered."""

from __future__ import annotations

import pytest

from opencode_sessions.django import enqueue

playwright = pytest.importorskip("playwright.sync_api")

QUESTION = (
    '!tool question {"questions": [{"question": "Which way?", "header": "Way", '
    '"options": [{"label": "Left", "description": "By the sea"}, {"label": "Right", "description": "Uphill"}]}]}\n'
    "!say Off we go."
)


@pytest.fixture(scope="module", autouse=True)
def chromium():
    with pytest.MonkeyPatch.context() as patch, playwright.sync_playwright() as started:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # Playwright's own event loop runs in this thread
        browser = started.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium, asgi):
    """A page of a browser that minds what goes wrong in it."""
    context = chromium.new_context(base_url=asgi)
    context.add_cookies([{"name": "who", "value": "owner", "url": asgi}])
    context.set_default_timeout(10_000)
    page = context.new_page()
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda said: page.problems.append(said.text) if said.type == "error" else None)
    page.add_init_script(
        "window.told = []; for (const name of ['change', 'end', 'offline', 'online', 'sent'])"
        "addEventListener(`opencode:${name}`, () => told.push(name));"
    )
    yield page
    context.close()


def test_a_page_shows_the_answer_as_it_grows(pages, tab):
    message = pages.message(
        "!slow 0.15\n!reason Hm hm.\n!say one two three **four** five six seven eight nine ten"
    )
    tab.goto(f"/page/{message.pk}")
    enqueue(message)
    tab.locator("[data-oc-parts]", has_text="two").wait_for()
    assert tab.locator("opencode-turn").get_attribute("status") == "streaming"
    tab.evaluate("window.first = document.querySelector('[data-part=text]')")
    tab.evaluate("getSelection().selectAllChildren(first.querySelector('p'))")
    tab.evaluate("window.chosen = getSelection().toString()")
    tab.locator("opencode-turn[status=completed]").wait_for()
    assert tab.locator("[data-part=text] strong").inner_text() == "four"
    assert "nine ten" in tab.locator("[data-part=text]").inner_text()
    assert tab.evaluate("first.isConnected"), "the part was replaced, with whatever somebody did to it"
    assert tab.evaluate("getSelection().toString().startsWith(chosen)")
    assert tab.evaluate("told.at(-1)") == "end"
    assert "one two three four" in tab.get_by_role("status").inner_text(), "it is read aloud now"
    assert tab.problems == []


def test_a_fold_that_somebody_opened_stays_open(pages, tab):
    message = pages.message("!slow 0.2\n!reason Let me think about that.\n!say one two three four five six")
    tab.goto(f"/page/{message.pk}")
    enqueue(message)
    fold = tab.locator("details[data-part=thought]")
    fold.locator("summary").click()
    tab.locator("opencode-turn[status=completed]").wait_for()
    assert fold.get_attribute("open") is not None
    assert tab.problems == []


def test_a_question_is_answered_and_what_was_typed_is_kept_meanwhile(pages, tab):
    message = pages.message(QUESTION)
    enqueue(message)
    tab.goto(f"/page/{message.pk}")
    own = tab.locator("form[data-ask] input[type=text]")
    own.fill("Straight on")
    assert tab.locator("form[data-ask]").count() == 1
    tab.wait_for_timeout(1500)
    assert own.input_value() == "Straight on"
    assert own.evaluate("field => field === document.activeElement")
    tab.get_by_role("button", name="Answer").click()
    tab.locator("opencode-turn[status=completed]").wait_for()
    assert tab.locator("form[data-ask]").count() == 0
    assert "Straight on" in str(pages.row(message).parts)
    assert tab.problems == []


def test_an_answer_that_comes_too_late_is_told_in_the_form(pages, tab):
    message = pages.message(QUESTION)
    enqueue(message)
    tab.goto(f"/page/{message.pk}")
    form = tab.locator("form[data-ask]")
    form.wait_for()
    tab.evaluate("document.querySelector('[name=ask]').value = 'que_gone'")
    tab.get_by_role("button", name="Dismiss").click()
    tab.get_by_role("alert").wait_for()
    assert "waits for no answer" in tab.get_by_role("alert").inner_text()
    assert tab.get_by_role("button", name="Dismiss").is_enabled()
    pages.cancel(message)


def test_stop_and_try_again(pages, tab):
    message = pages.message("!slow 0.2\n!say one two three four five six seven eight nine ten eleven twelve")
    enqueue(message)
    tab.goto(f"/page/{message.pk}")
    tab.locator("[data-oc-parts]", has_text="two").wait_for()
    tab.get_by_role("button", name="Stop").click()
    tab.locator("opencode-turn[status=cancelled]").wait_for()
    assert "Stopped" in tab.locator("[data-oc-error]").inner_text()
    with tab.expect_event("load"):
        tab.get_by_role("button", name="Try again").click()
    again = pages.Message.objects.exclude(pk=message.pk).get(conversation_id=message.conversation_id)
    assert again.prompt == message.prompt
    pages.cancel(again)


def test_a_line_that_breaks_is_told_and_mended(pages, tab):
    message = pages.message("!slow 0.2\n!say one two three four five six seven eight nine ten")
    tab.route("**/events*", lambda route: route.fulfill(status=502, body="bad gateway"))
    tab.goto(f"/page/{message.pk}")
    tab.locator("opencode-turn[offline]").wait_for(state="attached")
    enqueue(message)
    tab.unroute("**/events*")
    tab.locator("opencode-turn[status=completed]").wait_for(timeout=20_000)
    assert not tab.locator("opencode-turn[offline]").count()
    assert tab.evaluate("told.indexOf('offline') < told.indexOf('online')")
