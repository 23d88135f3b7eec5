"""What it costs to keep the files of a turn, and what each layout of folders costs the server."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, create_engine

from opencode_sessions import TRUSTED, Client, OpencodeServer, Session, Timeouts, Turn
from opencode_sessions.files.collecting import Collection
from opencode_sessions.files.folders import DiskFolder
from opencode_sessions.files.limits import FileLimits
from opencode_sessions.files.manifest import Manifest, load_manifest, store_manifest, take_manifest
from opencode_sessions.files.ports import Due, FolderLayout
from opencode_sessions.files.safe_open import Folder
from opencode_sessions.files.sandbox import Sandbox
from opencode_sessions.files.storage import FolderStorage
from opencode_sessions.files.tool_calls import NamedFiles
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.runtime.threads import Threads
from opencode_sessions.sqlalchemy import ArtifactTables, SQLAlchemyArtifactStore
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.store.messages import MessageState
from opencode_sessions.store.turn_table import TurnJob
from opencode_sessions.testing import ScriptedModel
from opencode_sessions.wire.memory import group_memory

_MB = 1024 * 1024
_TIMES = 5
_LAYOUTS: tuple[tuple[FolderLayout, int, Mapping[str, Any] | None], ...] = (
    (FolderLayout.SHARED, 200, {}),
    (FolderLayout.SHARED, 200, None),
    (FolderLayout.OWN, 40, {}),
    (FolderLayout.OWN, 40, None),
)
"""The layout, with how many records it is measured, and the server's catalogue of models: `None` is its own."""

_PATIENT = Timeouts(connect=120.0, read=120.0, creation=120.0)
"""Long timeouts, because this bench measures memory, not time."""

_ALL = 200
"""Records for which the figures are told, measured or extrapolated."""


def measure() -> list[tuple[str, ...]]:
    """Files from a folder into a folder, with rows in SQLite; the least of some runs."""
    rows: list[tuple[str, ...]] = [("what", "copying", "keeping", "ratio", "memory, MB")]
    for what, count, size in (
        ("1 × 10 MB", 1, 10 * _MB),
        ("1,000 × 10 KB", 1_000, 10 * 1024),
        ("1 × 200 MB", 1, 200 * _MB),
    ):
        with _made(count, size) as base:
            copying = min(_copied(base) for _ in range(_TIMES))
            keeping = min(_kept(base) for _ in range(_TIMES))
            figures = (_ms(copying), _ms(keeping), f"{keeping / copying:.1f}")
            rows.append((what, *figures, f"{_kept(base, traced=True):.1f}"))
    rows += _manifests()
    return rows


def measure_layouts() -> list[tuple[str, ...]]:
    """The server's memory before and after a turn in each of some records: all its processes', resident."""
    head = ("layout", "models", "records", "before, MB", "after, MB", "a record, MB", f"of {_ALL}, GB")
    rows: list[tuple[str, ...]] = [head]
    for layout, records, models in _LAYOUTS:
        with ScriptedModel() as model, _server(model, models) as server:
            before, after = _grown(server, layout, records)
        each = (after - before) / records
        total = f"{(before + _ALL * each) / 1024:.1f}" + ("" if records == _ALL else ", extrapolated")
        catalogue = "its own" if models is None else "{}"
        figures = (str(records), f"{before:.0f}", f"{after:.0f}", f"{each:.1f}", total)
        rows.append((layout.value, catalogue, *figures))
    return rows


def _server(model: ScriptedModel, models: Mapping[str, Any] | None) -> OpencodeServer:
    return OpencodeServer(config=model.config(), models=models, startup_timeout=120.0)


def _grown(server: OpencodeServer, layout: FolderLayout, records: int) -> tuple[float, float]:
    """Its memory in MB, with one record and with some more."""

    def memory() -> float:
        return (group_memory(server.pid) or 0) / _MB

    with (
        tempfile.TemporaryDirectory() as base,
        Client(server.url, password=server.password, timeouts=_PATIENT) as client,
    ):
        sandbox = Sandbox(base, layout=layout)
        _turn(sandbox, client)
        before = memory()
        for _ in range(records):
            _turn(sandbox, client)
        return before, memory()


def _turn(sandbox: Sandbox, client: Client) -> None:
    record = MemoryRecord("bench")
    sandbox.create(record)
    record.opencode_directory = sandbox.directory(record)
    Turn(MemoryMessage("hello"), Session(record, permissions_for=TRUSTED), client).run()


@contextmanager
def _made(count: int, size: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as base:
        (Path(base) / "work").mkdir()
        for number in range(count):
            (Path(base) / "work" / f"{number}.bin").write_bytes(os.urandom(size))
        yield Path(base)


def _copied(base: Path) -> float:
    """How many seconds it takes to copy them."""
    taken = _seconds(lambda: shutil.copytree(base / "work", base / "copy"))
    shutil.rmtree(base / "copy")
    return taken


def _kept(base: Path, *, traced: bool = False) -> float:
    """How many seconds the collecting takes; or how many MB of memory at most."""
    engine = create_engine(f"sqlite:///{base}/rows.sqlite3")
    metadata = MetaData()
    tables = ArtifactTables.add_to(metadata)
    metadata.create_all(engine)
    store = SQLAlchemyArtifactStore(tables, engine, FolderStorage(base / "bytes"))
    due = Due(TurnJob("messages", "1", "", "records:1"), "messages:1", "records:1", "work")
    run_sync(store.expect(due, look_after=60))
    folder = DiskFolder(Folder(base, "work"), Threads())
    collection = Collection(
        due=due,
        row=MessageState("?"),
        folder=folder,
        before=Manifest({}),
        after=_nothing,
        named=NamedFiles(str(base), f"{base}/work"),
        store=store,
        limits=FileLimits(number=10_000, each=1024 * _MB, together=1024 * _MB),
        transforms=(),
        key=b"",
        report=print,
    )
    if traced:
        tracemalloc.start()
    taken = _seconds(lambda: run_sync(collection.run(None)))  # type: ignore[arg-type]  # nothing needs the server
    if traced:
        taken = tracemalloc.get_traced_memory()[1] / _MB
        tracemalloc.stop()
    assert {each.name for each in store.storage.files()}
    run_sync(folder.close())
    engine.dispose()
    (base / "rows.sqlite3").unlink()
    shutil.rmtree(base / "bytes")
    return taken


async def _nothing() -> None:
    """No other turn has begun."""


def _manifests() -> Iterator[tuple[str, ...]]:
    with tempfile.TemporaryDirectory() as base:
        for number in range(100):
            (Path(base) / "work" / str(number)).mkdir(parents=True)
            for each in range(1_000):
                (Path(base) / "work" / str(number) / str(each)).touch()
        with Folder(base, "work") as folder:
            taken = _seconds(lambda: take_manifest(folder, most=200_000, depth=32))
            found = take_manifest(folder, most=200_000, depth=32)
        path = Path(base) / "manifests" / "work" / "1.json"
        stored = _seconds(lambda: store_manifest(path, found))
        loaded = _seconds(lambda: load_manifest(path))
        compared = _seconds(lambda: list(found.differing(found)))
    for what, seconds in (("take", taken), ("store", stored), ("load", loaded), ("compare", compared)):
        yield f"{what} a manifest of 100,000 files", "", _ms(seconds), "", ""


def _seconds(work: object) -> float:
    began = time.perf_counter()
    work()  # type: ignore[operator]  # a function
    return time.perf_counter() - began


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"
