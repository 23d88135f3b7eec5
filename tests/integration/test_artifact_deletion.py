"""With SQLAlchemy, artifacts go with their record; what is left over is found by a command."""

from __future__ import annotations

import asyncio
import sys
import time
from types import SimpleNamespace

import pytest
from host_models import Answer, Base, Conversation, Prompt
from sqlalchemy import MetaData, create_engine, delete
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from opencode_sessions.cli.files import files
from opencode_sessions.errors import ConfigurationError
from opencode_sessions.files.artifacts import Artifacts
from opencode_sessions.files.memory import MemoryArtifactStore
from opencode_sessions.files.ports import Artifact, FileKind
from opencode_sessions.files.sandbox import Sandbox
from opencode_sessions.files.storage import FolderStorage
from opencode_sessions.host import Host, HostSettings
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.sqlalchemy import (
    ArtifactTables,
    SQLAlchemyArtifactStore,
    SQLAlchemyTurnTable,
    delete_artifacts_with_row,
)


@pytest.fixture
def kept(tmp_path):
    """Two records with a file each, and with a folder."""
    engine = create_engine(f"sqlite:///{tmp_path}/rows.sqlite3", connect_args={"timeout": 60})
    Base.metadata.create_all(engine)
    tables = ArtifactTables.add_to(MetaData())
    tables.artifacts.metadata.create_all(engine)
    artifacts = Artifacts(
        Sandbox(tmp_path / "sandbox"),
        SQLAlchemyArtifactStore(tables, engine, FolderStorage(tmp_path / "bytes")),
    )
    with Session(engine, expire_on_commit=False) as db:
        records = [Conversation(title=title) for title in "ab"]
        db.add_all(records)
        db.commit()
    for record in records:
        artifacts.sandbox.create(record)
        artifact = Artifact(
            message=f"prompts:{record.id}",
            record=f"conversations:{record.id}",
            path="a",
            kind=FileKind.CREATED,
        )
        run_sync(artifacts.store.put(artifact, pieces(b"bytes")))
    yield SimpleNamespace(
        engine=engine,
        tables=tables,
        artifacts=artifacts,
        records=records,
        folder=tmp_path,
        url=f"{tmp_path}/rows.sqlite3",
    )
    engine.dispose()


async def pieces(data):
    yield data


def left(kept):
    """The folders, the records with artifacts, and how many files of bytes there are."""
    stored = len(list(kept.artifacts.store.storage.files()))
    return list(kept.artifacts.sandbox.names()), list(run_sync(kept.artifacts.store.records())), stored


def test_they_go_with_their_row_when_that_is_committed(kept):
    first, second = kept.records
    end = delete_artifacts_with_row(Conversation, kept.artifacts)
    try:
        before = left(kept)
        with Session(kept.engine) as db:
            db.delete(db.get_one(Conversation, first.id))
            db.flush()
            db.rollback()
            assert left(kept) == before
            db.delete(db.get_one(Conversation, first.id))
            db.commit()
    finally:
        end()
    assert left(kept) == ([kept.artifacts.sandbox.name(second)], [f"conversations:{second.id}"], 1)


def test_they_go_with_a_row_of_an_async_session(kept):
    async def main():
        engine = create_async_engine(f"sqlite+aiosqlite:///{kept.url}")
        store = SQLAlchemyArtifactStore(kept.tables, engine, kept.artifacts.store.storage)
        end = delete_artifacts_with_row(Conversation, Artifacts(kept.artifacts.sandbox, store))
        try:
            async with AsyncSession(engine) as db:
                await db.delete(await db.get_one(Conversation, kept.records[0].id))
                await db.commit()
        finally:
            end()
            await engine.dispose()

    asyncio.run(main())
    deadline = time.monotonic() + 10
    while len(left(kept)[0]) > 1 or left(kept)[2] > 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert left(kept)[1] == [f"conversations:{kept.records[1].id}"]


def test_a_model_or_a_store_that_does_not_fit_is_refused(kept, tmp_path):
    with pytest.raises(ConfigurationError, match="maps no column"):
        delete_artifacts_with_row(Answer, kept.artifacts)
    in_memory = MemoryArtifactStore(FolderStorage(tmp_path))
    with pytest.raises(ConfigurationError, match="MemoryArtifactStore"):
        delete_artifacts_with_row(Conversation, Artifacts(kept.artifacts.sandbox, in_memory))


def test_the_command_finds_and_removes_what_is_left_over(kept, capsys, monkeypatch):
    module = SimpleNamespace(
        opencode=Host(HostSettings(artifacts=kept.artifacts), [SQLAlchemyTurnTable(Prompt, kept.engine)]),
        without=Host(HostSettings(), [SQLAlchemyTurnTable(Prompt, kept.engine)]),
    )
    monkeypatch.setitem(sys.modules, "host_of_a_test", module)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with kept.engine.begin() as connection:
        connection.execute(delete(Conversation).where(Conversation.id == kept.records[0].id))
    run_sync(kept.artifacts.store.save(pieces(b"lost")))
    files("host_of_a_test:opencode")  # all of it is younger than an hour
    assert capsys.readouterr().out.splitlines()[1:] == ["1 left over, listed; --delete removes them"]
    for options in ({}, {"delete": True}):
        files("host_of_a_test:opencode", older_than="0s", **options)
        said = capsys.readouterr().out
        assert [
            words in said for words in ("which is gone", "whose record is gone", "that nothing names")
        ] == [True] * 3
        assert said.splitlines()[3].startswith("3 left over, ")
    second = kept.records[1]
    assert left(kept) == ([kept.artifacts.sandbox.name(second)], [f"conversations:{second.id}"], 1)
    with pytest.raises(ConfigurationError, match="no artifacts"):
        files("host_of_a_test:without")
