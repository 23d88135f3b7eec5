"""The files of a host's turns: marked as due before a turn, and collected after its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from opencode_sessions.errors import ConfigurationError, RecordGoneError, SessionNotFoundError, WireError
from opencode_sessions.files.collecting import Collection
from opencode_sessions.files.errors import FileRefusedError
from opencode_sessions.files.folders import DiskFolder, RecordFolder, ServerFolder
from opencode_sessions.files.kinds import check_installed
from opencode_sessions.files.limits import FileLimits
from opencode_sessions.files.manifest import Manifest, load_manifest, store_manifest, take_manifest
from opencode_sessions.files.ports import Artifact, ArtifactStore, Due, Transform
from opencode_sessions.files.sandbox import Sandbox
from opencode_sessions.files.tool_calls import NamedFiles
from opencode_sessions.files.vouching import is_vouched_for
from opencode_sessions.store.messages import MessageState, MessageStore
from opencode_sessions.store.records import RecordStore
from opencode_sessions.store.turn_table import TurnJob
from opencode_sessions.turns.exchange import is_stored
from opencode_sessions.turns.ports import TurnWire
from opencode_sessions.validation import require

__all__ = ["LOOK_AFTER", "Artifacts"]

LOOK_AFTER = 60.0
"""Seconds after which recovery collects files that are due. Before that, their runner collects them."""

_SHORTEST_KEY = 32


@dataclass(frozen=True, slots=True)
class Artifacts:
    """A host's settings for the files that its agents make.

    ::

        ARTIFACTS = Artifacts(Sandbox("/srv/agents"), store)

    Args:
        sandbox: The folders of agents.
        store: Stores their files.
        limits: The limits for the files of one turn.
        transforms: The host's rules that make signed output.
        key: The secret key of the signatures, 32 bytes or more, the same in all processes.

    Raises:
        ConfigurationError: There are transforms without such a key, or the package for media types is not installed.
    """

    sandbox: Sandbox
    store: ArtifactStore
    limits: FileLimits = field(default_factory=FileLimits)
    transforms: Sequence[Transform] = ()
    key: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        check_installed()
        require(isinstance(self.sandbox, Sandbox), "sandbox must be a Sandbox", self.sandbox)
        if self.transforms and len(self.key) < _SHORTEST_KEY:
            raise ConfigurationError(
                f"what transforms make is signed: give Artifacts a key of {_SHORTEST_KEY} bytes or more, such as "
                "hashlib.sha256(SECRET_KEY.encode()).digest()"
            )

    def is_vouched_for(self, artifact: Artifact) -> bool:
        """Did a transform of the host make exactly this content? Check this, never the name or the author."""
        return bool(self.key) and is_vouched_for(artifact, self.key)

    def of_turn(self, job: TurnJob, report: Callable[[Exception], None]) -> TurnArtifacts:
        """The `TurnFiles` of one turn.

        Args:
            job: The turn's job, for a collection after a crash.
            report: Called with errors that must not stop a turn.
        """
        return TurnArtifacts(self, job, report)


class TurnArtifacts:
    """The `TurnFiles` of a host."""

    def __init__(self, artifacts: Artifacts, job: TurnJob, report: Callable[[Exception], None]) -> None:
        self._artifacts = artifacts
        self._store = artifacts.store
        self._sandbox = artifacts.sandbox
        self._job = job
        self._report = report
        self._place: tuple[str, str] | None = None

    async def open(self, wire: TurnWire, record: RecordStore) -> None:
        """See `TurnFiles.open`."""
        _, name = await record.read(self._sandbox.name)
        self._place = record.key, name
        if self._sandbox.disk:
            await wire.clock.call(partial(self._sandbox.make_folder, name))

    async def begin(self, wire: TurnWire, message: MessageStore) -> None:
        """See `TurnFiles.begin`."""
        if self._place is None:
            return
        record, name = self._place
        due = Due(self._job, message.key, record, name)
        others = [each for each in await self._store.due_of(record) if each.message != due.message]
        left = [each for each in others if not await self._collected_earlier(wire, message, each)]
        await self._store.expect(due, look_after=LOOK_AFTER)
        if self._sandbox.disk:
            try:
                _, after = self._sandbox.manifests(due)
                other_began = await self._remembered(wire, after) is not None
                anew = other_began and not await self._is_sent(wire, message)
                await wire.clock.call(partial(self._remember, due, left, anew))
            except (FileRefusedError, OSError) as error:  # then only files that tools name are collected
                self._report(error)

    async def _is_sent(self, wire: TurnWire, message: MessageStore) -> bool:
        """Has an earlier try of this turn sent the prompt? Yes, if that cannot be told."""
        row = await message.load()
        try:
            return row.session_id is not None and await is_stored(wire, row.session_id, row.prompt_id or "")
        except SessionNotFoundError:
            return False
        except WireError:
            return True

    async def _collected_earlier(self, wire: TurnWire, message: MessageStore, due: Due) -> bool:
        """Of a turn before this one, whose process died: collect its files before they are changed.

        False if they are due still. This turn begins nevertheless.
        """
        earlier = message.sibling(due.message)
        try:
            row = None if earlier is None else await earlier.load()
            if row is not None and row.status.terminal:
                await self._collect(wire, due, row)
                return True
        except RecordGoneError:
            await self._store.delete_of_message(due.message)
            return True
        except Exception as error:  # noqa: BLE001 - reported: it is tried again, and this turn is not to wait for it
            self._report(error)
        return False

    def _remember(self, due: Due, left: Sequence[Due], anew: bool) -> None:  # noqa: FBT001 - for `partial`
        """Keep what is in the folder: as what was there before this turn, and after those that are `left`.

        What an earlier try of this turn kept stands, unless it is to be kept `anew`.
        """
        own, own_next = self._sandbox.manifests(due)
        for path in (own, own_next) if anew else (own_next,):
            path.unlink(missing_ok=True)
        others = [self._sandbox.manifests(each) for each in left]
        wanted = [own, *(after for before, after in others if load_manifest(before) is not None)]
        wanted = [path for path in wanted if load_manifest(path) is None]
        if wanted:
            limits = self._artifacts.limits
            with self._sandbox.open(due.folder) as folder:
                found = take_manifest(folder, most=limits.looked_at, depth=limits.depth)
            for path in wanted:
                store_manifest(path, found)

    async def collect(self, wire: TurnWire, message: MessageStore, row: MessageState) -> None:
        """See `TurnFiles.collect`."""
        due = await self._store.find_due(message.key)
        if due is not None:
            await self._collect(wire, due, row)

    async def _collect(self, wire: TurnWire, due: Due, row: MessageState) -> None:
        sandbox, artifacts = self._sandbox, self._artifacts
        before, after = sandbox.manifests(due)
        folder = await self._folder(wire, due)
        try:
            attached = await Collection(
                due=due,
                row=row,
                folder=folder,
                before=await self._remembered(wire, before),
                after=lambda: self._remembered(wire, after),
                named=NamedFiles(sandbox.session_directory(due.folder), sandbox.on_server(due.folder)),
                store=self._store,
                limits=artifacts.limits,
                transforms=artifacts.transforms,
                key=artifacts.key,
                report=self._report,
            ).run(wire)
        finally:
            if folder is not None:
                await folder.close()
        if attached and sandbox.disk:
            await wire.clock.call(partial(self._forget, due))

    async def _remembered(self, wire: TurnWire, path: Path) -> Manifest | None:
        return await wire.clock.call(partial(load_manifest, path)) if self._sandbox.disk else None

    def _forget(self, due: Due) -> None:
        for path in self._sandbox.manifests(due):
            path.unlink(missing_ok=True)

    async def _folder(self, wire: TurnWire, due: Due) -> RecordFolder | None:
        if not self._sandbox.disk:
            return ServerFolder(wire, self._sandbox.session_directory(due.folder), due.folder)
        try:
            return DiskFolder(await wire.clock.call(partial(self._sandbox.open, due.folder)), wire.clock)
        except FileRefusedError as error:
            self._report(error)  # the folder was removed, or is a link now
            return None
