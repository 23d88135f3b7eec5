"""The files that the tool calls of a turn name or return, including those of sub-agents."""

from __future__ import annotations

import posixpath
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from opencode_sessions.protocol.attachments import attachments_of
from opencode_sessions.protocol.parts import Part
from opencode_sessions.protocol.plain import said
from opencode_sessions.turns.ports import ExchangeWire

__all__ = ["NamedFiles", "calls_of_agents"]

Json = Mapping[str, Any]

_MOST_AGENTS = 256
_WRITES = ("write", "edit", "multiedit", "apply_patch", "patch")
_READS = "read"


async def calls_of_agents(wire: ExchangeWire, parts: Iterable[Json]) -> AsyncIterator[Json]:
    """The tool calls of a turn's sub-agents, and of their sub-agents, in the form of a row.

    Args:
        wire: The server that has their sessions.
        parts: The parts of the turn's own answer.
    """
    waiting = [*_agents_of(parts)]
    known = set(waiting)
    while waiting:
        session_id = waiting.pop(0)
        async for message in wire.messages(session_id):
            calls = [_call(message.info.id, part) for part in message.parts if part.get("type") == "tool"]
            for call in calls:
                yield call
            new = [each for each in _agents_of(calls) if each not in known][: _MOST_AGENTS - len(known)]
            known.update(new)
            waiting += new


def _agents_of(parts: Iterable[Json]) -> Iterator[str]:
    for part in parts:
        metadata = part.get("metadata")
        if isinstance(metadata, Mapping) and isinstance(metadata.get("sessionId"), str):
            yield metadata["sessionId"]


def _call(message_id: str, found: Json) -> Json:
    part = Part(said(found.get("id")), message_id, "tool")
    part.take(found)
    return part.to_json()


@dataclass(slots=True)
class NamedFiles:
    """The files that the calls of a turn name.

    Args:
        directory: The server's path of the session's directory.
        folder: The server's path of the record's folder.

    Attributes:
        inside: The paths in the record's folder, relative to it, each with the last part that wrote it.
        outside: The paths outside of it, as the calls name them, likewise.
        returned: The files that tools returned, each with its part. A file from `read` is not the agent's.
    """

    directory: str
    folder: str
    inside: dict[str, str] = field(default_factory=dict)
    outside: dict[str, str] = field(default_factory=dict)
    returned: list[tuple[str, Json]] = field(default_factory=list)

    def take(self, part: Json) -> None:
        """Note the files of one part of the answer."""
        part_id = said(part.get("id"))
        if part.get("type") == "tool" and part.get("tool") != _READS:
            self.returned += [(part_id, file) for file in attachments_of(part)]
        if part.get("tool") in _WRITES and part.get("status") == "completed":
            for path in _paths_of(part):
                inside = self._relative(path)
                if inside is None:
                    self.outside[path] = part_id
                else:
                    self.inside[inside] = part_id

    def _relative(self, path: str) -> str | None:
        """The path relative to the record's folder; None if it is outside, or the folder itself."""
        whole = posixpath.normpath(posixpath.join(self.directory, path))
        base = posixpath.normpath(self.folder) + "/"
        return whole.removeprefix(base) if whole.startswith(base) else None


def _paths_of(part: Json) -> Iterator[str]:
    given, metadata = part.get("input"), part.get("metadata")
    given = given if isinstance(given, Mapping) else {}
    metadata = metadata if isinstance(metadata, Mapping) else {}
    files = metadata.get("files")
    named = [said(metadata.get("filepath")) or said(given.get("filePath"))]
    if isinstance(files, list):
        named = [said(each.get(name)) for each in files if isinstance(each, Mapping) for name in _OF_PATCH]
    yield from filter(None, named)


_OF_PATCH = ("filePath", "movePath")
