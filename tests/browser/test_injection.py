from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from opencode_sessions.testing import Call, Refusal, Step

EVIL = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
LINKED = '<a href="javascript:window.hacked=1">three</a>'
LINKS = f"""[one](javascript:window.hacked=1) [two](JaVaScRiPt:window.hacked=1) {LINKED}

[four](data:text/html;base64,PHNjcmlwdD4=) [five](vbscript:x) ![six](https://elsewhere.example/pixel.png)

<iframe src="https://elsewhere.example/"></iframe>
<form action="https://elsewhere.example/"><button>Log in</button></form>
<style>body {{ display: none }}</style><svg onload="window.hacked = 1"></svg>
<details open ontoggle="window.hacked = 1">x</details>
<p id="prompt" style="position: fixed; inset: 0" class="composer">Seven</p>
"""

# All on the page that could run, or load, or send something of somebody else's.
DANGERS = """() => [...document.querySelectorAll("*")].flatMap((element) => {
  const found = [...element.attributes].filter(({ name, value }) =>
    name.startsWith("on") || name === "style" || /^\\s*(javascript|vbscript|data):/i.test(value));
  const foreign = ["src", "action", "formaction", "srcdoc"].filter((name) =>
    element.hasAttribute(name) && new URL(element.getAttribute(name), location).origin !== location.origin);
  const data = element.type === "application/json"; // which no browser runs
  const inline = ["SCRIPT", "STYLE"].includes(element.tagName) && !data && element.textContent.trim();
  const strange = ["IFRAME", "OBJECT", "EMBED", "BASE", "META"].includes(element.tagName) && !element.closest("head");
  return found.length || foreign.length || inline || strange ? [element.outerHTML] : [];
})"""


@pytest.fixture
def tab(visit):
    """Without the policy: what it would keep from running must not be there to be run."""
    return visit("alice", bypass_csp=True).open()


def harmless(tab):
    assert tab.page.evaluate(DANGERS) == []
    assert tab.page.evaluate("window.hacked") is None


def unhacked(tab):
    """As it streamed, and as it is rendered anew."""
    harmless(tab)
    tab.page.reload()
    harmless(tab)


def test_what_is_looked_for_here_would_be_found(tab):
    tab.visitor.expects("status of 404")  # the image
    tab.page.evaluate(f"document.body.insertAdjacentHTML('beforeend', {json.dumps(EVIL + LINKED)})")
    assert len(tab.page.evaluate(DANGERS)) >= 3
    tab.page.wait_for_function("window.hacked === 1")


def test_the_policy_would_keep_it_from_running_and_the_page_tells(visit):
    alice = visit("alice")
    alice.expects("Content Security Policy|status of 404")
    tab = alice.open()
    with tab.page.expect_console_message(lambda said: "script-src" in said.text):
        tab.page.evaluate(f"document.body.insertAdjacentHTML('beforeend', {json.dumps(EVIL)})")
    assert tab.page.evaluate("window.hacked") is None


def test_what_the_model_says_breaks_no_policy(alice, scenes):
    tab = alice.open()
    tab.begin(scenes.add(Step(say=f"{EVIL}\n\n{LINKS}")).prompt)
    tab.ends()
    tab.shows("Seven")
    unhacked(tab)


def test_what_the_model_says_and_thinks_stays_text(tab, scenes):
    tab.begin(
        scenes.add(
            Step(reason=f"Thought {EVIL}", say=f"Said {EVIL}\n\n`{EVIL}`\n\n```html\n{EVIL}\n```")
        ).prompt
    )
    tab.ends()
    expect(tab.part("text")).to_contain_text("<script>window.hacked = 1</script>")
    tab.part("thought").locator("summary").click()
    expect(tab.part("thought")).to_contain_text("Thought <script>")
    unhacked(tab)


@pytest.mark.full
def test_links_and_markup_of_the_model_do_nothing(tab, scenes):
    tab.begin(scenes.add(Step(say=LINKS)).prompt)
    tab.ends()
    tab.shows("Seven")
    expect(tab.prompt).to_be_visible()
    assert tab.part("text").locator("img, form, button, iframe, style, svg").count() == 0
    for link in tab.part("text").get_by_role("link").all():
        assert link.get_attribute("href").startswith("https:")
    unhacked(tab)


@pytest.mark.full
def test_a_prompt_and_the_title_made_of_it_stay_text(tab):
    tab.begin(f"{EVIL} and so on")
    tab.ends()
    expect(tab.turn.locator(".said__text")).to_have_text(f"{EVIL} and so on")
    expect(tab.page.get_by_role("heading", level=1)).to_contain_text("<script>")
    unhacked(tab)


@pytest.mark.full
def test_a_title_stays_text(tab):
    tab.begin("Hello")
    tab.ends()
    title = EVIL[:80]
    tab.rename(title)
    expect(tab.page.get_by_role("heading", level=1)).to_have_text(title)
    expect(tab.page.locator(".link__title").filter(has_text="<script>").first).to_be_visible()
    unhacked(tab)


@pytest.mark.full
def test_a_file_name_and_what_a_tool_gives_stay_text(stage, tab, scenes):
    name = "<img src=x onerror=hacked=1>.html"
    (stage.work / name).write_text(f"{EVIL}\n")
    tab.begin(scenes.add(Step(calls=(Call("read", {"filePath": name}),)), Step(say="Read.")).prompt)
    tab.ends()
    expect(tab.part("tool")).to_contain_text(name)
    tab.part("tool").locator("summary").first.click()
    expect(tab.part("tool")).to_contain_text("<script>window.hacked = 1</script>")
    unhacked(tab)


def test_a_command_that_asks_and_its_output_stay_text(tab, scenes):
    command = f'printf "%s" "{EVIL}"'
    call = Call("bash", {"command": command, "description": f"About {EVIL}"})
    tab.begin(scenes.add(Step(calls=(call,)), Step(say="Done.")).prompt)
    expect(tab.ask).to_contain_text(command)
    harmless(tab)
    tab.page.reload()
    expect(tab.ask).to_contain_text(command)
    harmless(tab)
    tab.button("Allow once").click()
    tab.ends()
    tab.part("tool").locator("summary").first.click()
    expect(tab.part("tool").locator("pre").last).to_contain_text("onerror='window.hacked = 1'")
    unhacked(tab)


@pytest.mark.full
def test_a_file_to_be_written_stays_text_in_its_ask_and_its_diff(stage, tab, scenes):
    name = "<b onclick=hacked=1>.html"
    (stage.work / name).unlink(missing_ok=True)
    call = Call("write", {"filePath": name, "content": f"{EVIL}\n"})
    tab.begin(scenes.add(Step(calls=(call,)), Step(say="Done.")).prompt)
    expect(tab.ask).to_contain_text(name)
    expect(tab.ask).to_contain_text("<script>")
    harmless(tab)
    tab.button("Allow once").click()
    tab.ends()
    tab.part("tool").locator("summary").first.click()
    unhacked(tab)


@pytest.mark.full
def test_a_question_and_its_options_stay_text_and_are_answered_as_they_are(tab, scenes):
    label = f'"{EVIL}"'
    asked = {
        "header": EVIL[:30],
        "question": f"{EVIL}?",
        "options": [{"label": label, "description": EVIL}, {"label": "No", "description": "None"}],
    }
    scene = scenes.add(Step(calls=(Call("question", {"questions": [asked]}),)), Step(say="Done."))
    tab.begin(scene.prompt)
    expect(tab.ask).to_contain_text(f"{EVIL}?")
    harmless(tab)
    tab.ask.get_by_role("radio").first.check()
    tab.button("Answer").click()
    tab.ends()
    assert label in scene.heard[0]
    unhacked(tab)


@pytest.mark.full
def test_why_it_failed_stays_text(tab, scenes):
    tab.begin(scenes.add(Step(trouble=Refusal(400, f"Because {EVIL}"))).prompt)
    tab.ends("failed")
    expect(tab.turn.get_by_role("alert")).to_contain_text("Because <script>")
    unhacked(tab)
