"""Two collectors of one turn, in whatever order, and killed wherever: each file is attached once."""

from __future__ import annotations

import inspect
import shutil
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from opencode_sessions.files.collecting import Collection
from opencode_sessions.files.folders import DiskFolder
from opencode_sessions.files.limits import FileLimits
from opencode_sessions.files.manifest import Manifest, Stamp
from opencode_sessions.files.memory import MemoryArtifactStore
from opencode_sessions.files.ports import Due
from opencode_sessions.files.safe_open import Folder
from opencode_sessions.files.storage import FolderStorage
from opencode_sessions.files.tool_calls import NamedFiles
from opencode_sessions.runtime.stepping import iterate_sync, run_sync
from opencode_sessions.runtime.threads import Threads
from opencode_sessions.store.messages import MessageState
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
        "named": NamedFiles(*work.named),
        "store": store,
        "limits": FileLimits(),
        "transforms": (),
        "key": b"",
        "report": pytest.fail,
    }
    return Collection(**{**given, **more})


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
