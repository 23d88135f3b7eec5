"""`turn.js` in a browser, under a strict policy: what a page shows while a turn runs, and how it is steered."""

from __future__ import annotations

import pytest
from django.test import override_settings
from fix_browser import QUIET
from fix_django_app import wait_until
from playwright.sync_api import sync_playwright

from opencode_sessions.django import enqueue
from opencode_sessions.django.live_hub import hub

QUESTION = (
    '!tool question {"questions": [{"question": "Which way?", "header": "Way", '
    '"options": [{"label": "Left", "description": "By the sea"}, {"label": "Right", "description": "Uphill"}]}]}\n'
    "!say Off we go."
)

ADD = """(src) => {
  const turn = document.createElement("opencode-turn");
  turn.setAttribute("src", src);
  turn.setAttribute("status", "pending");
  document.body.append(turn);
}"""

# In this browser all tabs are taken to be looked at.
SEEN = """(seen) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => !seen });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


SEEN_WHOLE = """(line) => {
  const { top, bottom } = line.getBoundingClientRect();
  return top >= -1 && bottom <= innerHeight + 1;
}"""

COUNT = """{
  const opened = new Set();
  window.most = 0;
  window.EventSource = class extends EventSource {
    constructor(url) {
      super(url);
      window.most = Math.max(window.most, opened.add(this).size);
    }
    close() {
      super.close();
      opened.delete(this);
    }
  };
}"""


@pytest.fixture(scope="module", autouse=True)
def chromium(chromium_binary):
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as started:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # Playwright's own event loop runs in this thread
        browser = started.chromium.launch(executable_path=chromium_binary, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium, asgi):
    """A page of a browser that minds what goes wrong in it."""
    context = chromium.new_context(base_url=asgi)
    context.add_cookies([{"name": "who", "value": "owner", "url": asgi}])
    context.set_default_timeout(30_000)  # milliseconds: this machine may be busy
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


@pytest.fixture
def asked(tab):
    """The addresses of the streams that its script asks for."""
    found = []
    tab.on("request", lambda request: "/events" in request.url and found.append(request.url))
    return found


def streams(message):
    """How many of it are open: the server is in this process."""
    return sum(len(each.viewers) for each in hub._all() if each.key.pk == str(message.pk))


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


def test_under_wsgi_a_stream_that_has_had_its_time_is_followed_by_the_next_and_nothing_is_wrong(
    pages, wsgi, web_settings, words, tab
):
    message = pages.message("!say one two three four five six")
    with override_settings(OPENCODE={**web_settings, "STREAM_SECONDS": 0.5}):
        tab.goto(f"{wsgi}/page/{message.pk}")
        enqueue(message)
        for number in range(1, 4):
            with tab.expect_request("**/events*"):
                words.up_to(number)
        words.all()
        tab.locator("opencode-turn[status=completed]", has_text="one two three four five six").wait_for()
    assert "offline" not in tab.evaluate("told")
    assert tab.problems == []


@pytest.mark.full
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


@pytest.mark.full
def test_that_a_form_was_sent_is_told_also_where_its_ask_has_gone_before(pages, tab):
    message = pages.message(QUESTION)
    enqueue(message)
    tab.goto(f"/page/{message.pk}")
    late = []
    tab.route("**/answer", lambda route: late.append((route, route.fetch())))
    tab.get_by_role("radio", name="Left").check()
    tab.get_by_role("button", name="Answer").click()
    tab.locator("opencode-turn[status=completed]").wait_for()
    [(route, response)] = late
    route.fulfill(response=response)
    tab.wait_for_function("told.at(-1) === 'sent'")
    assert tab.problems == []


@pytest.mark.full
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


@pytest.mark.full
def test_the_second_click_of_two_presses_nothing_that_has_come_to_where_the_first_was(pages, tab):
    message = pages.message(QUESTION)
    enqueue(message)
    tab.goto(f"/page/{message.pk}")
    sent = []
    tab.on("request", lambda request: request.method == "POST" and sent.append(request.url))
    dismiss = tab.get_by_role("button", name="Dismiss")
    box = dismiss.bounding_box()
    tab.mouse.move(box["x"] + 5, box["y"] + 5)
    tab.mouse.down(click_count=2)
    tab.mouse.up(click_count=2)
    dismiss.click()
    tab.locator("opencode-turn[status=failed]").wait_for()
    assert len(sent) == 1
    assert tab.problems == []


def test_a_form_that_is_being_sent_is_not_sent_again(pages, tab):
    message = pages.message("hello")
    tab.goto(f"/page/{message.pk}")
    sent = []
    tab.on("request", lambda request: request.method == "POST" and sent.append(request.url))
    tab.evaluate("""() => {
        const form = document.querySelector("[data-oc-action=cancel]");
        form.requestSubmit();
        form.requestSubmit();
    }""")
    tab.locator("opencode-turn[status=cancelled]").wait_for()
    assert len(sent) == 1
    assert tab.problems == []


@pytest.mark.full
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


def test_however_many_turns_a_page_has_two_streams_show_them_all(pages, tab):
    first, *others = [pages.message("hello") for _ in range(6)]
    tab.add_init_script(COUNT)
    tab.goto(f"/page/{first.pk}")
    for message in others:
        tab.evaluate(ADD, pages.events(message))
    for message in reversed(others):  # whose turns end elsewhere; the first goes on
        pages.Message.objects.filter(pk=message.pk).update(status="failed", revision=1)
    wait_until(lambda: tab.locator("opencode-turn[status=failed]").count() == 5)
    assert tab.locator("opencode-turn").first.get_attribute("status") == "pending"
    assert tab.evaluate("most") == 2
    assert tab.problems == []


@pytest.mark.full
def test_the_turn_that_runs_keeps_its_stream_wherever_it_stands(pages, tab, asked):
    first, *others = [pages.message("hello") for _ in range(5)]
    tab.goto(f"/page/{first.pk}")
    for message in others:
        tab.evaluate(ADD, pages.events(message))
    running = others[-1]
    pages.Message.objects.filter(pk=running.pk).update(status="streaming", revision=1)
    tab.locator("opencode-turn[status=streaming]").wait_for(state="attached", timeout=60_000)
    before = len(asked)
    while len(asked) < before + 3:  # the others take turns
        tab.wait_for_timeout(100)
    assert not [url for url in asked[before:] if pages.events(running) in url]
    assert tab.problems == []


def test_a_page_that_is_not_looked_at_has_no_stream_and_goes_on_where_it_was(pages, tab, asked):
    message = pages.message("hello")
    rows = pages.Message.objects.filter(pk=message.pk)
    rows.update(status="streaming", revision=4, content="so far")
    tab.goto(f"/page/{message.pk}")
    wait_until(lambda: streams(message) == 1)
    tab.evaluate(SEEN, False)
    wait_until(lambda: streams(message) == 0)
    tab.evaluate(SEEN, True)
    wait_until(lambda: streams(message) == 1)
    tab.evaluate(SEEN, False)
    wait_until(lambda: streams(message) == 0)
    rows.update(status="completed", revision=5, content="so far, and to the end")
    tab.evaluate(SEEN, True)
    tab.locator("opencode-turn[status=completed]", has_text="to the end").wait_for()
    assert [url.partition("after=")[2] for url in asked] == ["4", "4", "4"]
    assert "offline" not in tab.evaluate("told")
    assert tab.problems == []


@pytest.mark.full
def test_what_went_wrong_is_brought_into_sight_and_its_button_has_the_focus_again(pages, tab):
    message = pages.message(QUESTION)
    enqueue(message)
    tab.set_viewport_size({"width": 390, "height": 160})
    tab.goto(f"/page/{message.pk}")
    tab.locator("form[data-ask]").wait_for()
    tab.evaluate("document.querySelector('[name=ask]').value = 'que_gone'")
    dismiss = tab.get_by_role("button", name="Dismiss")
    dismiss.evaluate("button => { scrollTo(0, 0); button.focus({ preventScroll: true }); button.click(); }")
    tab.get_by_role("alert").wait_for()
    wait_until(lambda: tab.get_by_role("alert").evaluate(SEEN_WHOLE))
    assert dismiss.evaluate("button => button === document.activeElement")
    pages.cancel(message)


def test_that_the_server_cannot_be_reached_is_said_until_it_can(pages, tab):
    message = pages.message("hello")
    tab.goto(f"/page/{message.pk}")
    tab.route("**/cancel", lambda route: route.abort())
    tab.get_by_role("button", name="Stop").click()
    tab.get_by_role("alert").filter(has_text="cannot be reached").wait_for()
    tab.context.set_offline(True)
    tab.context.set_offline(False)
    tab.get_by_role("alert").wait_for(state="detached")
    pages.cancel(message)


@pytest.mark.full
def test_a_turn_that_is_deleted_goes_on_no_more_and_asks_nothing(pages, tab):
    message = pages.message(QUESTION, lease=6.0)  # its runner misses the row when it renews the lease
    enqueue(message)
    tab.goto(f"/page/{message.pk}")
    tab.locator("form[data-ask]").wait_for()
    tab.evaluate(
        "document.querySelector('[data-oc-parts]').lastElementChild.classList.add('oc-prose--growing')"
    )
    pages.Message.objects.filter(pk=message.pk).delete()
    tab.locator("opencode-turn[status=gone]").wait_for(state="attached")
    assert tab.locator("form[data-ask], .oc-prose--growing, .oc-card__spinner").count() == 0
    assert tab.problems == []


def test_a_turn_that_is_not_found_for_half_a_minute_is_gone(pages, tab):
    message, other = pages.message("hello"), pages.message("hello")
    tab.clock.install()
    tab.goto(f"/page/{message.pk}")
    deleted = pages.events(other)
    pages.Message.objects.filter(pk=other.pk).delete()
    tab.evaluate(ADD, deleted)
    # At first a proxy may have said so.
    tab.locator("opencode-turn[status=pending][offline]").wait_for(state="attached")
    gone = tab.locator("opencode-turn[status=gone]")
    while not gone.count():
        tab.clock.fast_forward(2_000)
        tab.wait_for_timeout(50)
    assert tab.evaluate("performance.now()") > 20_000
    assert tab.evaluate("told.at(-1)") == "end"
    assert tab.locator("opencode-turn").first.get_attribute("status") == "pending"
