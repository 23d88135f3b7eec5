"""Files through the chat protocols: sent by their own clients, made by the agent, served to who may see them."""

from __future__ import annotations

import base64
import json

import httpx2
import pytest
from fix_chats import WHO, stored_messages
from pictures import png

PNG = png(4, 4)
CSV = b"day,city\n1,Rome\n"
WRITE = "!tool write " + json.dumps({"filePath": "plan.md", "content": "# Rome"})


def encoded(content):
    return base64.b64encode(content).decode()


def vercel_file(name, mime, content):
    return {
        "type": "file",
        "filename": name,
        "mediaType": mime,
        "url": f"data:{mime};base64,{encoded(content)}",
    }


def agui_file(kind, name, mime, content):
    source = {"type": "data", "value": encoded(content), "mimeType": mime}
    return {"type": kind, "source": source, "metadata": {"filename": name}}


@pytest.fixture
def chats(start_chats, tmp_path):
    return start_chats(FILES=str(tmp_path / "files"))


def content_of(chats, address):
    return httpx2.get(f"{chats.url}{address}", headers=WHO, timeout=100)


def test_files_go_in_and_out_through_the_vercel_client(chats, start_client, tmp_path):
    url = f"{chats.url}/chats/vercel"
    client = start_client("vercel", url, "files")
    sent = [vercel_file("../days.csv", "text/csv", CSV), vercel_file("dot.png", "image/png", PNG)]
    client("send", text=f"{WRITE}\n!say Done.", files=sent)
    shown = client.wait(lambda shown: shown["events"] or shown["error"])
    assert (shown["error"], shown["events"]) == (None, ["stop"])
    (made,) = (part for part in shown["messages"][-1]["parts"] if part["type"] == "file")
    assert (made["mediaType"], made["providerMetadata"]["opencode"]["path"]) == ("text/markdown", "plan.md")
    found = content_of(chats, made["url"])
    assert (found.text, found.headers["content-type"]) == ("# Rome", "application/octet-stream")
    assert httpx2.get(f"{chats.url}{made['url']}", timeout=100).status_code == 401

    asked, answered = stored_messages(url, "files")
    assert made in answered["parts"]
    csv, picture = (part for part in asked["parts"] if part["type"] == "file")
    assert (csv["filename"], content_of(chats, csv["url"]).content) == ("days.csv", CSV)
    found = content_of(chats, picture["url"])
    assert (found.content, found.headers["content-type"]) == (PNG, "image/png")
    (copy,) = (tmp_path / "files" / "agents" / "folders").glob("*/uploads/*-days.csv")
    assert copy.read_bytes() == CSV


@pytest.mark.full
@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([vercel_file("tool", "text/plain", b"\x7fELF" + bytes(99))], "of a type that is not taken"),
        ([vercel_file("a.txt", "text/plain", b"a")] * 3, "2 are the most"),
        (
            [{**vercel_file("a.txt", "", b""), "url": "https://example.com/a"}],
            "nothing is fetched from a link",
        ),
        ([{**vercel_file("a.txt", "", b""), "url": "data:;base64,#"}], "is not base64"),
    ],
)
def test_files_that_are_not_taken_are_refused_as_the_vercel_protocol_does(chats, start_client, files, said):
    client = start_client("vercel", f"{chats.url}/chats/vercel", "refused")
    client("send", text="hello", files=files)
    shown = client.wait(lambda shown: shown["status"] == "error")
    assert said in shown["error"]
    assert stored_messages(f"{chats.url}/chats/vercel", "refused") == []


@pytest.mark.full
def test_a_retry_has_the_files_that_were_sent(chats, start_client):
    url = f"{chats.url}/chats/vercel"
    client = start_client("vercel", url, "retry")
    client("send", text="!error 400 Out of flour", files=[vercel_file("days.csv", "text/csv", CSV)])
    client.wait(lambda shown: shown["status"] == "error")
    client("regenerate")
    client.wait(lambda shown: shown["status"] == "error" and len(stored_messages(url, "retry")) == 4)
    again = stored_messages(url, "retry")[2]
    assert [part["filename"] for part in again["parts"] if part["type"] == "file"] == ["days.csv"]


@pytest.mark.full
def test_files_go_in_and_out_through_the_agui_client(chats, start_client):
    url = f"{chats.url}/chats/agui"
    client = start_client("agui", url, "files")
    text = {"type": "text", "text": f"{WRITE}\n!say Done."}
    files = [
        agui_file("document", "days.csv", "text/csv", CSV),
        agui_file("image", "dot.png", "image/png", PNG),
    ]
    client("send", text=[text, *files])
    shown = client.wait(lambda shown: not shown["running"] and shown["last"])
    assert (shown["error"], shown["outcome"]) == (None, "success")
    (made,) = (each["content"] for each in shown["messages"] if each.get("activityType") == "opencode.made")
    assert (made["path"], content_of(chats, made["url"]).text) == ("plan.md", "# Rome")
    document, picture = shown["messages"][0]["content"][1:]
    assert (document["type"], content_of(chats, document["source"]["value"]).content) == ("document", CSV)
    assert (picture["type"], content_of(chats, picture["source"]["value"]).content) == ("image", PNG)
    assert shown["messages"] == stored_messages(url, "files")


@pytest.mark.full
def test_files_that_are_not_taken_are_refused_as_agui_does(chats, start_client):
    client = start_client("agui", f"{chats.url}/chats/agui", "refused")
    program = agui_file("document", "tool", "text/plain", b"\x7fELF" + bytes(99))
    client("send", text=[{"type": "text", "text": "hello"}, program])
    shown = client.wait(lambda shown: shown["error"])
    assert "of a type that is not taken" in shown["error"]
    assert stored_messages(f"{chats.url}/chats/agui", "refused") == []


@pytest.mark.full
def test_without_uploads_in_the_settings_no_file_is_taken(start_chats, start_client):
    client = start_client("vercel", f"{start_chats().url}/chats/vercel", "none")
    client("send", text="hello", files=[vercel_file("days.csv", "text/csv", CSV)])
    shown = client.wait(lambda shown: shown["status"] == "error")
    assert shown["error"] == "A prompt can only have text here, and no file."
