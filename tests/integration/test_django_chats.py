"""Django's views of chat protocols, with the protocols' own clients; all that is not Django's is tested elsewhere."""

from __future__ import annotations

import json

import httpx2
import pytest
from django.test import override_settings
from fix_django_views import WEB

from opencode_sessions.files import Artifacts, FolderLayout, FolderStorage, Sandbox, Uploads
from opencode_sessions.files.memory import MemoryArtifactStore

BASH = '!tool bash {"command": "echo %s", "description": "greets"}'


@pytest.fixture
def chats(pages, web_settings):
    said = {"CHATS": "web_project.chats.Chats", "PERMISSIONS_FOR": "web_project.policy.ask_for_bash"}
    with override_settings(**WEB, OPENCODE={**web_settings, **said}):
        yield pages


@pytest.fixture(params=["asgi", "wsgi"])
def served(request, chats):
    """The address of the views, and what a front end's requests need."""
    address = request.getfixturevalue(request.param)
    page = httpx2.get(f"{address}/token", timeout=100)
    token = page.cookies["csrftoken"]
    headers = {"cookie": f"csrftoken={token}", "x-csrftoken": token, "x-who": "owner"}
    return f"{address}/opencode/chats", headers


def is_over(shown):
    return shown["status"] in ("ready", "error") and shown["messages"][-1]["role"] == "assistant"


def calls(shown, state):
    return [
        part for part in shown["messages"][-1]["parts"] if part.get("state") == state and "toolName" in part
    ]


def test_agui_talks_to_django(served, start_client):
    url, headers = f"{served[0]}/agui", served[1]
    client = start_client("agui", url, "django", **headers)
    client("send", text=BASH % "yes")
    shown = client.wait(lambda shown: not shown["running"] and shown["interrupts"])
    given = [
        {"interruptId": shown["interrupts"][0]["id"], "status": "resolved", "payload": {"approved": True}}
    ]
    client("resume", resume=given)
    shown = client.wait(lambda shown: not shown["running"] and shown["outcome"] == "success")
    said = shown["messages"]
    assert said == httpx2.get(f"{url}/django", headers=headers, timeout=100).json()
    client("reload")
    assert client.wait(lambda shown: not shown["running"] and shown["outcome"])["messages"] == said
    client("resume", resume=given)
    assert "waits for no answer" in client.wait(lambda shown: shown["error"])["error"]
    assert client("stop")["custom"]["stopped"] == 200  # it has ended, says an event


def test_the_vercel_sdk_talks_to_django(served, start_client):
    url, headers = f"{served[0]}/vercel", served[1]
    client = start_client("vercel", url, "django", **headers)
    client("send", text=BASH % "yes")
    shown = client.wait(lambda shown: is_over(shown) and calls(shown, "approval-requested"))
    answered = json.loads(json.dumps(shown["messages"]))
    client("approve", id=calls(shown, "approval-requested")[0]["approval"]["id"], approved=True)
    shown = client.wait(lambda shown: is_over(shown) and calls(shown, "output-available"))
    assert shown["events"] == ["tool-calls", "stop"]
    said = shown["messages"][-1]
    client("reload")
    shown = client.wait(lambda shown: is_over(shown) and shown["events"])
    assert shown["messages"][-1] == said
    assert client("stop")["events"][-1] == 409  # it has ended
    calls({"messages": answered}, "approval-requested")[0].update(state="approval-responded")
    answered[-1]["parts"][0]["approval"]["approved"] = True
    response = httpx2.post(url, json={"id": "django", "messages": answered}, headers=headers, timeout=100)
    assert (response.status_code, "waits for no answer" in response.text) == (409, True)
    refused = httpx2.get(f"{url}/django", headers={"x-who": "else"}, timeout=100)
    assert (refused.status_code, refused.text) == (404, "There is no such chat, or not for you.")
    client("regenerate")
    assert client.wait(lambda shown: shown["status"] == "error")["error"].startswith(
        "There is nothing to be tried"
    )


@pytest.fixture
def with_files(chats, web_settings, tmp_path, monkeypatch):
    from chat_project.chat.models import Conversation  # noqa: PLC0415 - not before Django is configured

    sandbox = Sandbox(tmp_path / "agents", layout=FolderLayout.OWN)
    monkeypatch.setattr(Conversation, "opencode_directory", property(sandbox.directory), raising=False)
    said = {
        "CHATS": "web_project.chats.Chats",
        "UPLOADS": Uploads(tmp_path / "uploads", work_folder=sandbox),
        "ARTIFACTS": Artifacts(
            sandbox, MemoryArtifactStore(FolderStorage(tmp_path / "kept"), suspends=False)
        ),
    }
    with override_settings(OPENCODE={**web_settings, **said}):
        yield


@pytest.mark.full
def test_files_go_in_and_out_through_django(with_files, served, start_client, tmp_path):
    url, headers, chat = f"{served[0]}/vercel", served[1], tmp_path.name
    table = {
        "type": "file",
        "filename": "days.csv",
        "mediaType": "text/csv",
        "url": "data:text/csv;base64,YQox",
    }
    client = start_client("vercel", url, chat, **headers)
    write = json.dumps({"filePath": "plan.md", "content": "# Rome"})
    client("send", text=f"!tool write {write}\n!say Done.", files=[table])
    shown = client.wait(lambda shown: shown["events"] or shown["error"])
    assert (shown["error"], shown["events"]) == (None, ["stop"])
    (made,) = (part for part in shown["messages"][-1]["parts"] if part["type"] == "file")
    asked, answered = httpx2.get(f"{url}/{chat}", headers=headers, timeout=100).json()
    assert made in answered["parts"]
    host = url.partition("/opencode")[0]
    found = [
        httpx2.get(f"{host}{each['url']}", headers=headers, timeout=100) for each in (asked["parts"][1], made)
    ]
    assert [each.text for each in found] == ["a\n1", "# Rome"]
    assert httpx2.get(f"{host}{made['url']}", headers={"x-who": "else"}, timeout=100).status_code == 404
    program = {**table, "url": "data:;base64,f0VMRgAAAAAAAAAAAAAAAA=="}
    client("send", text="hello", files=[program])
    assert "of a type that is not taken" in client.wait(lambda shown: shown["status"] == "error")["error"]
