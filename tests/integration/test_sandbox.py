"""Where agents work: the folders, and how the rules of the shared directory keep each agent in its own."""

from __future__ import annotations

import json
import os
import shutil
import stat
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_sessions import READ_WRITE, Session, Turn, evaluate
from opencode_sessions.errors import ConfigurationError
from opencode_sessions.files.errors import FileRefusedError
from opencode_sessions.files.ports import Due, FolderLayout
from opencode_sessions.files.sandbox import Sandbox
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord, MemoryRecordStore
from opencode_sessions.store.turn_table import TurnJob


def record_of(key, uid=None):
    """A record of a host's with any key."""
    store = MemoryRecordStore(MemoryRecord())
    store.key = key
    return SimpleNamespace(opencode_uid=uid, __opencode_store__=lambda **_: store)


def test_a_folder_is_private_and_made_once(tmp_path):
    sandbox = Sandbox(tmp_path / "a/b")
    record = record_of("conversations:42", "7d0c" * 8)
    folder = sandbox.create(record)
    assert folder == sandbox.create(record)
    for path in (folder, folder.parent, tmp_path / "a/b"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert folder.name.startswith("conversations-42-")
    assert sandbox.directory(record) == str(folder.parent)
    assert Sandbox(tmp_path / "a/b", layout=FolderLayout.OWN).directory(record) == str(folder)


@given(key=st.text(max_size=60), uid=st.none() | st.text(max_size=40))
def test_no_key_leads_out_of_the_root_and_two_never_meet(tmp_path_factory, key, uid):
    sandbox = Sandbox(tmp_path_factory.getbasetemp() / "keys")
    folder = sandbox.create(record_of(key, uid))
    assert folder.parent == sandbox.root / "folders"
    others = [(f"{key}0", uid), (key, f"{uid}0"), (f"{key}\0{uid}", None)]
    names = {sandbox.name(record_of(*each)) for each in [(key, uid), *others]}
    assert len(names) == 4
    assert all(name == os.path.normcase(name.lower()) for name in names)


def test_a_root_that_cannot_work_is_refused(tmp_path):
    for root in ("agents", "./agents"):
        with pytest.raises(ConfigurationError, match="absolute"):
            Sandbox(root)
    with pytest.raises(ConfigurationError, match=r"no \* and no \?"):
        Sandbox("/srv/a*")
    with pytest.raises(ConfigurationError, match="must have the layout SHARED"):
        Sandbox("/srv/agents", layout=FolderLayout.OWN, disk=False)
    (tmp_path / "project/.git").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="lies in the Git worktree"):
        Sandbox(tmp_path / "project/agents")
    sandbox = Sandbox(tmp_path / "later")
    (tmp_path / "later/.git").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="lies in the Git worktree"):
        sandbox.create(record_of("a:1"))
    for name in ("..", "a/b", "", "/etc"):
        with pytest.raises(FileRefusedError):
            sandbox.remove(name)


def test_a_folder_is_removed_but_not_what_a_link_in_its_place_leads_to(tmp_path):
    sandbox = Sandbox(tmp_path / "agents")
    record = record_of("a:1")
    folder, other = sandbox.create(record), tmp_path / "other"
    other.mkdir()
    (other / "file").touch()
    (folder / "link").symlink_to(other)
    assert sandbox.remove(folder.name)
    assert not sandbox.remove(folder.name)
    folder.symlink_to(other)
    assert sandbox.remove(folder.name)
    assert list(other.iterdir()) == [other / "file"]
    assert list(sandbox.names()) == []


def test_a_folder_in_which_an_agent_still_writes_is_removed_all_the_same(tmp_path, monkeypatch):
    sandbox = Sandbox(tmp_path)
    folder = tmp_path / "folders" / "chat_1"
    folder.mkdir(parents=True)
    removals, real = [], shutil.rmtree

    def meanwhile(path, **options):
        """Another file is there when the first removal has gone through, and one is gone before the second."""
        removals.append(path)
        if path == folder and removals.count(folder) == 1:
            (folder / "late.txt").write_text("late")
            folder.rmdir()
        if path == folder and removals.count(folder) == 2:
            (folder / "late.txt").unlink()
            raise FileNotFoundError(folder / "late.txt")
        real(path, **options)

    monkeypatch.setattr(shutil, "rmtree", meanwhile)
    assert sandbox.remove("chat_1")
    assert not folder.exists()
    assert removals.count(folder) == 3


def test_rules_keep_an_agent_in_its_folder_of_the_shared_directory(client, tmp_path):
    sandbox = Sandbox(tmp_path / "agents")
    record, other = MemoryRecord("mine"), MemoryRecord("other")
    mine, theirs = sandbox.create(record), sandbox.create(other)
    record.opencode_directory = sandbox.directory(record)
    for folder in (mine, theirs):
        (folder / "file").write_text("secret" if folder is theirs else "public")
    (mine / "link").symlink_to(theirs)
    (mine / "into").symlink_to(theirs / "file")
    name, beside = mine.name, theirs.name
    remembered, _ = sandbox.manifests(Due(TurnJob("a", "1", "", "a:1"), "a:1", "a:1", name))
    may = [
        ("read", {"filePath": f"{name}/file"}),
        ("read", {"filePath": str(mine)}),
        ("write", {"filePath": f"{name}/sub/new", "content": "x"}),
        ("edit", {"filePath": str(mine / "file"), "oldString": "public", "newString": "edited"}),
    ]
    may_not = [
        ("read", {"filePath": f"{beside}/file"}),
        ("read", {"filePath": str(theirs)}),
        ("read", {"filePath": str(theirs.parent)}),
        ("read", {"filePath": f"{name}/../{beside}/file"}),
        ("read", {"filePath": f"{name}/link/file"}),
        ("read", {"filePath": f"{name}/into"}),
        ("read", {"filePath": str(remembered)}),
        ("read", {"filePath": f"{name}/.env"}),
        ("write", {"filePath": f"{beside}/new", "content": "x"}),
        ("write", {"filePath": f"{name}/link/new", "content": "x"}),
        ("write", {"filePath": f"{name}0/new", "content": "x"}),
        ("write", {"filePath": "opencode.json", "content": "{}"}),
        ("write", {"filePath": f"{name}/.git/config", "content": "x"}),
        ("edit", {"filePath": f"{beside}/file", "oldString": "secret", "newString": "x"}),
        ("glob", {"pattern": "**/*"}),
        ("glob", {"pattern": "*", "path": beside}),
        ("grep", {"pattern": "secret"}),
        ("bash", {"command": "ls ..", "description": "d"}),
    ]
    session = Session(record, permissions_for=[*READ_WRITE, *sandbox.rules(record)])
    prompt = "\n".join(f"!tool {tool} {json.dumps(given)}" for tool, given in [*may, *may_not])
    result = Turn(MemoryMessage(prompt), session, client, system=sandbox.instructions(record)).run()
    assert result.status == "completed", result.error
    done = [part["status"] == "completed" and part["tool"] != "invalid" for part in result.tools]
    done = [
        each and "unavailable tool" not in str(part.get("output"))
        for each, part in zip(done, result.tools, strict=True)
    ]
    assert done == [True] * len(may) + [False] * len(may_not)
    assert "secret" not in json.dumps([part.get("output") for part in result.tools])
    assert sorted(path.name for path in theirs.iterdir()) == ["file"]
    assert (theirs / "file").read_text() == "secret"


def test_the_rules_need_no_plugin_to_tell_the_folder_from_one_with_a_longer_name(tmp_path):
    sandbox = Sandbox(tmp_path / "agents")
    record = record_of("a:1")
    rules = [*READ_WRITE, *sandbox.rules(record)]
    folder = str(sandbox.create(record)).lstrip("/")
    assert evaluate(rules, "edit", f"{folder}/a") == "allow"
    for path in (f"{folder}0/a", f"x/{folder}/a", folder):
        assert evaluate(rules, "edit", path) == "deny"
    own = Sandbox(tmp_path / "agents", layout=FolderLayout.OWN)
    assert (own.rules(record), own.instructions(record)) == ((), "")
