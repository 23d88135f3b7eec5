"""Leftover files: those of deleted records, their folders, and bytes from processes that died."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from opencode_sessions.files.artifacts import Artifacts
from opencode_sessions.files.ports import LeftOver

__all__ = [
    "LeftOverFiles",
    "clear_left_over",
    "left_over_lines",
    "left_over_summary",
    "look_for_left_over",
    "remove_record",
]

_OLD = 3_600.0

RecordKeys = Callable[[], Awaitable[Iterable[tuple[str, str]]]]


@dataclass(frozen=True, slots=True)
class LeftOverFiles:
    """Leftover files.

    Attributes:
        records: The keys of deleted records that have artifacts.
        folders: The names of folders in the sandbox whose record was deleted.
        stored: Bytes in the store that no row names.
        uploads: The names of folders of people's files whose record was deleted.
    """

    records: Sequence[str] = ()
    folders: Sequence[str] = ()
    stored: Sequence[LeftOver] = ()
    uploads: Sequence[str] = ()


async def look_for_left_over(
    artifacts: Artifacts, records: RecordKeys, *, older_than: float = _OLD
) -> LeftOverFiles:
    """Look for leftover files.

    Args:
        artifacts: The host's artifacts.
        records: Returns the key and the `opencode_uid` of each record in all tables of the host. It is called last, so
            that it includes records that were just made.
        older_than: In seconds. Younger folders and bytes are left alone, because their rows may not be committed yet.
    """
    sandbox, store = artifacts.sandbox, artifacts.store
    keys = set(await store.records())
    names = set(sandbox.names(older_than=older_than)) if sandbox.disk else set()
    stored = await store.left_over(older_than=older_than)
    for key, uid in await records():
        keys.discard(key)
        names.discard(sandbox.name_of(key, uid))
    return LeftOverFiles(sorted(keys), sorted(names), stored)


async def clear_left_over(artifacts: Artifacts, found: LeftOverFiles) -> None:
    """Remove the leftover files."""
    for key in found.records:
        await artifacts.store.delete(key)
    for name in found.folders:
        artifacts.sandbox.remove(name)
    for each in found.stored:
        await artifacts.store.discard(each.name)


async def remove_record(artifacts: Artifacts, key: str, folder: str) -> int:
    """Remove the artifacts of a record, with their bytes and its folder. Returns how many artifacts there were.

    Args:
        artifacts: The host's artifacts.
        key: The record's key.
        folder: The name of its folder: `Sandbox.name`.
    """
    count = await artifacts.store.delete(key)
    if artifacts.sandbox.disk:
        artifacts.sandbox.remove(folder)
    return count


def left_over_lines(found: LeftOverFiles) -> Iterator[str]:
    """The lines of a command for the leftover files."""
    yield from (f"files of {key}, which is gone" for key in found.records)
    yield from (f"the folder {name}, whose record is gone" for name in found.folders)
    yield from (f"{each.name}, {each.size:,} bytes that nothing names" for each in found.stored)
    yield from (f"the uploads {name}, whose record is gone" for name in found.uploads)


def left_over_summary(count: int, *, deleted: bool) -> str:
    """The last line of a command."""
    how = "removed" if deleted else "listed" + ("; --delete removes them" if count else "")
    return f"{count} left over, {how}"
