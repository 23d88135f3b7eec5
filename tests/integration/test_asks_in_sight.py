"""Asks of the real server, as cards and pages of Django: all of them is shown, and an answer holds for that alone."""

from __future__ import annotations

import html
import json
import re
from types import SimpleNamespace

import pytest
from django.test import Client, override_settings
from fix_django_app import wait_until
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from opencode_sessions.display import display_ask
from opencode_sessions.django import cancel, enqueue
from opencode_sessions.protocol.visible import reveal

LONG = "".join(f"echo line {number}\n" for number in range(2_000))


def tool(name, /, **arguments):
    return f"!tool {name} {json.dumps(arguments)}"


@pytest.fixture
def asked(pages, web_settings):
    """Call it with a prompt: the message whose agent waits, and the ask."""
    with override_settings(OPENCODE={**web_settings, "PERMISSIONS_FOR": "web_project.policy.ask_for_all"}):
        messages = []

        def make(prompt):
            messages.append(pages.message(prompt))
            enqueue(messages[-1])
            row = wait_until(lambda: (row := pages.row(messages[-1])).asks and row)
            return messages[-1], row.asks[0]

        yield make
        for message in messages:
            cancel(message, by="test")


def shown_of(page):
    """The text of some HTML, with its marks undone."""
    text = re.sub(r"<br>|</(?:tr|p|div|dt|dd|h3|li|span)>", "\n", page)
    return reveal(html.unescape(re.sub(r"<[^>]+>", "", text)))


class Reader:
    """A browser without scripts."""

    def __init__(self, pages, message):
        self.address = pages.address("answer", message)
        self.client = Client()

    def get(self, who="owner", **query):
        return self.client.get(
            self.address, query, headers={"X-Who": who, "Referer": "http://testserver/c/1/"}
        )

    def post(self, **fields):
        headers = {"X-Who": "owner", "Accept": "application/json"}
        return self.client.post(self.address, fields, headers=headers)


@pytest.mark.full
def test_all_of_a_long_ask_is_on_a_page_of_its_own_with_the_form_to_allow_it(pages, asked):
    message, ask = asked(tool("bash", command=f"{LONG}printf payload", description="Look around"))
    reader, row = Reader(pages, message), pages.row(message)
    card = display_ask(ask, row.parts)
    assert card.more.startswith("1,60")
    assert len(card.detail.command.split("\n")) == 400
    page = reader.get(ask=ask["id"])
    assert page.status_code == 200
    assert page["Cache-Control"].startswith("max-age=0")
    text = page.content.decode()
    assert f"{LONG}printf payload" in shown_of(text)
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text))
    assert fields.pop("csrfmiddlewaretoken")
    assert fields == {"ask": ask["id"], "shown": card.shown, "next": "http://testserver/c/1/"}
    del fields["next"]
    assert reader.post(**fields, answer="once").status_code == 204
    assert "payload" in str(pages.ended(message).parts)


def test_the_card_of_a_long_ask_cannot_allow_it(pages, asked):
    message, ask = asked(tool("bash", command=f"{LONG}printf payload", description="Look around"))
    reader = Reader(pages, message)
    response = reader.post(ask=ask["id"], answer="once")
    assert (response.status_code, "shown" in response.json()["error"]) == (400, True)
    assert pages.row(message).asks
    assert reader.post(ask=ask["id"], answer="reject").status_code == 204


def test_who_may_not_see_a_message_sees_nothing_of_what_it_asks(pages, asked):
    message, ask = asked(tool("bash", command="printf secret", description="Look around"))
    reader = Reader(pages, message)
    assert reader.get(who="stranger", ask=ask["id"]).status_code == 404
    assert b"secret" not in reader.get(who="stranger", ask=ask["id"]).content
    assert reader.get(ask=ask["id"]).status_code == 200
    gone = reader.get(ask="per_of_another")
    assert (gone.status_code, b"waits for no answer" in gone.content) == (404, True)
    assert reader.client.put(reader.address, headers={"X-Who": "owner"}).status_code == 405


@pytest.mark.parametrize("changes", ["the ask", "the call"])
def test_an_answer_to_what_has_changed_meanwhile_is_refused_and_the_card_shown_anew(pages, asked, changes):
    message, ask = asked(tool("bash", command="printf one", description="Look around", timeout=5_000))
    reader, row = Reader(pages, message), pages.row(message)
    shown = display_ask(ask, row.parts).shown
    if changes == "the ask":
        asks, parts = [{**ask, "metadata": {"command": "printf another"}}], row.parts
    else:
        asks, parts = row.asks, [{**part, "input": {"timeout": 777}} for part in row.parts]
    pages.Message.objects.filter(pk=message.pk).update(asks=asks, parts=parts)
    response = reader.post(ask=ask["id"], answer="once", shown=shown)
    assert response.status_code == 409
    told = response.json()
    assert "has changed since it was shown" in told["error"]
    assert ("printf another" if changes == "the ask" else "777") in told["html"]
    new = display_ask(asks[0], parts).shown
    assert f'name="shown" value="{new}"' in told["html"]
    assert reader.post(ask=ask["id"], answer="once", shown=new).status_code == 204
    assert "one" in str(pages.ended(message).parts)


def test_a_file_outside_of_the_folder_is_named_with_its_whole_path(pages, asked, tmp_path):
    file = tmp_path / "notes.txt"
    message, ask = asked(tool("write", filePath=str(file), content="x\n"))
    reader = Reader(pages, message)
    while ask["permission"] == "external_directory":
        shown = display_ask(ask, pages.row(message).parts)
        assert shown.target == str(file)
        reader.post(ask=ask["id"], answer="once", shown=shown.shown)
        ask = wait_until(lambda: [each for each in pages.row(message).asks if each["permission"] == "edit"])[
            0
        ]
    assert ask["permission"] == "edit"
    assert display_ask(ask, pages.row(message).parts, root="/srv/shop").title == f"Create {file}"
    assert not file.exists()


NAMES = st.sampled_from(
    ["command", "filepath", "description", "url", "pattern", "query", "diff", "timeout", "prompt", "workdir",
     "filePath", "content", "todos", "path", "include", "uri", "server", "operation", "tool", "code", "input", "format"]
)  # fmt: skip
HIDERS = st.sampled_from(
    ["\n", "\r", "\t", " ", "\x1b]0;", "\u202e", "\u200b" * 9, "\U000e0041", "\n" * 20, " " * 99, "‹\\r›"]
)
TEXT = st.lists(HIDERS | st.text(max_size=5), max_size=5).map("".join)
VALUES = (
    TEXT
    | st.integers()
    | st.booleans()
    | st.lists(TEXT, max_size=2)
    | st.dictionaries(TEXT, TEXT, max_size=2)
)
GIVEN = st.dictionaries(NAMES | TEXT, VALUES, max_size=4)
PERMISSIONS = st.sampled_from(
    ["bash", "edit", "read", "webfetch", "grep", "task", "external_directory", "lsp", "todowrite", "github_x",
     "execute", "doom_loop"]
)  # fmt: skip


def leaves(value):
    """The texts and numbers in a JSON value."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield name
            yield from leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from leaves(each)
    else:
        yield value if isinstance(value, str) else json.dumps(value)


def blankless(text):
    return "".join(text.split())


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(PERMISSIONS, GIVEN, st.lists(TEXT, max_size=3), GIVEN)
def test_whatever_an_ask_says_is_on_its_card(pages, permission, metadata, patterns, given_):
    from opencode_sessions.django.html import render_asks  # noqa: PLC0415 - with Django configured

    about = {"id": "per_1", "kind": "permission", "session_id": "s", "call_id": "c"}
    ask = about | {"permission": permission, "metadata": metadata, "patterns": patterns}
    part = {"type": "tool", "tool": permission, "call_id": "c", "status": "running", "input": given_}
    card = render_asks(SimpleNamespace(parts=[part], asks=[ask]), action="/answer")
    assert "Allow once" in card
    told = blankless(shown_of(card))
    for _, value in (*metadata.items(), *given_.items()):
        for leaf in leaves(value):
            as_json = json.dumps(leaf, ensure_ascii=False)[1:-1]
            assert blankless(as_json) in told or blankless(leaf) in told
    for pattern in patterns:
        assert pattern == "*" or blankless(pattern) in told
