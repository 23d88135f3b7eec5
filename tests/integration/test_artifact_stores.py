"""All stores of artifacts, in all databases."""

from __future__ import annotations

import threading
import uuid
from contextlib import suppress

import fsspec
import pytest
from artifact_benches import SQLAlchemyArtifacts, artifact_bench
from fix_cli import eventually
from fix_stores import COVERING, DATABASES, sqlalchemy_urls
from selection import sample
from sqlalchemy import delete, text

from opencode_sessions.files.ports import Artifact, Due, FileKind
from opencode_sessions.files.rows import hash_of
from opencode_sessions.files.storage import FolderStorage, FsspecStorage
from opencode_sessions.store.turn_table import TurnJob
from opencode_sessions.testing.conformance import ArtifactStoreConformance


class TestEveryArtifactStore(ArtifactStoreConformance):
    """The suite, over all the stores of ours."""

    @pytest.fixture(params=sample(["memory", *DATABASES], "memory", *COVERING))
    def bench(self, request, tmp_path):
        bench = artifact_bench(request.getfixturevalue, tmp_path / "bytes", *request.param.split("-"))
        yield bench
        bench.close()


class LostError(Exception):
    """The connection to the database broke."""


class TestAnswersThatAreLost:
    """A database commits, or not, and the caller does not hear of it: a row never names bytes that are not there."""

    @pytest.fixture(params=sample(["memory", *DATABASES], "memory", *COVERING))
    def store(self, request, tmp_path):
        bench = artifact_bench(request.getfixturevalue, tmp_path / "bytes", *request.param.split("-"))
        store = bench.artifacts()
        store.run = bench.run
        yield store
        bench.close()

    @pytest.mark.parametrize("committed", [True, False])
    def test_bytes_stay_if_and_only_if_a_row_names_them(self, store, committed, monkeypatch):
        due = Due(
            TurnJob("messages", "1", "", "records:1"), f"messages:{uuid.uuid4().hex}", "records:1", "folder"
        )
        artifact = Artifact(message=due.message, record=due.record, path="a", kind=FileKind.CREATED)
        store.run(store.expect(due, look_after=60))
        content = store.run(store.save(pieces(b"bytes")))
        with monkeypatch.context() as patch:
            patch.setattr(store, "_insert", losing(store._insert, committed=committed))
            with pytest.raises(LostError):
                store.run(store.attach(due.message, [(artifact, content)]))
        assert (store.run(store.find_due(due.message)) is None) is committed
        assert [each.name for each in store.run(store.left_over(older_than=-60))] == []
        if committed:
            [found] = store.run(store.list(due.message))
            assert store.run(content_of(store, found)) == b"bytes"
        else:
            with pytest.raises(FileNotFoundError):
                store.run(read(store, content))

    def test_what_a_person_gave_is_there_if_its_row_is(self, store, monkeypatch):
        message = f"messages:{uuid.uuid4().hex}"
        artifact = Artifact(message=message, record="records:1", path="a", kind=FileKind.UPLOADED)
        monkeypatch.setattr(store, "_insert", losing(store._insert, committed=True))
        with pytest.raises(LostError):
            store.run(store.put(artifact, pieces(b"mine")))
        [found] = store.run(store.list(message))
        assert store.run(content_of(store, found)) == b"mine"


def losing(insert, *, committed):
    async def losing(*arguments, **options):
        if committed:
            await insert(*arguments, **options)
        raise LostError

    return losing


async def pieces(data):
    yield data


async def content_of(store, artifact):
    return b"".join([piece async for piece in store.open(artifact.id)])


async def read(store, content):
    return b"".join([piece async for piece in store.read(content)])


@pytest.mark.full
def test_who_does_not_know_whether_files_were_attached_waits_for_who_attaches_them(request, tmp_path):
    """PostgreSQL goes on with a commit whose connection has broken: until it is done, no row shows."""
    bench = artifact_bench(request.getfixturevalue, tmp_path / "bytes", "sqlalchemy", "postgres", "sync")
    store, looking = bench.artifacts(), bench.artifacts()
    message = f"messages:{uuid.uuid4().hex}"
    due = Due(TurnJob("messages", "1", "", "records:1"), message, "records:1", "folder")
    bench.run(store.expect(due, look_after=60))
    table, said = store._due, []
    with store._engine.connect() as connection:
        connection.execute(delete(table).where(table.c.message_hash == hash_of(message)))

        def wait():
            bench.run(looking._wait_for_attach(message))
            said.append("waited")

        waiter = threading.Thread(target=wait)
        waiter.start()
        blocked = text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE :what"
        )
        with store._engine.execution_options(isolation_level="AUTOCOMMIT").connect() as other:
            eventually(lambda: other.scalar(blocked, {"what": f"%{table.name}%FOR UPDATE%"}))
        said.append("committed")
        connection.commit()
        waiter.join(60)
    assert said == ["committed", "waited"]
    bench.close()


def test_what_a_process_was_writing_when_it_died_is_found_and_removed(tmp_path):
    storage = FolderStorage(tmp_path)
    with suppress(FileNotFoundError), storage.spool() as spooled:
        spooled.write(b"half")
        spooled.flush()
        [left] = storage.files()
        assert left.size == 4
        storage.remove(left.name)
        assert list(storage.files()) == []


class TestBytesInAFileSystemOfFsspec(ArtifactStoreConformance):
    """The suite, with the bytes in one that is in memory; and in a bucket of S3's, served by moto."""

    @pytest.fixture(params=sample(["memory", "s3"]))
    def bench(self, request, tmp_path):
        files = request.getfixturevalue("s3") if request.param == "s3" else fsspec.filesystem("memory")
        url = sqlalchemy_urls(request.getfixturevalue, "sqlite")[0]
        bench = SQLAlchemyArtifacts(url, None, FsspecStorage(files, f"/agents/{tmp_path.name}"))
        yield bench
        bench.close()
