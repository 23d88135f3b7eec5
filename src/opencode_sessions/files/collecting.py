"""Collecting the files of one turn that has ended: finding them, storing them, and listing the ones left out."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from opencode_sessions.errors import NotFoundError, WireError
from opencode_sessions.files.errors import FileRefusedError
from opencode_sessions.files.folders import RecordFolder
from opencode_sessions.files.kinds import UNKNOWN, kind_of_head
from opencode_sessions.files.limits import FileLimits
from opencode_sessions.files.manifest import Manifest
from opencode_sessions.files.ports import Artifact, ArtifactStore, Content, Due, FileInfo, FileKind, Transform
from opencode_sessions.files.safe_open import parts_of
from opencode_sessions.files.tool_calls import NamedFiles, calls_of_agents
from opencode_sessions.files.vouching import signed
from opencode_sessions.protocol.attachments import content_of
from opencode_sessions.protocol.plain import said
from opencode_sessions.store.messages import MessageState
from opencode_sessions.texts import later
from opencode_sessions.turns.ports import TurnWire

__all__ = ["RETURNED", "Collection"]

RETURNED = "tool-output"
"""The folder under which pictures and files from tools are listed."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 1_000
_UNKNOWN_BEFORE = (
    "what was in the folder before the turn is not known: only files that the agent's tools named are kept"
)

_CHANGED_SINCE = "the record's next turn changed it before it was kept"


@dataclass(slots=True)
class Collection:
    """The files of one turn, on their way into the store.

    Args:
        due: Of which turn.
        row: How it ended.
        folder: The record's folder; None if there is none.
        before: What was in it before the turn; None if that is not known.
        after: Gives what was in it before the record's next turn; None if that has not begun.
        named: What its tool calls name; those of sub-agents are added.
        store: Where the files go.
        limits: How much is kept.
        transforms: The host's.
        key: By which their outputs are signed.
        report: Told of what a transform raises.
    """

    due: Due
    row: MessageState
    folder: RecordFolder | None
    before: Manifest | None
    after: Callable[[], Awaitable[Manifest | None]]
    named: NamedFiles
    store: ArtifactStore
    limits: FileLimits
    transforms: Sequence[Transform]
    key: bytes
    report: Callable[[Exception], None]
    _after: Manifest | None = None
    _latest: Mapping[str, Artifact] = field(default_factory=dict)
    _found: dict[str, tuple[Artifact, Content | None]] = field(default_factory=dict)
    _bytes: int = 0
    _kept: int = 0
    _deleted: int = 0
    _untold: int = 0

    async def run(self, wire: TurnWire) -> bool:
        """Collect and attach them. False if another collector was first.

        Raises:
            WireError: The server is away, and is needed.
            FileRefusedError, OSError: The folder or the store cannot be used.
        """
        try:
            await self._take_calls(wire)
            await self._take_folder(wire)
            for part_id, file in self.named.returned:
                await self._take_returned(wire, part_id, file)
            self._count_untold()
        except Exception:
            await self._discard()
            raise
        return await self.store.attach(self.due.message, list(self._found.values()))

    async def _take_calls(self, wire: TurnWire) -> None:
        for part in self.row.parts:
            self.named.take(part)
        try:
            async for part in calls_of_agents(wire, self.row.parts):
                self.named.take(part)
        except NotFoundError:
            pass  # their session was deleted
        except WireError:
            if self.before is None:
                raise  # only these calls name the files
        for path, part_id in self.named.outside.items():
            self._skip(path, "it lies outside the record's folder", part_id=part_id)

    async def _take_folder(self, wire: TurnWire) -> None:
        if self.folder is None:
            return
        now = await self.folder.manifest(most=self.limits.looked_at, depth=self.limits.depth)
        self._after = await self.after()  # if there is none now, nothing of the next turn is in the manifest
        before, end = self.before, self._after or now
        if end is None or before is None:
            changed = list(self.named.inside)
            if end is not None:
                self._skip("", _UNKNOWN_BEFORE)
        else:
            changed = list(end.differing(before))
            self._untold += end.left_out
        changed.sort(key=lambda path: path not in self.named.inside)
        self._latest = await self.store.latest(self.due.record, [each for each in changed if _is_plain(each)])
        for path in changed:
            await self._take(wire, path, before, end)

    async def _take(self, wire: TurnWire, path: str, before: Manifest | None, now: Manifest | None) -> None:
        """One path of the folder that may have changed."""
        stamp = None if now is None else now.files.get(path)
        if now is not None and stamp is None:
            await self._take_deleted(path, before)
            return
        if (
            reason := self._refusal(path, stamp.size if stamp else 0, stamp.reason if stamp else "")
        ) is not None:
            self._skip(path, reason, size=stamp.size if stamp else 0)
            return
        assert self.folder is not None  # noqa: S101 - the caller has checked it
        limit = min(self.limits.each, self.limits.together - self._bytes)
        try:
            content = await self._save(self.folder.read(path, limit=limit))
        except FileRefusedError as error:
            self._skip(path, error.reason)
            return
        if await self._is_changed_since(path):
            await self.store.discard(content.name)
            self._skip(path, _CHANGED_SINCE)
            return
        latest = self._latest.get(path)
        known = latest is not None and latest.has_content
        if known and latest is not None and latest.sha256 == content.sha256:
            await self.store.discard(content.name)  # touched, or written with the same content
            return
        was_there = known if before is None else path in before.files
        kind = FileKind.CHANGED if was_there else FileKind.CREATED
        await self._keep(wire, self._artifact(path, kind), content)

    async def _is_changed_since(self, path: str) -> bool:
        """Has the record's next turn begun, and changed this file?"""
        if self._after is None:
            self._after = await self.after()
        if self._after is None or self.folder is None:
            return False
        return await self.folder.stamp(path) != self._after.files.get(path)

    async def _take_deleted(self, path: str, before: Manifest | None) -> None:
        latest = self._latest.get(path)
        was_there = path in before.files if before is not None else latest is not None and latest.has_content
        if not was_there:
            return
        if not _is_plain(path) or any(transform.owns(path) for transform in self.transforms):
            self._skip(path, "it was deleted, and no artifact can have its name")
        elif self._deleted >= self.limits.number:
            self._untold += 1
        else:
            self._deleted += 1
            self._found[path] = (self._artifact(path, FileKind.DELETED), None)

    def _refusal(self, path: str, size: int, reason: str) -> str | None:
        """The reason why a file is not kept, as far as it is known without reading the file."""
        return next(self._refusals(path, size), None) or reason or None

    def _refusals(self, path: str, size: int) -> Iterator[str]:
        try:
            parts_of(path, depth=self.limits.depth)
        except FileRefusedError as error:
            yield error.reason
        if path in self._found:
            yield later("there is another file of this name")
        for transform in self.transforms:
            if transform.owns(path):
                yield f"only the host's transform {transform.name!r} makes files of this name"
        if size > self.limits.each:
            yield later("it is larger than {number} bytes", number=self.limits.each)
        if self._kept >= self.limits.number:
            yield later("a turn keeps {number} files", number=self.limits.number)
        if self._bytes + size > self.limits.together:
            together = self.limits.together
            yield later("the files of a turn may have {number} bytes together", number=together)

    async def _take_returned(self, wire: TurnWire, part_id: str, file: Mapping[str, Any]) -> None:
        """A picture or a file that a tool has returned."""
        name = _UNSAFE.sub("-", said(file.get("filename"))).strip("-.")[-100:]
        path = f"{RETURNED}/{said(file.get('id')) or part_id}" + (f"-{name}" if name else "")
        size = file.get("size")
        reason = self._refusal(path, size if isinstance(size, int) else 0, "")
        data = None
        if reason is None:
            data = content_of(said(file.get("url")))
            ids = [said(file.get(each)) for each in ("sessionID", "messageID", "id")]
            if data is None and all(ids):
                try:
                    data = await wire.attachment(*ids)
                except NotFoundError:
                    reason = later("the server has it no more")
            elif data is None:
                reason = later("it is a link, and not a file")
        if data is None:
            self._skip(path, reason or "", part_id=part_id)
            return
        content = await self._save(_one(data))
        kind = said(file.get("mime")) or UNKNOWN
        artifact = replace(
            self._artifact(path, FileKind.CREATED), name=name, part_id=part_id, media_type=kind
        )
        await self._keep(wire, artifact, content)

    async def _save(self, pieces: AsyncIterator[bytes]) -> Content:
        async with aclosing(pieces) as closed:  # type: ignore[type-var]  # they are generators
            return await self.store.save(closed)

    async def _keep(self, wire: TurnWire, artifact: Artifact, content: Content) -> None:
        media_type = artifact.media_type or kind_of_head(content.head, artifact.path)
        artifact = replace(artifact, size=content.size, sha256=content.sha256, media_type=media_type)
        self._found[artifact.path] = (artifact, replace(content, head=b""))
        self._kept += 1
        self._bytes += content.size
        for transform in self.transforms:
            try:
                await self._transform(wire, transform, artifact, content)
            except Exception as error:  # noqa: BLE001 - an error of the host's code costs only this output
                self.report(error)
                self._skip(
                    f"{artifact.path} by {transform.name}", f"the transform raised {type(error).__name__}"
                )

    async def _transform(
        self, wire: TurnWire, transform: Transform, artifact: Artifact, content: Content
    ) -> None:
        info = FileInfo(
            message=artifact.message,
            record=artifact.record,
            path=artifact.path,
            size=artifact.size,
            media_type=artifact.media_type,
        )
        if not transform.claims(info):
            return
        data = b"".join([piece async for piece in self.store.read(content)])
        made = await wire.clock.call(partial(transform.apply, info, data))
        parts_of(made.path, depth=self.limits.depth)
        if not transform.owns(made.path):
            raise FileRefusedError(made.path, f"the transform {transform.name!r} made it and does not own it")
        if made.path in self._found:
            raise FileRefusedError(made.path, f"the transform {transform.name!r} made it twice in a turn")
        saved = await self._save(_one(made.content))
        output = replace(
            self._artifact(made.path, FileKind.CREATED),
            size=saved.size,
            sha256=saved.sha256,
            media_type=made.media_type,
            part_id=artifact.part_id,
            author=transform.name,
        )
        self._found[made.path] = (signed(output, self.key), saved)

    def _artifact(self, path: str, kind: FileKind) -> Artifact:
        part_id = self.named.inside.get(path, "")
        return Artifact(
            message=self.due.message, record=self.due.record, path=path, kind=kind, part_id=part_id
        )

    def _skip(self, path: str, reason: str, *, size: int = 0, part_id: str = "") -> None:
        path = _storable(path)
        told = sum(artifact.kind is FileKind.SKIPPED for artifact, _ in self._found.values())
        if told >= self.limits.told or path in self._found:
            self._untold += 1
            return
        skipped = replace(self._artifact(path, FileKind.SKIPPED), reason=reason, size=size)
        self._found[path] = (replace(skipped, part_id=part_id or skipped.part_id), None)

    def _count_untold(self) -> None:
        if self._untold:
            reason = later(
                "{number} more files are left out: there are too many, or they lie too deep",
                number=self._untold,
            )
            self._found[""] = (replace(self._artifact("", FileKind.SKIPPED), reason=reason), None)

    async def _discard(self) -> None:
        """Remove the bytes again. After a failure, the command for leftover files finds them."""
        for name in self._saved():
            try:
                await self.store.discard(name)
            except Exception as error:  # noqa: BLE001 - what led here is what is raised
                self.report(error)

    def _saved(self) -> Iterator[str]:
        for _, content in self._found.values():
            if content is not None:
                yield content.name


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _is_plain(path: str) -> bool:
    """Is this path allowed for an artifact?"""
    try:
        return bool(parts_of(path))
    except FileRefusedError:
        return False


def _storable(path: str) -> str:
    """A path that every database accepts: characters that cannot be stored become question marks."""
    return path[:_LONGEST].replace("\0", "?").encode("utf-8", "replace").decode()
