"""`ArtifactStoreConformance`: what every store of artifacts has to do."""

from __future__ import annotations

import hashlib
import itertools
import uuid
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, replace
from typing import Any

import pytest

from opencode_sessions.files.errors import ArtifactGoneError
from opencode_sessions.files.ports import Artifact, ArtifactStore, Content, Due, FileKind
from opencode_sessions.store.turn_table import TurnJob
from opencode_sessions.testing.conformance.bench import RecordBench

__all__ = ["ArtifactStoreConformance"]

_NO_TIME, _LONG = -1.0, 600.0
_CALLERS = 8
_PIECE = 256 * 1024

ODD = (
    "a",
    "A",
    "notes/plan.md",
    'it\'s "quoted" %s {0}.txt',
    "línea\nnueva\t.txt",
    "日本/語 🎈.txt",
    "a" * 1_000,
    "a" * 999 + "b",
)
"""Paths that are all different, though some databases compare texts otherwise."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """A turn of its own record."""

    bench: RecordBench
    store: ArtifactStore
    record: str
    message: str

    def next(self) -> _Turn:
        """The turn after this one."""
        return replace(self, message=f"messages:{uuid.uuid4().hex}")

    def artifact(self, path: str, kind: FileKind = FileKind.CREATED, **more: Any) -> Artifact:
        return Artifact(message=self.message, record=self.record, path=path, kind=kind, **more)

    @property
    def due(self) -> Due:
        job = TurnJob(table="messages", pk=self.message, database="", record=self.record)
        return Due(job, self.message, self.record, "folder-1")

    def run(self, call: Coroutine[Any, Any, Any]) -> Any:
        return self.bench.run(call)

    def expect(self, look_after: float = _LONG) -> None:
        self.run(self.store.expect(self.due, look_after=look_after))

    def save(self, data: bytes) -> Content:
        found: Content = self.run(self.store.save(_pieces(data)))
        return found

    def attach(self, *files: tuple[str, FileKind, bytes | None]) -> bool:
        """Those that have been collected."""
        self.expect()
        rows = []
        for path, kind, data in files:
            content = None if data is None else self.save(data)
            size, sha256 = (0, "") if content is None else (content.size, content.sha256)
            rows.append((self.artifact(path, kind, size=size, sha256=sha256), content))
        attached: bool = self.run(self.store.attach(self.message, rows))
        return attached

    def list(self) -> list[Artifact]:
        return list(self.run(self.store.list(self.message)))

    def content(self, artifact: Artifact, start: int = 0) -> bytes:
        async def read() -> bytes:
            return b"".join([piece async for piece in self.store.open(artifact.id, start=start)])

        found: bytes = self.run(read())
        return found

    def stored(self) -> set[str]:
        """What the bytes without a row are called."""
        return {each.name for each in self.run(self.store.left_over(older_than=-_LONG))}


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), _PIECE):
        yield data[start : start + _PIECE]


async def _breaking() -> AsyncIterator[bytes]:
    yield b"half"
    raise InterruptedError


class ArtifactStoreConformance:
    """Subclass it, and give it a fixture `bench` whose `artifacts()` makes a store over the same rows and bytes.

    The bench is a `BlockingBench` or a `SuspendingBench`, as the store's calls are.
    """

    @pytest.fixture
    def turn(self, bench: Any) -> _Turn:
        """A turn of a record that has no others."""
        unique = uuid.uuid4().hex
        return _Turn(bench, bench.artifacts(), f"records:{unique}", f"messages:{unique}")

    def test_a_file_is_put_once_and_found_with_its_size_and_hash(self, turn: _Turn) -> None:
        artifact = turn.artifact("notes.txt", FileKind.UPLOADED, media_type="text/plain", name="My notes")
        assert turn.run(turn.store.put(artifact, _pieces(b"one"))) is True
        assert turn.run(turn.store.put(artifact, _pieces(b"other"))) is False
        [found] = turn.list()
        digest = hashlib.sha256(b"one").hexdigest()
        assert found == replace(artifact, size=3, sha256=digest, id=found.id)
        assert turn.run(turn.store.find(found.id)) == found
        assert turn.content(found) == b"one"
        assert turn.stored() == set()

    def test_it_is_read_from_any_byte_on_in_pieces(self, turn: _Turn) -> None:
        data = bytes(range(256)) * 4096
        turn.run(turn.store.put(turn.artifact("data"), _pieces(data)))
        [found] = turn.list()
        for start in (0, 1, 300_000, len(data) - 1, len(data)):
            assert turn.content(found, start) == data[start:]

        async def sizes() -> list[int]:
            return [len(piece) async for piece in turn.store.open(found.id)]

        assert max(turn.run(sizes())) <= _PIECE

    def test_an_empty_file_is_a_file(self, turn: _Turn) -> None:
        assert turn.attach(("empty", FileKind.CREATED, b""))
        [found] = turn.list()
        assert (found.size, turn.content(found)) == (0, b"")

    def test_of_bytes_that_break_off_nothing_stays(self, turn: _Turn) -> None:
        with pytest.raises(InterruptedError):
            turn.run(turn.store.save(_breaking()))
        with pytest.raises(InterruptedError):
            turn.run(turn.store.put(turn.artifact("half"), _breaking()))
        assert (turn.list(), turn.stored()) == ([], set())

    def test_files_are_attached_only_while_they_are_due(self, turn: _Turn) -> None:
        content = turn.save(b"bytes")
        rows = [(turn.artifact("file"), content)]
        assert turn.run(turn.store.find_due(turn.message)) is None
        assert turn.run(turn.store.attach(turn.message, rows)) is False
        assert turn.list() == []
        turn.expect()
        turn.expect()
        assert turn.run(turn.store.find_due(turn.message)) == turn.due
        assert turn.run(turn.store.attach(turn.message, rows)) is True
        assert turn.run(turn.store.attach(turn.message, rows)) is False
        assert turn.run(turn.store.find_due(turn.message)) is None
        assert [found.path for found in turn.list()] == ["file"]

    def test_of_several_collectors_one_attaches(self, turn: _Turn) -> None:
        turn.expect()
        contents = [turn.save(f"by {number}".encode()) for number in range(_CALLERS)]
        stores = [turn.bench.artifacts() for _ in contents]

        def collector(number: int) -> Any:
            rows = [(turn.artifact(path), contents[number] if path == "a" else None) for path in ("a", "b")]
            return lambda: stores[number].attach(turn.message, rows)

        attached = turn.bench.at_once([collector(number) for number in range(_CALLERS)])
        assert sum(attached) == 1
        found = {each.path: each for each in turn.list()}
        assert sorted(found) == ["a", "b"]
        assert turn.content(found["a"]) == f"by {attached.index(True)}".encode()

    def test_of_several_who_put_one_file_one_does(self, turn: _Turn) -> None:
        def caller(number: int) -> Any:
            return lambda: turn.bench.artifacts().put(turn.artifact("a"), _pieces(str(number).encode()))

        put = turn.bench.at_once([caller(number) for number in range(_CALLERS)])
        assert sum(put) == 1
        [found] = turn.list()
        assert turn.content(found) == str(put.index(True)).encode()
        assert turn.stored() == set()

    def test_what_a_person_gave_stays_as_it_is(self, turn: _Turn) -> None:
        turn.run(turn.store.put(turn.artifact("a", FileKind.UPLOADED), _pieces(b"mine")))
        assert turn.attach(("a", FileKind.CHANGED, b"other"), ("b", FileKind.CREATED, b"new"))
        found = {each.path: turn.content(each) for each in turn.list()}
        assert found == {"a": b"mine", "b": b"new"}
        assert turn.stored() == set()

    def test_a_path_is_any_text_and_is_told_from_all_others(self, turn: _Turn) -> None:
        assert turn.attach(*((path, FileKind.CREATED, path.encode()) for path in ODD))
        assert {each.path: turn.content(each) for each in turn.list()} == {
            path: path.encode() for path in ODD
        }

    def test_texts_that_databases_refuse_are_stored_nevertheless(self, turn: _Turn) -> None:
        turn.expect()
        odd = "a\0b\ud800"
        artifact = turn.artifact("a", FileKind.SKIPPED, media_type=odd, part_id=odd, name=odd, reason=odd)
        assert turn.run(turn.store.attach(turn.message, [(artifact, None)]))
        assert [(each.path, each.kind) for each in turn.list()] == [("a", FileKind.SKIPPED)]

    def test_versions_of_a_path_follow_each_other_within_a_record(self, turn: _Turn) -> None:
        kinds = (FileKind.CREATED, FileKind.SKIPPED, FileKind.CHANGED, FileKind.DELETED, FileKind.CREATED)
        turns = list(itertools.accumulate(kinds, lambda before, _: before.next(), initial=turn))[:-1]
        for number, (each, kind) in enumerate(zip(turns, kinds, strict=True)):
            has_bytes = kind not in (FileKind.SKIPPED, FileKind.DELETED)
            assert each.attach(("a", kind, str(number).encode() if has_bytes else None))
        first, _, third, fourth, fifth = (each.list()[0] for each in turns)
        previous = [turn.run(turn.store.previous(each)) for each in (first, third, fourth, fifth)]
        assert previous == [None, first, third, None]
        assert turn.run(turn.store.previous(turn.artifact("a"))) == fifth
        assert turns[-1].attach(("b", FileKind.CREATED, b"other"))
        other = next(each for each in turns[-1].list() if each.path == "b")
        assert turn.run(turn.store.latest(turn.record, ["a", "A", "b"])) == {"a": fifth, "b": other}
        assert turn.run(turn.store.latest(f"{turn.record}0", ["a"])) == {}
        assert turn.run(turn.store.latest(turn.record, [])) == {}

    def test_a_deleted_and_a_skipped_file_have_nothing_to_be_read(self, turn: _Turn) -> None:
        turn.attach(("gone", FileKind.DELETED, None), ("large", FileKind.SKIPPED, None))
        for artifact in (*turn.list(), replace(turn.artifact("none"), id="0" * 32)):
            with pytest.raises(ArtifactGoneError) as caught:
                turn.content(artifact)
            assert caught.value.artifact_id == artifact.id
        assert turn.run(turn.store.find("0" * 32)) is None

    def test_what_is_due_is_given_to_one_of_those_who_look(self, turn: _Turn) -> None:
        def mine(found: Any) -> list[Due]:
            return [due for due in found if due.record == turn.record]

        turn.expect(_LONG)
        assert mine(turn.run(turn.store.due(look_after=_LONG, limit=10_000))) == []
        assert turn.run(turn.store.due_of(turn.record)) == [turn.due]
        turn.expect(_NO_TIME)

        def look() -> Any:
            return turn.bench.artifacts().due(look_after=_LONG, limit=10_000)

        found = turn.bench.at_once([look] * _CALLERS)
        assert [due for each in found for due in mine(each)] == [turn.due]
        turn.expect(_NO_TIME)
        assert mine(turn.run(turn.store.due(look_after=_LONG, limit=10_000))) == [turn.due]

    def test_all_of_a_record_is_deleted_and_nothing_of_another_one(self, turn: _Turn) -> None:
        second = turn.next()
        other = replace(turn.next(), record=f"{turn.record}0")
        for each in (turn, second, other):
            each.attach(("a", FileKind.CREATED, b"bytes"), ("b", FileKind.SKIPPED, None))
        second.expect()
        [artifact, _] = turn.list()
        rows = len([*turn.list(), *second.list()])
        assert turn.run(turn.store.delete(turn.record)) == rows
        assert (turn.list(), second.list(), turn.run(turn.store.due_of(turn.record))) == ([], [], [])
        with pytest.raises(ArtifactGoneError):
            turn.content(artifact)
        assert other.content(other.list()[0]) == b"bytes"
        rows = len(other.list())
        assert turn.run(turn.store.delete_of_message(other.message)) == rows
        assert other.list() == []
        assert turn.stored() == set()

    def test_bytes_that_no_row_names_are_found_once_they_are_old(self, turn: _Turn) -> None:
        lost, kept = turn.save(b"lost"), turn.save(b"kept")
        turn.expect()
        turn.run(turn.store.attach(turn.message, [(turn.artifact("a"), kept)]))
        assert turn.run(turn.store.left_over()) == []
        [found] = turn.run(turn.store.left_over(older_than=-_LONG))
        assert (found.name, found.size) == (lost.name, lost.size)
        for _ in range(2):
            turn.run(turn.store.discard(found.name))
        assert turn.stored() == set()
        assert turn.content(turn.list()[0]) == b"kept"
