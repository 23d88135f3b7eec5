"""Pictures and files that tools return: kept in the row, found on the server, served by Django."""

from __future__ import annotations

import json

import pytest
from django.test import Client
from pictures import png

from opencode_sessions import NotFoundError, Session, Turn, allow
from opencode_sessions.display import Tool, display_message
from opencode_sessions.django import enqueue
from opencode_sessions.django.html import render_parts
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord

SMALL, LARGE, DOCUMENT = png(20, 20), png(200, 200), b"%PDF-1.4\n%%EOF"
OWNER = {"X-Who": "owner"}


def reads(folder, **files):
    """A prompt that reads files of these contents."""
    lines = []
    for name, content in files.items():
        path = folder / name.replace("_", ".")
        path.write_bytes(content)
        lines.append(f"!tool read {json.dumps({'filePath': str(path)})}\n")
    return "".join(lines) + "!say seen"


def files_of(message):
    return [file for part in display_message(message).parts if isinstance(part, Tool) for file in part.files]


def test_what_was_read_is_in_the_row_or_found_on_the_server(client, tmp_path):
    session = Session(MemoryRecord("Shop"), permissions_for=lambda _: [allow("*")])
    prompt = reads(tmp_path, small_png=SMALL, large_png=LARGE, a_pdf=DOCUMENT)
    result = Turn(MemoryMessage(prompt), session, client).run()
    assert [(file.name, file.mime, file.size) for file in files_of(result)] == [
        ("small.png", "image/png", len(SMALL)),
        ("large.png", "image/png", len(LARGE)),
        ("a.pdf", "application/pdf", len(DOCUMENT)),
    ]
    assert len(json.dumps(result.parts)) < len(LARGE)
    kept = [part["attachments"][0] for part in result.parts if part["type"] == "tool"]
    for file, content in zip(kept, (SMALL, LARGE, DOCUMENT), strict=True):
        assert client.attachment(file["sessionID"], file["messageID"], file["id"]) == content
    with pytest.raises(NotFoundError, match="no attachment prt_x"):
        client.attachment(file["sessionID"], file["messageID"], "prt_x")


@pytest.fixture
def answered(pages, tmp_path):
    """A message whose turn has read three files."""
    message = pages.message(reads(tmp_path, small_png=SMALL, large_png=LARGE, a_pdf=DOCUMENT))
    enqueue(message)
    return pages.ended(message)


def addresses(message):
    from opencode_sessions.django.addresses import files_of as base  # noqa: PLC0415 - Django is configured by now

    files = [part["attachments"][0] for part in message.parts if part["type"] == "tool"]
    return [f"{base(message)}{file['messageID']}/{file['id']}" for file in files]


def test_a_page_and_a_stream_show_them_and_a_view_serves_them(pages, answered, watch, asgi):
    small, large, document = addresses(answered)
    html = render_parts(answered)
    with watch(asgi, answered) as browser:
        browser.end()
        streamed = "".join(browser.shown().values())
    for shown in (html, streamed):
        assert [f'<img src="{each}"' in shown for each in (small, large, document)] == [True, True, False]
        assert f'<a href="{document}"' in shown
    for address, content, kind in (
        (small, SMALL, "image/png"),
        (large, LARGE, "image/png"),
        (document, DOCUMENT, "application/octet-stream"),
    ):
        response = Client(headers=OWNER).get(address)
        assert (response.status_code, response.content) == (200, content)
        assert response["Content-Type"] == kind
        assert response["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in response["Content-Security-Policy"]
        assert response["Cache-Control"].startswith("private")
    assert response["Content-Disposition"].startswith("attachment")


def test_who_may_not_see_the_turn_and_who_asks_for_another_file_gets_the_same_404(pages, answered):
    small, *_ = addresses(answered)
    assert Client().get(small).status_code == 404
    assert Client(headers=OWNER).get(f"{small}x").status_code == 404
    other = pages.message("hello")
    assert Client(headers=OWNER).get(small.replace(f"/{answered.pk}/", f"/{other.pk}/")).status_code == 404


def test_without_the_server_what_is_small_is_served_and_what_is_large_is_a_503(pages, answered, web_settings):
    small, large, _ = addresses(answered)
    with pages.configured(web_settings, SERVER="http://127.0.0.1:1"):
        assert Client(headers=OWNER).get(small).content == SMALL
        assert Client(headers=OWNER).get(large).status_code == 503


def test_what_the_row_does_not_tell_yet_the_server_is_asked_for(pages, answered):
    small, large, document = addresses(answered)
    type(answered).objects.filter(pk=answered.pk).update(parts=[])
    got = [Client(headers=OWNER).get(each).content for each in (small, large, document)]
    assert got == [SMALL, LARGE, DOCUMENT]
    later = pages.message("hello", answered.conversation)
    enqueue(later)
    pages.ended(later)
    another = small.replace(f"/{answered.pk}/", f"/{later.pk}/")
    assert Client(headers=OWNER).get(another).status_code == 404, "it is of another turn of the session"


def test_a_file_of_a_session_that_was_deleted_is_a_404(pages, answered, client):
    _, large, _ = addresses(answered)
    client.delete(answered.conversation.opencode_session_id)
    assert Client(headers=OWNER).get(large).status_code == 404
