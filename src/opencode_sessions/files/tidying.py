"""What is left over: files of records that are gone, their folders, and bytes that a process died over."""

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
    """What nobody needs any more.

    Attributes:
        records: The keys of records that are gone and have artifacts.
        folders: The names of folders in the sandbox whose record is gone.
        stored: Bytes in the store that no row names.
        uploads: The names of folders of people's files whose record is gone.
    """

    records: Sequence[str] = ()
    folders: Sequence[str] = ()
    stored: Sequence[LeftOver] = ()
    uploads: Sequence[str] = ()


async def look_for_left_over(
    artifacts: Artifacts, records: RecordKeys, *, older_than: float = _OLD
) -> LeftOverFiles:
    """Look for what is left over.

    Args:
        artifacts: The host's.
        records: Gives the key and the `opencode_uid` of each record that there is, in all tables of the host. It is
            called after all else is read, so that a record that is made meanwhile is among them.
        older_than: Folders and bytes that are younger, in seconds, are left alone: they may belong to what is not yet
            committed.
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
    """Remove it."""
    for key in found.records:
        await artifacts.store.delete(key)
    for name in found.folders:
        artifacts.sandbox.remove(name)
    for each in found.stored:
        await artifacts.store.discard(each.name)


async def remove_record(artifacts: Artifacts, key: str, folder: str) -> int:
    """Remove the artifacts of a record, with their bytes, and its folder: how many artifacts there were.

    Args:
        artifacts: The host's.
        key: The record's.
        folder: The name of its folder: `Sandbox.name`.
    """
    count = await artifacts.store.delete(key)
    if artifacts.sandbox.disk:
        artifacts.sandbox.remove(folder)
    return count


def left_over_lines(found: LeftOverFiles) -> Iterator[str]:
    """What a command says of it."""
    yield from (f"files of {key}, which is gone" for key in found.records)
    yield from (f"the folder {name}, whose record is gone" for name in found.folders)
    yield from (f"{each.name}, {each.size:,} bytes that nothing names" for each in found.stored)
    yield from (f"the uploads {name}, whose record is gone" for name in found.uploads)


def left_over_summary(count: int, *, deleted: bool) -> str:
    """What a command says at the end."""
    how = "removed" if deleted else "listed" + ("; --delete removes them" if count else "")
    return f"{count} left over, {how}"
