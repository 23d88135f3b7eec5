"""The files that an agent of the real server makes, on their way into a store."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from host_models import Conversation
from host_rows import AsyncRows, Rows, urls_of
from pictures import png
from sqlalchemy import MetaData

from opencode_sessions import TRUSTED
from opencode_sessions.files.artifacts import Artifacts
from opencode_sessions.files.errors import FileRefusedError
from opencode_sessions.files.limits import FileLimits
from opencode_sessions.files.memory import MemoryArtifactStore
from opencode_sessions.files.ports import Vouched
from opencode_sessions.files.sandbox import Sandbox
from opencode_sessions.files.storage import FolderStorage
from opencode_sessions.runtime.stepping import iterate_sync, run_sync
from opencode_sessions.sqlalchemy import ArtifactTables, SQLAlchemyArtifactStore
from opencode_sessions.turns.spec import TurnSpec


def tool(name, **arguments):
    return f"!tool {name} {json.dumps(arguments)}"


def bash(command):
    return tool("bash", command=command, description="does it")


class Kept:
    """A host that keeps the files of its turns."""

    def __init__(self, rows, folder, **options):
        self.rows = rows
        self.sandbox = Sandbox(folder / "sandbox")
        self.store = MemoryArtifactStore(FolderStorage(folder / "artifacts"))
        self.artifacts = Artifacts(self.sandbox, self.store, **options)
        self.record = rows.conversation()

    def host(self, **more):
        settings = {"permissions_for": TRUSTED, "directory": self.sandbox.server_folders, **more}
        return self.rows.host(artifacts=self.artifacts, **settings)

    @property
    def name(self):
        with self.rows.sessions() as db:
            return self.sandbox.name(db.get_one(Conversation, self.record))

    @property
    def folder(self):
        return f"{self.sandbox.server_folders}/{self.name}"

    def run(self, host, *lines):
        """The artifacts of a turn with these directives, by path."""
        prompt = "\n".join(lines).replace("FOLDER", self.folder)
        message = self.rows.ended(self.rows.send(host, prompt, self.record))
        assert message.status == "completed", message.error
        self.collected(message)
        return {each.path: each for each in run_sync(self.store.list(f"prompts:{message.id}"))}

    def collected(self, message):
        """Wait until the files of a turn are."""
        key = f"prompts:{message.id}"
        self.rows.until(message, lambda _: run_sync(self.store.find_due(key)) is None)

    def paths(self, message):
        return [each.path for each in run_sync(self.store.list(f"prompts:{message.id}"))]

    def content(self, artifact, start=0):
        return b"".join(iterate_sync(self.store.open(artifact.id, start=start)))


@pytest.fixture
def rows(server, request, tmp_path):
    with Rows(server, urls_of(request, tmp_path, "sqlite")[0]) as rows:
        yield rows
        assert rows.told == []


def test_a_file_that_a_tool_wrote_is_kept_and_what_the_shell_did_likewise(rows, tmp_path):
    kept = Kept(rows, tmp_path)
    with kept.host() as host:
        first = kept.run(
            host,
            tool("write", filePath="FOLDER/notes/plan.md", content="# Lisbon\n"),
            bash("cd FOLDER && printf 'a,b\\n' > table.csv && printf old > gone.txt"),
        )
        assert {path: each.kind for path, each in first.items()} == {
            "notes/plan.md": "created",
            "table.csv": "created",
            "gone.txt": "created",
        }
        plan = first["notes/plan.md"]
        assert (kept.content(plan), plan.size, plan.media_type) == (b"# Lisbon\n", 9, "text/markdown")
        assert plan.part_id
        assert not first["table.csv"].part_id
        second = kept.run(
            host,
            bash("cd FOLDER && rm gone.txt && mv table.csv 'new name.csv' && echo more >> notes/plan.md"),
        )
        assert {path: each.kind for path, each in second.items()} == {
            "gone.txt": "deleted",
            "table.csv": "deleted",
            "new name.csv": "created",
            "notes/plan.md": "changed",
        }
        assert run_sync(kept.store.previous(second["notes/plan.md"])) == plan
        assert kept.run(host, "hello") == {}


def test_what_a_sub_agent_writes_is_its_turns(rows, tmp_path):
    kept = Kept(rows, tmp_path)
    asked = tool("write", filePath="FOLDER/below.txt", content="from below\n") + "\n!say done"
    with kept.host() as host:
        task = {"description": "d", "prompt": asked, "subagent_type": "general"}
        found = kept.run(host, f"!tool task {json.dumps(task).replace('FOLDER', kept.folder)}")
    assert {path: each.kind for path, each in found.items()} == {"below.txt": "created"}
    assert found["below.txt"].part_id


def test_what_lies_outside_or_is_no_file_is_skipped_and_says_why(rows, tmp_path):
    kept = Kept(rows, tmp_path, limits=FileLimits(number=3, each=1000, together=1500, depth=3, told=5))
    outside = tmp_path / "sandbox" / "folders" / f"{kept.name}0" / "beside.txt"
    with kept.host() as host:
        found = kept.run(
            host,
            tool("write", filePath=str(outside), content="x"),
            bash(
                "cd FOLDER && ln -s /etc/passwd link && mkfifo pipe && mkdir -p a/b/c && echo deep > a/b/c/d.txt"
                " && head -c 1001 /dev/zero > large && head -c 900 /dev/zero > m1 && head -c 900 /dev/zero > m2"
                " && printf x > n1 && printf x > n2 && printf x > n3"
            ),
        )
    reasons = {path: each.reason for path, each in found.items() if each.kind == "skipped"}
    kept_files = sorted(path for path, each in found.items() if each.kind == "created")
    assert kept_files == ["m1", "n1", "n2"]
    assert reasons == {
        str(outside): "it lies outside the record's folder",
        "large": "it is larger than 1,000 bytes",
        "link": "it is a link",
        "m2": "the files of a turn may have 1,500 bytes together",
        "n3": "a turn keeps 3 files",
        "": "2 more files are left out: there are too many, or they lie too deep",
    }
    assert outside.read_text() == "x"


class Report:
    """Makes a page of the agent's JSON."""

    name = "report"

    def owns(self, path):
        return path.endswith(".report.html")

    def claims(self, file):
        return file.path.endswith(".json") and file.media_type == "application/json"

    def apply(self, file, content):
        rows = "".join(f"<li>{each}" for each in json.loads(content))
        return Vouched(path=f"{file.path}.report.html", content=rows.encode(), media_type="text/html")


def test_what_a_transform_makes_is_vouched_for_and_an_agent_cannot_make_it(rows, tmp_path):
    kept = Kept(rows, tmp_path, transforms=[Report()], key=b"k" * 32)
    with kept.host() as host:
        found = kept.run(
            host,
            tool("write", filePath="FOLDER/data.json", content="[1, 2]"),
            tool("write", filePath="FOLDER/evil.report.html", content="<script>"),
        )
        made = found["data.json.report.html"]
        assert (kept.content(made), made.author, made.media_type) == (b"<li>1<li>2", "report", "text/html")
        vouched = {path for path, each in found.items() if kept.artifacts.is_vouched_for(each)}
        assert vouched == {"data.json.report.html"}
        assert "only the host's transform 'report'" in found["evil.report.html"].reason
        for change in (
            {"path": "x.report.html"},
            {"sha256": "0" * 64},
            {"message": "m:1"},
            {"media_type": "x/y"},
        ):
            assert not kept.artifacts.is_vouched_for(replace(made, **change))
        again = kept.run(host, tool("write", filePath="FOLDER/data.json", content="not JSON"))
    assert {path: each.kind for path, each in again.items()} == {
        "data.json": "changed",
        "data.json by report": "skipped",
    }
    [(action, error)] = rows.told
    assert (action, type(error)) == ("collect", json.JSONDecodeError)
    rows.told.clear()


@pytest.mark.full
def test_pictures_that_tools_return_are_kept_but_not_what_is_read(rows, tmp_path):
    kept, picture = Kept(rows, tmp_path), png(20, 20)
    with served(picture) as url, kept.host() as host:
        found = kept.run(
            host,
            tool("webfetch", url=url, format="markdown"),
            bash(f"curl -s {url} > FOLDER/mine.png"),
            tool("read", filePath="FOLDER/mine.png"),
        )
    returned, mine = sorted(found, reverse=True)
    assert (mine, returned.startswith("tool-output/prt_")) == ("mine.png", True)
    for path in (returned, mine):
        assert (kept.content(found[path]), found[path].media_type) == (picture, "image/png")
    assert found[returned].part_id


@contextmanager
def served(content):
    """The URL of a picture."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "image/png")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/p.png"
        server.shutdown()


@pytest.mark.full
def test_a_turn_that_is_cancelled_or_fails_keeps_its_files(rows, tmp_path):
    kept = Kept(rows, tmp_path)
    written = tool("write", filePath=f"{kept.folder}/a.txt", content="a")
    with kept.host() as host:
        message = rows.send(host, f"{written}\n{bash('sleep 60')}", kept.record)
        rows.until(message, lambda row: len(row.parts) > 1)
        assert host.cancel(rows.row(message), by="test")
        assert kept.paths(message) == ["a.txt"]
        failing = f"{written.replace('a.txt', 'b.txt')}\n!error 400 no\n!say x"
        failed = rows.ended(rows.send(host, failing, kept.record))
        assert failed.status == "failed"
        kept.collected(failed)
        assert kept.paths(failed) == ["b.txt"]


@pytest.mark.full
def test_a_turn_begins_when_the_files_of_the_one_before_are_collected(rows, tmp_path, monkeypatch):
    kept = Kept(rows, tmp_path)
    monkeypatch.setattr(TurnSpec, "collect_files", nothing)  # as if its process had died
    with kept.host() as host:
        first = rows.ended(rows.send(host, bash(f"echo one > {kept.folder}/file"), kept.record))
    assert kept.paths(first) == []
    monkeypatch.undo()
    with kept.host(recover=False) as host:
        second = kept.run(host, bash("echo two > FOLDER/file"))
        assert [each.kind for each in second.values()] == ["changed"]
        [of_first] = run_sync(kept.store.list(f"prompts:{first.id}"))
        assert (of_first.kind, kept.content(of_first)) == ("created", b"one\n")


async def nothing(*args):
    """Nobody collects."""


@pytest.mark.full
def test_without_a_manifest_only_what_tools_named_is_kept_and_it_says_so(rows, tmp_path, monkeypatch):
    kept = Kept(rows, tmp_path)
    monkeypatch.setattr(TurnSpec, "collect_files", nothing)
    with kept.host() as host:
        written = tool("write", filePath=f"{kept.folder}/named", content="x")
        message = rows.ended(rows.send(host, f"{written}\n{bash(f'touch {kept.folder}/other')}", kept.record))
    monkeypatch.undo()
    [path] = (tmp_path / "sandbox" / "manifests" / kept.name).iterdir()
    path.write_text("{")
    with kept.host() as host:
        host.dispatch(host.table.job_of(rows.row(message)))
        kept.collected(message)
    found = {each.path: each for each in run_sync(kept.store.list(f"prompts:{message.id}"))}
    assert {path: each.kind for path, each in found.items()} == {"named": "created", "": "skipped"}
    assert "not known" in found[""].reason


@pytest.mark.full
def test_a_folder_that_is_a_link_by_now_is_reported_and_nothing_is_read(rows, tmp_path):
    kept = Kept(rows, tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "secret").write_text("secret")
    with kept.host() as host:
        found = kept.run(host, bash(f"rmdir FOLDER && ln -s {tmp_path}/other FOLDER"))
    assert found == {}
    assert [(action, type(error)) for action, error in rows.told] == [("collect", FileRefusedError)]
    rows.told.clear()


@pytest.mark.full
def test_with_asyncio_it_is_the_same(server, request, tmp_path):
    async def main():
        async with AsyncRows(server, url) as rows:
            metadata = MetaData()
            tables = ArtifactTables.add_to(metadata)
            async with rows.engine.begin() as connection:
                await connection.run_sync(metadata.create_all)
            store = SQLAlchemyArtifactStore(tables, rows.sessions, FolderStorage(tmp_path / "bytes"))
            sandbox = Sandbox(tmp_path / "sandbox")
            record = await rows.conversation()
            async with rows.sessions() as db:
                name = sandbox.name(await db.get_one(Conversation, record))
            settings = {"permissions_for": TRUSTED, "directory": sandbox.server_folders}
            async with rows.host(artifacts=Artifacts(sandbox, store), **settings) as host:
                prompt = bash(
                    f"cd {sandbox.server_folders}/{name} && head -c 1000000 /dev/zero > large && echo x > small"
                )
                message = await rows.ended(await rows.send(host, prompt, record))
                key = f"prompts:{message.id}"
                while await store.find_due(key):  # noqa: ASYNC110 - what is polled is a row
                    await asyncio.sleep(0.05)
            sizes = {each.path: each.size for each in await store.list(key)}
            assert (sizes, rows.told) == ({"large": 1_000_000, "small": 2}, [])

    url = urls_of(request, tmp_path, "sqlite")[1]
    asyncio.run(main())


def test_without_a_shared_disk_files_are_read_through_the_server_and_no_link_is(rows, tmp_path):
    kept = Kept(rows, tmp_path)
    kept.sandbox = Sandbox(tmp_path / "sandbox", disk=False)
    kept.artifacts = replace(kept.artifacts, sandbox=kept.sandbox, limits=FileLimits(each=3_000_000))
    beside = tmp_path / "sandbox" / "folders" / "beside"
    beside.mkdir(parents=True)
    (beside / "secret.txt").write_text("secret")
    written = {
        "a b#c?d%25é.txt": "odd\n",
        "sub/p.html": "<b>\n",
        "s.txt": "x",
        "d/secret.txt": "x",
        "big": "x",
        "huge": "x",
    }
    with kept.host() as host:
        found = kept.run(
            host,
            *(tool("write", filePath=f"FOLDER/{path}", content=text) for path, text in written.items()),
            bash(
                "cd FOLDER && rm -r s.txt d && ln -s ../beside d && ln -s ../beside/secret.txt s.txt && touch more"
                " && head -c 2500000 /dev/urandom > big && head -c 3000001 /dev/zero > huge"
            ),
        )
    contents = {path: kept.content(each) for path, each in found.items() if each.kind == "created"}
    assert contents.pop("big") == (tmp_path / "sandbox/folders" / kept.name / "big").read_bytes()
    assert contents == {"a b#c?d%25é.txt": b"odd\n", "sub/p.html": b"<b>\n"}
    assert {path: each.reason for path, each in found.items() if each.kind == "skipped"} == {
        "s.txt": "it is gone, is a link, or is no regular file",
        "d/secret.txt": "what leads to it is a link, or no folder",
        "huge": "it is larger than 3,000,000 bytes",
    }
