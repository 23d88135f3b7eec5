"""Two collectors of one turn, in whatever order, and killed wherever: each file is attached once."""

from __future__ import annotations

import inspect
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from opencode_sessions.files.artifacts import Artifacts
from opencode_sessions.files.collecting import Collection
from opencode_sessions.files.folders import DiskFolder
from opencode_sessions.files.limits import FileLimits
from opencode_sessions.files.manifest import Manifest, Stamp
from opencode_sessions.files.memory import MemoryArtifactStore
from opencode_sessions.files.ports import Due
from opencode_sessions.files.rows import columns_of
from opencode_sessions.files.safe_open import Folder
from opencode_sessions.files.sandbox import Sandbox
from opencode_sessions.files.storage import FolderStorage
from opencode_sessions.files.tool_calls import NamedFiles
from opencode_sessions.runtime.stepping import iterate_sync, run_sync
from opencode_sessions.runtime.threads import Threads
from opencode_sessions.store.messages import MessageState, TurnStatus
from opencode_sessions.store.turn_table import TurnJob

DUE = Due(TurnJob("messages", "1", "", "records:1"), "messages:1", "records:1", "work")
EXPECTED = {"a": ("created", b"a"), "b/c": ("created", b"c"), "gone": ("deleted", None)}


class Pause:
    """Suspends once."""

    def __await__(self):
        yield


class Stepped:
    """A store before and after each call of which somebody else may go on, or be killed."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        method = getattr(self._store, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*args, **options):
            await Pause()
            result = await method(*args, **options)
            await Pause()
            return result

        return call


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """The folder of an agent after its turn."""
    base = tmp_path_factory.mktemp("collecting")
    (base / "work/b").mkdir(parents=True)
    (base / "work/a").write_bytes(b"a")
    (base / "work/b/c").write_bytes(b"c")
    with Folder(base, "work") as folder:
        yield SimpleNamespace(
            bytes=base / "bytes", folder=DiskFolder(folder, Threads()), named=(str(base), f"{base}/work")
        )


def collector(work, store, **more):
    given = {
        "due": DUE,
        "row": MessageState("?"),
        "folder": work.folder,
        "before": Manifest({"gone": Stamp(1, 1, 1, 1)}),
        "after": nothing,
        "named": NamedFiles(*work.named),
        "store": store,
        "limits": FileLimits(),
        "transforms": (),
        "key": b"",
        "report": pytest.fail,
    }
    return Collection(**{**given, **more})


async def nothing():
    """No other turn has begun."""


def step(coroutine):
    """Let it go on to its next pause. False if it has ended."""
    try:
        coroutine.send(None)
    except StopIteration:
        return False
    return True


@given(st.lists(st.sampled_from(["first", "second", "kill first", "kill second"]), max_size=40))
@example(["first"] * 40 + ["second"] * 40)
@example(["first", "second"] * 40)
@example(["first"] * 7 + ["kill first"] + ["second"] * 40)
def test_each_file_is_attached_once(work, schedule):
    shutil.rmtree(work.bytes, ignore_errors=True)
    store = MemoryArtifactStore(FolderStorage(work.bytes))
    run_sync(store.expect(DUE, look_after=0))
    running = {name: collector(work, Stepped(store)).run(None) for name in ("first", "second")}
    for choice in schedule:
        *kill, name = choice.split()
        if name in running and (kill or not step(running[name])):
            running.pop(name).close()
    for coroutine in running.values():
        coroutine.close()
    if run_sync(store.find_due(DUE.message)) is not None:
        assert run_sync(store.list(DUE.message)) == []
        assert run_sync(collector(work, store).run(None))
    assert run_sync(collector(work, store).run(None)) is False
    found = {
        each.path: (each.kind, b"".join(iterate_sync(store.open(each.id))) if each.has_content else None)
        for each in run_sync(store.list(DUE.message))
    }
    assert found == EXPECTED


def test_of_collectors_that_are_not_killed_no_bytes_are_left(work):
    shutil.rmtree(work.bytes, ignore_errors=True)
    store = MemoryArtifactStore(FolderStorage(work.bytes))
    run_sync(store.expect(DUE, look_after=0))
    running = [collector(work, Stepped(store)).run(None) for _ in range(3)]
    while running:
        running = [each for each in running if step(each)]
    assert run_sync(store.left_over(older_than=-60)) == []
    assert len(run_sync(store.list(DUE.message))) == 3


def test_of_many_that_were_deleted_some_are_listed_and_the_others_are_counted(work):
    shutil.rmtree(work.bytes, ignore_errors=True)
    store = MemoryArtifactStore(FolderStorage(work.bytes))
    run_sync(store.expect(DUE, look_after=0))
    gone = Manifest({f"gone{number}": Stamp(1, 1, 1, 1) for number in range(5)})
    assert run_sync(collector(work, store, before=gone, limits=FileLimits(number=2)).run(None))
    found = run_sync(store.list(DUE.message))
    assert [each.path for each in found if each.kind == "deleted"] == ["gone0", "gone1"]
    assert [each.reason for each in found if each.kind == "skipped"] == [
        "3 more files are left out: there are too many, or they lie too deep"
    ]


class Turns:
    """A record's turns, whose rows are here; there is no server."""

    def __init__(self, folder):
        self.artifacts = Artifacts(
            Sandbox(folder / "agents"), MemoryArtifactStore(FolderStorage(folder / "bytes"))
        )
        self.rows, self.told = {}, []
        self.wire = SimpleNamespace(clock=Threads())
        self.work = self.artifacts.sandbox.root / "folders" / "work"

    async def read(self, _):
        return None, "work"

    key = "records:1"

    def begin(self, number):
        """Its prompt is about to be sent."""
        self.rows[number] = MessageState("?", status=TurnStatus.STREAMING)
        files = self.files(number)
        run_sync(files.open(self.wire, self))
        run_sync(files.begin(self.wire, Row(self, number)))

    def end(self, number):
        """It has ended: the kinds of its files, and their contents."""
        self.rows[number] = replace(self.rows[number], status=TurnStatus.COMPLETED)
        run_sync(self.files(number).collect(self.wire, Row(self, number), self.rows[number]))
        store = self.artifacts.store
        return {
            each.path: (
                each.kind,
                b"".join(iterate_sync(store.open(each.id))) if each.has_content else each.reason,
            )
            for each in run_sync(store.list(f"messages:{number}"))
        }

    def files(self, number):
        return self.artifacts.of_turn(TurnJob("messages", str(number), "", "records:1"), self.told.append)


class Row:
    def __init__(self, turns, number):
        self._turns, self._number, self.key = turns, number, f"messages:{number}"

    async def load(self):
        return self._turns.rows[self._number]

    def sibling(self, key):
        return Row(self._turns, int(key.rpartition(":")[2]))


def test_of_a_turn_that_was_left_what_the_next_one_did_not_change_is_kept(tmp_path):
    turns = Turns(tmp_path)
    turns.begin(1)
    for name in ("first", "both"):
        (turns.work / name).write_bytes(b"1")
    turns.begin(2)  # nobody has ended the first one
    (turns.work / "both").write_bytes(b"2")
    (turns.work / "second").write_bytes(b"2")
    changed = "the record's next turn changed it before it was kept"
    assert turns.end(1) == {"first": ("created", b"1"), "both": ("skipped", changed)}
    assert turns.end(2) == {"both": ("changed", b"2"), "second": ("created", b"2")}
    assert list((turns.artifacts.sandbox.root / "manifests" / "work").iterdir()) == []


def test_the_files_of_a_turn_that_has_ended_are_kept_before_the_next_one_changes_them(tmp_path):
    turns = Turns(tmp_path)
    turns.begin(1)
    (turns.work / "both").write_bytes(b"1")
    turns.rows[1] = replace(turns.rows[1], status=TurnStatus.FAILED)  # and its process died
    turns.begin(2)
    (turns.work / "both").write_bytes(b"2")
    assert turns.end(2) == {"both": ("changed", b"2")}
    assert turns.end(1) == {"both": ("created", b"1")}


def test_a_turn_begins_though_the_files_before_it_cannot_be_kept(tmp_path, monkeypatch):
    turns = Turns(tmp_path)
    turns.begin(1)
    (turns.work / "first").write_bytes(b"1")
    turns.rows[1] = replace(turns.rows[1], status=TurnStatus.FAILED)
    with monkeypatch.context() as patch:
        patch.setattr(FolderStorage, "store", away)
        turns.begin(2)
    (turns.work / "second").write_bytes(b"2")
    assert turns.end(2) == {"second": ("created", b"2")}
    assert turns.end(1) == {"first": ("created", b"1")}
    assert [type(error) for error in turns.told] == [ConnectionError]


NAMES = st.binary(min_size=1, max_size=20).filter(lambda name: not {0, 47} & set(name) and name.strip(b"."))


@given(st.lists(NAMES, unique=True, max_size=5))
@example([b"\xff", b"\xfe", b"a\nb", b" ", b"*?", "\u202e".encode()])
def test_a_file_of_any_name_is_kept_or_reported(tmp_path_factory, names):
    turns = Turns(tmp_path_factory.mktemp("names"))
    turns.begin(1)
    for name in names:
        Path(os.fsdecode(os.fsencode(turns.work) + b"/" + name)).write_bytes(name)
    kept = {path: content for path, (kind, content) in turns.end(1).items() if kind == "created"}
    assert kept == {name.decode(): name for name in names if _is_text(name)}
    rows = run_sync(turns.artifacts.store.list("messages:1"))
    assert (len(rows) == len(kept)) is all(map(_is_text, names))
    for row in rows:
        "".join(map(str, columns_of(row, "").values())).encode()  # or a database would refuse it


def _is_text(name):
    with suppress(UnicodeDecodeError):
        return bool(name.decode())
    return False


def away(*_):
    raise ConnectionError
