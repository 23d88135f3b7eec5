"""The files that an agent of the real server makes, on their way into a store."""

from __future__ import annotations

import json

import pytest
from host_models import Conversation
from host_rows import Rows, urls_of

from opencode_sessions import allow
from opencode_sessions.files.artifacts import Artifacts
from opencode_sessions.files.memory import MemoryArtifactStore
from opencode_sessions.files.sandbox import Sandbox
from opencode_sessions.files.storage import FolderStorage
from opencode_sessions.runtime.stepping import iterate_sync, run_sync


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
        settings = {"permissions_for": [allow("*")], "directory": self.sandbox.server_folders, **more}
        return self.rows.host(artifacts=self.artifacts, **settings)

    @property
    def name(self):
        with self.rows.sessions() as db:
            return self.sandbox.name(db.get_one(Conversation, self.record))

    def run(self, host, *lines):
        """The artifacts of a turn with these directives, by path."""
        prompt = "\n".join(lines).replace("FOLDER", f"{self.sandbox.server_folders}/{self.name}")
        message = self.rows.ended(self.rows.send(host, prompt, self.record))
        assert message.status == "completed", message.error
        key = f"prompts:{message.id}"
        self.rows.until(message, lambda _: run_sync(self.store.find_due(key)) is None)
        return {each.path: each for each in run_sync(self.store.list(key))}

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
