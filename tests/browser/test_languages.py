"""Both chats in German, and one turn that two tabs watch in two languages."""

from __future__ import annotations

import json
import re

import pytest
from browsing.visitor import CONVERSATION, Visitor
from fix_browser import PATIENCE
from playwright.sync_api import expect

from opencode_sessions.testing import Call, Step

ENGLISH = re.compile(
    r"\b(the|it|its|is|are|of|and|you|your|this|that|with|from|for|to|be|has|have)\b", re.IGNORECASE
)
"""None of these is a German word, too."""

COMMAND = "touch verboten.txt"
READ = """() => {
  const said = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const isText = node.nodeType === Node.TEXT_NODE;
    if (isText && !node.parentElement.closest("script, style, template, .link__title")) said.push(node.data);
    const names = isText ? [] : ["aria-label", "title", "placeholder", "alt"];
    said.push(...names.map((name) => node.getAttribute(name) ?? ""));
  }
  return said.map((each) => each.trim()).filter(Boolean);
}"""


def speaks_german(page):
    """No English word of the user interface stands on the page, nor in what is read aloud."""
    expect(page.locator("html")).to_have_attribute("lang", "de")
    assert [each for each in page.evaluate(READ) if ENGLISH.search(each)] == []


@pytest.fixture
def come(chromium):
    """A visitor of a process, in a language; the test fails for what went wrong in any of their tabs."""
    visitors = []

    def come(process, **options):
        context = chromium.new_context(**options)
        context.set_default_timeout(PATIENCE)
        visitors.append(Visitor(context, process))
        return visitors[-1]

    yield come
    for visitor in visitors:
        visitor.context.close()
    assert [trouble for visitor in visitors for trouble in visitor.troubles] == []


def test_the_django_chat_is_german_and_each_tab_has_its_language(visit, scenes, stage):
    scene = scenes.add(Step(calls=(Call("bash", {"command": COMMAND, "description": "Wie befohlen"}),)))
    german = visit("alice", locale="de-DE").open()
    expect(german.page.get_by_role("heading", name="Was wollen wir tun?")).to_be_visible()
    prompt = german.page.get_by_label("Nachricht an den Agenten")
    prompt.fill(f"Bitte {scene.prompt}")
    prompt.press("Enter")
    german.page.wait_for_url(CONVERSATION)
    ask = german.page.get_by_role("form", name="Darf der Agent das tun? Ausführen: touch verboten.txt")
    expect(ask).to_be_visible()
    english = visit("alice", locale="en-GB").open(german.path)
    expect(english.ask).to_contain_text("May the agent do this? Run touch verboten.txt")
    speaks_german(german.page)
    german.button("Ablehnen").click()
    expect(ask).to_be_hidden()
    expect(german.turn).to_contain_text("weil seine Anfrage abgelehnt oder nicht beantwortet wurde")
    expect(german.part("tool")).to_contain_text("Nicht ausgeführt:")
    expect(english.turn).to_contain_text("It stopped, as what it asked for was refused or dismissed")
    expect(english.part("tool")).to_contain_text("Did not run")
    speaks_german(german.page)
    german.page.reload()
    expect(german.part("tool")).to_contain_text("Nicht ausgeführt:")
    speaks_german(german.page)


@pytest.mark.full
def test_the_fastapi_chat_is_german_and_each_tab_has_its_language(come, fastapi_chat):
    visitor = come(fastapi_chat, locale="de-DE")
    german = visitor.open()
    prompt = german.page.get_by_label("Nachricht an den Agenten")
    prompt.fill(f"!tool bash {json.dumps({'command': COMMAND, 'description': 'Wie befohlen'})}")
    prompt.press("Enter")
    expect(german.page.get_by_role("heading", name="Darf der Agent das tun?")).to_be_visible()
    expect(german.page.locator("form.ask")).to_contain_text("Ausführen: touch verboten.txt")
    english = come(fastapi_chat, locale="en-GB", storage_state=visitor.context.storage_state()).open(
        german.path
    )
    expect(english.page.locator("form.ask")).to_contain_text("Run touch verboten.txt")
    speaks_german(german.page)
    german.button("Ablehnen").click()
    expect(german.page.locator("form.ask")).to_be_hidden()
    expect(german.page.get_by_role("article")).to_contain_text(
        "weil seine Anfrage abgelehnt oder nicht beantwortet"
    )
    expect(english.page.get_by_role("article")).to_contain_text("what it asked for was refused or dismissed")
    expect(english.page.get_by_role("article")).to_contain_text("Did not run touch verboten.txt")
    speaks_german(german.page)
