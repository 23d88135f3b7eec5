"""The template tags: what a message has to show, as HTML that a browser may be given under a strict policy."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest
from display_recordings import NAMES, recording
from django.test import override_settings

import opencode_sessions.django
from opencode_sessions.display import display, display_ask
from opencode_sessions.display.tools.cards import Diff, FileContent, Match, Matches
from opencode_sessions.display.tools.diffs import DiffLine, FileDiff, Hunk
from opencode_sessions.display.tools.registry import TOOLS, kind_of

STATIC = Path(opencode_sessions.django.__file__).parent / "static" / "opencode"
ATTACK = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ secret }}{% now %}"
VOID = {"br", "hr", "img", "input", "link"}


@pytest.fixture(scope="module", autouse=True)
def app(django_databases):
    with override_settings(
        INSTALLED_APPS=["opencode_sessions.django"],
        STATIC_URL="/static/",
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    ):
        yield


@pytest.fixture
def html(app):
    from opencode_sessions.django import html  # noqa: PLC0415 - with Django configured

    return html


def rendered(source, **context):
    from django.template import engines  # noqa: PLC0415 - likewise

    return engines["django"].from_string("{% load opencode %}" + source).render(context)


def message(name, **more):
    found = recording(name)
    fields = {"parts": found["parts"], "status": found["status"], "error": found["error"], "asks": []}
    return SimpleNamespace(**fields | more)


class Page(HTMLParser):
    """Reads HTML strictly: what is opened is closed, and nothing runs or styles inline."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.text = [], [], ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag not in ("script", "style", "iframe", "object")
        found = dict(attrs)
        assert len(found) == len(attrs), f"an attribute twice: {attrs}"
        assert not any(name == "style" or name.startswith("on") for name in found), attrs
        self.elements.append((tag, found))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, name):
        return [attrs[name] for _, attrs in self.elements if name in attrs]


def with_attacks(value):
    """The same JSON, with an attack in every text that is not a kind or a status."""
    if isinstance(value, dict):
        kept = ("type", "tool", "status", "kind", "permission", "call_id")
        return {key: item if key in kept else with_attacks(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_attacks(item) for item in value]
    return value + ATTACK if isinstance(value, str) else value


@pytest.mark.parametrize("name", NAMES)
def test_every_real_turn_is_html_that_fits_a_strict_policy(name):
    page = Page(rendered("{% opencode_parts message %}", message=message(name)))
    shown = display(recording(name)["parts"])
    assert [part for part in page.all("id") if part.startswith("part-")] == [
        f"part-{part.id}" for part in shown
    ]
    assert len(set(page.all("id"))) == len(page.all("id"))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_a_tool_or_a_model_wrote_gets_out_of_its_place(name):
    found = recording(name)
    hostile = message(
        name,
        parts=with_attacks(found["parts"]),
        asks=with_attacks(found["asks"]),
        error=with_attacks(found["error"]),
    )
    source = "{% opencode_parts message %}{% opencode_asks message action='/answer' %}"
    page = Page(rendered(source, message=hostile, secret="s3cret"))
    assert "s3cret" not in page.text
    assert "{{ secret }}" in page.text
    assert all(
        re.match(r"https?://|mailto:|/static/opencode/icons\.svg#oc-", href) for href in page.all("href")
    )


def test_one_part_can_be_rendered_apart_and_is_the_same(html):
    found = message("files")
    whole = rendered("{% opencode_parts message %}", message=found)
    for part in display(found.parts):
        alone = html.render_part(part)
        assert alone in whole
        assert rendered("{% opencode_part part %}", part=part) == alone
        assert Page(alone).elements[0][1]["id"] == f"part-{part.id}"


def test_a_card_says_its_state_also_to_those_who_do_not_see_it():
    parts = [{"type": "tool", "tool": "bash", "status": "running", "input": {"command": "make"}}]
    page = Page(
        rendered("{% opencode_parts message %}", message=SimpleNamespace(parts=parts, status="streaming"))
    )
    (card,) = (attrs for _, attrs in page.elements if "data-tool" in attrs)
    assert (card["data-state"], card["data-kind"], card["data-tool"]) == ("running", "command", "bash")
    assert "Running make" in " ".join(page.text.split())
    assert "running" in page.text


def test_an_error_is_told_with_what_to_do_and_none_is_nothing():
    error = {"name": "SilenceTimeoutError", "message": "nothing was heard"}
    page = Page(rendered("{% opencode_error error %}", error=error))
    assert "The agent fell silent. Try again." in page.text
    assert (page.all("role"), page.all("data-retry")) == (["alert"], ["true"])
    assert rendered("{% opencode_error error %}", error=None) == ""
    stopped = Page(rendered("{% opencode_error error %}", error={"name": "Cancelled", "by": "ada"}))
    assert (stopped.all("role"), stopped.text.strip()) == ([], "Stopped by ada.")


def test_what_a_person_refused_is_told_without_an_alarm():
    page = Page(rendered("{% opencode_error error %}", error=recording("dismissed")["error"]))
    said = "It stopped, as what it asked for was refused or dismissed. Say what it should do instead."
    assert (page.all("role"), page.text.strip()) == ([], said)


@override_settings(OPENCODE={"ALLOW_ALWAYS": True})
def test_a_permission_is_a_form_with_the_fields_that_are_documented():
    ask = recording("asks")["asks"][0] | {"always": ["git push *"]}
    source = "{% opencode_asks message action='/answer/7' %}"
    page = Page(rendered(source, message=SimpleNamespace(parts=[], asks=[ask]), csrf_token="t0ken"))
    (form,) = (attrs for tag, attrs in page.elements if tag == "form")
    assert (form["method"], form["action"], form["data-ask"]) == ("post", "/answer/7", ask["id"])
    fields = {attrs["name"]: attrs.get("value") for tag, attrs in page.elements if tag == "input"}
    assert fields == {"csrfmiddlewaretoken": "t0ken", "ask": ask["id"], "shown": form["data-shown"]}
    assert form["data-shown"] == display_ask(ask).shown
    buttons = [
        attrs["value"] for tag, attrs in page.elements if tag == "button" and attrs["name"] == "answer"
    ]
    assert buttons == ["once", "always", "reject", "reject"]
    scope = "for everybody who works in this folder, until the agent\N{RIGHT SINGLE QUOTATION MARK}s server restarts."
    assert f"“Always” also allows git push *, {scope}" in page.text
    everything = Page(rendered("{% opencode_ask ask %}", ask=ask | {"always": ["*"]}))
    assert f"“Always” allows every {ask['permission']}, {scope}" in everything.text
    untold = Page(rendered("{% opencode_ask ask %}", ask=ask | {"always": []}))
    assert f"“Always” allows its like, {scope}" in untold.text


def test_always_is_not_offered_where_the_settings_say_so():
    ask = recording("asks")["asks"][0] | {"always": ["git push *"]}
    with override_settings(OPENCODE={"ALLOW_ALWAYS": False}):
        page = Page(rendered("{% opencode_ask ask %}", ask=ask))
    buttons = [attrs["value"] for tag, attrs in page.elements if tag == "button"]
    assert buttons == ["once", "reject", "reject"]
    assert "always" not in page.text.lower()


def test_a_command_that_is_asked_for_stands_there_once():
    ask = recording("asks")["asks"][0]
    part = {
        "type": "tool",
        "tool": "bash",
        "call_id": ask["call_id"],
        "status": "running",
        "input": {"command": ask["metadata"]["command"], "description": "Clean up"},
    }
    page = Page(rendered("{% opencode_asks message %}", message=SimpleNamespace(parts=[part], asks=[ask])))
    assert page.text.count(ask["metadata"]["command"]) == 1
    assert "Clean up" in page.text


def test_a_question_is_a_form_whose_choices_are_the_labels():
    (ask,) = recording("questions")["asks"]
    page = Page(rendered("{% opencode_ask ask %}", ask=ask))
    inputs = [attrs for tag, attrs in page.elements if tag == "input" and attrs["type"] != "hidden"]
    assert [(each["type"], each["name"], each.get("value")) for each in inputs] == [
        ("radio", "answer-0", "To the cent"),
        ("radio", "answer-0", "Not at all"),
        ("text", "own-0", None),
        ("checkbox", "answer-1", "Euro"),
        ("checkbox", "answer-1", "Krone"),
        ("text", "own-1", None),
    ]
    assert rendered("{% opencode_ask ask %}", ask=display_ask(ask)) == rendered(
        "{% opencode_ask ask %}", ask=ask
    )


def test_the_token_of_a_request_stands_in_the_form(html):
    from django.template.loader import engines  # noqa: PLC0415 - with Django configured
    from django.test import RequestFactory  # noqa: PLC0415 - likewise

    request = RequestFactory().get("/")
    (ask,) = recording("questions")["asks"]
    template = engines["django"].from_string("{% load opencode %}{% opencode_ask ask %}")
    page = Page(template.render({"ask": ask}, request))
    fields = {attrs["name"]: attrs.get("value") for tag, attrs in page.elements if tag == "input"}
    assert len(fields["csrfmiddlewaretoken"]) == 64
    assert "csrfmiddlewaretoken" not in html.render_ask(ask)


def test_a_host_puts_its_own_template_in_the_place_of_ours(tmp_path):
    own = tmp_path / "opencode" / "parts" / "text.html"
    own.parent.mkdir(parents=True)
    own.write_text("<p>mine: {{ part.markdown }}</p>")
    engine = {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "DIRS": [tmp_path],
    }
    with override_settings(TEMPLATES=[engine]):
        assert "<p>mine: done</p>" in rendered("{% opencode_parts message %}", message=message("web"))


def test_markdown_is_a_filter():
    assert rendered("{{ text|opencode_markdown }}", text="**x**<b>") == "<p><strong>x</strong>&lt;b&gt;</p>\n"
    assert "<img" in rendered("{{ text|opencode_markdown:'images' }}", text="![x](https://a.example/x.png)")


@pytest.mark.parametrize(("seconds", "said"), [(0.44, "0.4 s"), (12.3, "12 s"), (125.2, "2 min 5 s")])
def test_a_duration_is_said_as_people_say_it(seconds, said):
    assert rendered("{{ duration|opencode_seconds }}", duration=seconds) == said


def test_every_symbol_that_is_named_is_in_the_sprite():
    symbols = ET.fromstring((STATIC / "icons.svg").read_text())  # noqa: S314 - our own file
    drawn = {symbol.get("id") for symbol in symbols}
    assert len(drawn) == len(symbols)
    assert {f"oc-{kind.icon}" for kind in TOOLS.values()} <= drawn
    assert {f"oc-{kind_of(tool).icon}" for tool in ("a_b", "weather")} <= drawn
    templates = Path(opencode_sessions.django.__file__).parent.glob("templates/opencode/parts/*.html")
    named = {name for path in templates for name in re.findall(r'opencode_icon "([\w-]+)"', path.read_text())}
    assert {f"oc-{name}" for name in named} <= drawn
    kinds = [{"type": kind, "data": {}} for kind in ("retry", "compaction", "new")]
    assert {f"oc-{notice.icon}" for notice in display(kinds)} <= drawn
    asks = [{"permission": name} for name in (*TOOLS, "doom_loop", "external_directory", "new")]
    assert {f"oc-{display_ask(ask).icon}" for ask in asks} <= drawn


def test_the_stylesheet_is_linked_and_asks_for_nothing_from_elsewhere():
    assert rendered("{% opencode_styles %}") == '<link rel="stylesheet" href="/static/opencode/parts.css">'
    styles = (STATIC / "parts.css").read_text()
    assert not re.search(r"url\(|@import", styles)
    assert styles.count("{") == styles.count("}")


@override_settings(USE_THOUSAND_SEPARATOR=True)
def test_line_numbers_have_no_separators(html):
    line = DiffLine("context", "same", 1234, 1235)
    details = [
        Diff(files=(FileDiff(path="a.py", hunks=(Hunk("", (line,)),)),)),
        FileContent(path="a.py", text="text", first_line=1234),
        Matches(matches=(Match("a.py", 1234, "text"),), total=1),
    ]
    for detail, numbers in zip(details, (["1234", "1235"], ["1234"], ["1234"]), strict=True):
        found = re.findall(r'<td class="oc-diff__number">([^<]*)</td>', html.render_detail(detail))
        assert found == numbers
