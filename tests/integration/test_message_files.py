"""The files of a message over HTTP, from Django and from Starlette: for who may see it, sealed, and in parts."""

from __future__ import annotations

import asyncio
import io
import json
import re
import zipfile

import pytest
from django.test import Client
from host_models import Conversation, Prompt
from host_rows import AsyncRows, urls_of
from pictures import png
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from opencode_sessions.files.artifacts import Artifacts
from opencode_sessions.files.memory import MemoryArtifactStore
from opencode_sessions.files.ports import Artifact, FileKind
from opencode_sessions.files.sandbox import Sandbox
from opencode_sessions.files.storage import FolderStorage
from opencode_sessions.files.uploads import Uploads
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.starlette import turn_routes

PAGE = b"<script>alert(document.cookie)</script>"
OWNER = {"X-Who": "owner"}
SEALED = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Content-Type": "application/octet-stream",
    "Content-Encoding": "identity",
}


async def pieces(content):
    yield content


class Site:
    """A host with a message: a file was sent with it, and its agent has made some."""

    def __init__(self, folder, *, suspends):
        self.uploads = Uploads(folder / "uploads", work_folder=lambda _: folder / "work")
        self.store = MemoryArtifactStore(FolderStorage(folder / "kept"), suspends=suspends)
        self.artifacts = Artifacts(Sandbox(folder / "sandbox"), self.store)

    def sent(self, record):
        return self.uploads.save(record, [("my page.html", io.BytesIO(PAGE))])

    async def made(self, message):
        for of, path, content, kind in (
            ("conversations:0:earlier", "plan.md", b"# Rome", "created"),
            (message, "plan.md", b"# Lisbon", "changed"),
            (message, "dot.png", png(20, 20), "created"),
            (message, "sub/page.html", PAGE, "created"),
            (message, "days.csv", b"day,city\n1,Rome\n", "created"),
        ):
            types = {"md": "text/markdown", "png": "image/png", "html": "text/html", "csv": "text/csv"}
            told = {"record": "conversations:1", "media_type": types[path.rpartition(".")[2]]}
            await self.store.put(
                Artifact(message=of, path=path, kind=FileKind(kind), **told), pieces(content)
            )
        skipped = Artifact(
            message=message,
            record="conversations:1",
            path="big.iso",
            kind=FileKind.SKIPPED,
            reason="it is too large",
            id="skipped",
        )
        await self.store._add([(skipped, "")])


@pytest.fixture
def django_site(pages, web_settings, tmp_path):
    """`get(path)` below the files of a message, as its owner or with other headers."""
    site = Site(tmp_path, suspends=False)
    with pages.configured(web_settings, UPLOADS=site.uploads, ARTIFACTS=site.artifacts):
        conversation = pages.conversation()
        message = pages.message("hello", conversation, opencode_uploads=site.sent(conversation))
        run_sync(site.made(message.__opencode_store__(asynchronous=False).key))

        def get(path="", *, method="get", **headers):
            url = pages.address("files", message) + path
            answer = getattr(Client(headers={**OWNER, **headers}), method)(url)
            body = b"".join(answer.streaming_content) if answer.streaming else answer.content
            return answer.status_code, answer.headers, body

        get.pages, get.message = pages, message
        yield get


@pytest.fixture
def starlette_site(server, request, tmp_path):
    site = Site(tmp_path, suspends=True)
    url = urls_of(request, tmp_path, "sqlite")[1]

    async def prepare():
        async with AsyncRows(server, url) as rows, rows.sessions.begin() as db:
            db.add(record := Conversation(title="Lisbon"))
            await db.flush()
            db.add(
                message := Prompt(prompt="x", conversation_id=record.id, opencode_uploads=site.sent(record))
            )
            await db.flush()
            await site.made(f"prompts:{message.id}")
            return message.id

    pk = asyncio.run(prepare())
    rows = AsyncRows(server, url)
    host = rows.host(uploads=site.uploads, artifacts=site.artifacts)
    routes = turn_routes(host, may_see=lambda request, _: request.headers.get("X-Who") == "owner")
    with TestClient(Starlette(routes=[Mount("/turns", routes=routes)], lifespan=host.lifespan)) as client:

        def get(path="", *, method="get", **headers):
            answer = getattr(client, method)(f"/turns/prompts/{pk}/files{path}", headers={**OWNER, **headers})
            return answer.status_code, answer.headers, answer.content

        yield get
        client.portal.call(rows.engine.dispose)


@pytest.fixture(params=["django", "starlette"])
def get(request):
    return request.getfixturevalue(f"{request.param}_site")


def ids(get):
    """By path, from whatever the list is."""
    _, headers, body = get()
    if "json" in headers["Content-Type"]:
        return {file["path"]: file["id"] for file in json.loads(body)["files"]}
    message = get.message
    from opencode_sessions.django.files import files_of_message  # noqa: PLC0415 - Django is configured by now

    return {file.path: file.id for file in files_of_message(message)}


def test_a_file_is_downloaded_sealed_whole_in_part_or_not_again(get):
    found = ids(get)
    page = found["sub/page.html"]
    status, headers, body = get(f"/{page}")
    assert (status, body) == (200, PAGE)
    assert {name: headers[name] for name in SEALED} == SEALED
    assert headers["Content-Disposition"] == 'attachment; filename="page.html"'
    assert get(f"/{page}", Range="bytes=1-6")[::2] == (206, b"script")
    assert get(f"/{page}", Range="bytes=999-")[::2] == (416, b"")
    status, again, body = get(f"/{page}", **{"If-None-Match": headers["ETag"]})
    assert (status, body, again["ETag"]) == (304, b"", headers["ETag"])
    status, headers, body = get(f"/{page}", method="head")
    assert (status, headers["Content-Length"], body) == (200, str(len(PAGE)), b"")
    (sent,) = [each for path, each in found.items() if path.startswith("uploads/")]
    status, headers, body = get(f"/{sent}", Range="bytes=-9")
    assert (status, body, headers["Content-Disposition"]) == (
        206,
        b"</script>",
        'attachment; filename="my page.html"',
    )


def test_who_may_not_see_the_message_gets_nothing_and_nobody_gets_another_messages_file(get):
    found = ids(get)
    for path in (
        "",
        ".zip",
        *(f"/{found['plan.md']}{more}" for more in ("", "/preview", "/picture", "/changes")),
    ):
        assert get(path, **{"X-Who": "stranger"})[0] == 404
    for path in ("/nothing", "/nothing/preview", f"/{found['big.iso']}", "/msg_1/prt_1"):
        assert get(path)[0] == 404


def test_all_that_the_agent_has_made_comes_as_one_zip(get):
    status, headers, body = get(".zip")
    assert (status, headers["Content-Type"]) == (200, "application/zip")
    assert headers["Content-Disposition"] == 'attachment; filename="files.zip"'
    with zipfile.ZipFile(io.BytesIO(body)) as opened:
        assert sorted(opened.namelist()) == ["days.csv", "dot.png", "plan.md", "sub/page.html"]
        assert opened.read("plan.md") == b"# Lisbon"


def test_previews_are_rendered_by_us(get):
    found = ids(get)
    status, headers, body = get(f"/{found['sub/page.html']}/preview")
    assert status == 200
    assert (
        b"<script>" not in body if "html" in headers["Content-Type"] else json.loads(body)["type"] == "text"
    )
    shown = get(f"/{found['plan.md']}/preview")[2]
    assert b"Lisbon" in shown
    assert b"Rome" in get(f"/{found['days.csv']}/preview")[2]
    assert b"/picture" in get(f"/{found['dot.png']}/preview")[2]
    status, headers, body = get(f"/{found['dot.png']}/picture")
    assert (status, headers["Content-Type"], body[:4]) == (200, "image/webp", b"RIFF")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert get(f"/{found['dot.png']}/picture", **{"If-None-Match": headers["ETag"]})[0] == 304
    assert get(f"/{found['plan.md']}/picture")[0] == 404


def test_what_has_changed_since_the_version_before_is_told(get):
    found = ids(get)
    status, _, body = get(f"/{found['plan.md']}/changes")
    assert status == 200
    assert b"Rome" in body
    assert b"Lisbon" in body
    assert get(f"/{found['days.csv']}/changes")[0] == 404


def test_the_list_of_starlette_is_json(starlette_site):
    listed = json.loads(starlette_site()[2])
    assert listed["due"] is False
    assert listed["archive"].endswith("/files.zip")
    first, *made = listed["files"]
    assert (first["name"], first["kind"], first["media_type"]) == ("my page.html", "uploaded", "text/html")
    assert [each["path"] for each in made] == ["big.iso", "days.csv", "dot.png", "plan.md", "sub/page.html"]
    skipped, *_, plan, _ = made
    assert (skipped["kind"], skipped["reason"], skipped["url"]) == ("skipped", "it is too large", "")
    assert starlette_site(plan["url"].partition("/files")[2])[2] == b"# Lisbon"
    assert starlette_site(plan["changes"].partition("/files")[2])[0] == 200


def test_the_list_of_django_is_a_part_of_a_page(django_site):
    from opencode_sessions.django.html import render_uploads  # noqa: PLC0415 - Django is configured by now

    _, headers, body = django_site()
    html = body.decode()
    assert headers["Content-Type"].startswith("text/html")
    assert [name in html for name in ("plan.md", "big.iso", "my page.html")] == [True, True, False]
    assert "not kept: it is too large" in html
    assert "files.zip" in html
    assert "my page.html" in render_uploads(django_site.message)


def test_starlette_serves_what_a_tool_returned_at_the_address_that_its_events_tell(server, request, tmp_path):
    rows = AsyncRows(server, urls_of(request, tmp_path, "sqlite")[1])
    host = rows.host()
    prompt = ""
    for name, size in (("small.png", 20), ("large.png", 200)):  # the row holds the small one only
        (tmp_path / name).write_bytes(png(size, size))
        prompt += f"!tool read {json.dumps({'filePath': str(tmp_path / name)})}\n"

    async def send(_request):
        return PlainTextResponse(str((await rows.send(host, prompt)).id))

    app = Starlette(
        routes=[
            Mount("/turns", routes=turn_routes(host, may_see=lambda *_: True)),
            Route("/send", send, methods=["POST"]),
        ],
        lifespan=host.lifespan,
    )
    with TestClient(app) as client:
        pk = client.post("/send").text
        told = client.get(f"/turns/prompts/{pk}/events").text
        found = sorted(set(re.findall(rf'"(/turns/prompts/{pk}/files/msg_\w+/prt_\w+)"', told)))
        answers = [client.get(address) for address in found]
        assert {answer.content for answer in answers} == {png(20, 20), png(200, 200)}
        for answer in answers:
            assert (answer.headers["Content-Type"], answer.headers["X-Content-Type-Options"]) == (
                "image/png",
                "nosniff",
            )
        for none in ("0/0", "msg_0/0", "%00/0"):  # the server has none, or refuses to look for it
            assert client.get(f"/turns/prompts/{pk}/files/{none}").status_code == 404
        client.portal.call(rows.engine.dispose)


@pytest.mark.full
def test_django_streams_files_under_asgi_too(django_site, asgi):
    import httpx2  # noqa: PLC0415

    found = ids(django_site)
    base = asgi + django_site.pages.address("files", django_site.message)
    with httpx2.Client(headers=OWNER, timeout=100) as client:
        assert client.get(f"{base}/{found['sub/page.html']}").content == PAGE
        assert client.get(f"{base}/{found['sub/page.html']}", headers={"Range": "bytes=0-0"}).content == b"<"
        answer = client.get(f"{base}.zip")
        assert answer.status_code == 200, answer.text
        with zipfile.ZipFile(io.BytesIO(answer.content)) as opened:
            assert opened.testzip() is None
