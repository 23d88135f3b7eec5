"""The files of a host's turns: kept while they are due, collected when a turn has ended, and found again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from opencode_sessions.errors import ConfigurationError, RecordGoneError
from opencode_sessions.files.collecting import Collection
from opencode_sessions.files.errors import FileRefusedError
from opencode_sessions.files.folders import DiskFolder, RecordFolder, ServerFolder
from opencode_sessions.files.kinds import check_installed
from opencode_sessions.files.limits import FileLimits
from opencode_sessions.files.manifest import load_manifest, store_manifest, take_manifest
from opencode_sessions.files.ports import Artifact, ArtifactStore, Due, Transform
from opencode_sessions.files.sandbox import Sandbox
from opencode_sessions.files.tool_calls import NamedFiles
from opencode_sessions.files.vouching import is_vouched_for
from opencode_sessions.store.messages import MessageState, MessageStore
from opencode_sessions.store.records import RecordStore
from opencode_sessions.store.turn_table import TurnJob
from opencode_sessions.turns.ports import TurnWire
from opencode_sessions.validation import require

__all__ = ["LOOK_AFTER", "Artifacts"]

LOOK_AFTER = 60.0
"""Seconds after which whoever recovers turns looks at files that are due: until then their runner collects them."""

_SHORTEST_KEY = 32


@dataclass(frozen=True, slots=True)
class Artifacts:
    """What a host says once of the files that its agents make.

    ::

        ARTIFACTS = Artifacts(Sandbox("/srv/agents"), store)

    Args:
        sandbox: Where agents work.
        store: Keeps their files.
        limits: How much of a turn is kept.
        transforms: The host's rules that make output it vouches for.
        key: By which that is signed: secret, of 32 bytes or more, and the same in all processes.

    Raises:
        ConfigurationError: There are transforms and no such key; or what tells media types is not installed.
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
        """Has a transform of the host's made this very content? Ask this, and never the name or the author."""
        return bool(self.key) and is_vouched_for(artifact, self.key)

    def of_turn(self, job: TurnJob, report: Callable[[Exception], None]) -> TurnArtifacts:
        """What one turn needs of them.

        Args:
            job: The turn, for whoever collects its files after a crash.
            report: Told of what must not stop a turn.
        """
        return TurnArtifacts(self, job, report)


class TurnArtifacts:
    """`TurnFiles` of a host's."""

    def __init__(self, artifacts: Artifacts, job: TurnJob, report: Callable[[Exception], None]) -> None:
        self._artifacts = artifacts
        self._store = artifacts.store
        self._sandbox = artifacts.sandbox
        self._job = job
        self._report = report
        self._place: tuple[str, str] | None = None

    async def open(self, wire: TurnWire, message: MessageStore, record: RecordStore) -> None:
        """See `TurnFiles.open`."""
        _, name = await record.read(self._sandbox.name)
        self._place = record.key, name
        if self._sandbox.disk:
            await wire.clock.call(partial(self._sandbox.make_folder, name))
        for due in await self._store.due_of(record.key):
            if due.message != message.key:
                await self._collect_earlier(wire, message.sibling(due.message), due)

    async def _collect_earlier(self, wire: TurnWire, message: MessageStore | None, due: Due) -> None:
        """Of a turn before this one, whose process died: its files are those that are there before this one begins."""
        if message is None:
            return
        try:
            row = await message.load()
        except RecordGoneError:
            await self._store.delete_of_message(due.message)
            return
        if row.status.terminal:
            await self._collect(wire, due, row)

    async def begin(self, wire: TurnWire, message: MessageStore) -> None:
        """See `TurnFiles.begin`."""
        if self._place is None:
            return
        record, name = self._place
        due = Due(self._job, message.key, record, name)
        await self._store.expect(due, look_after=LOOK_AFTER)
        if self._sandbox.disk:
            try:
                await wire.clock.call(partial(self._remember, due))
            except (FileRefusedError, OSError) as error:  # then only what tools name is collected
                self._report(error)

    def _remember(self, due: Due) -> None:
        """Keep what is in the folder; but what was kept of an earlier try of this turn stands."""
        path, limits = self._sandbox.manifest(due.folder), self._artifacts.limits
        if load_manifest(path, due.message) is None:
            with self._sandbox.open(due.folder) as folder:
                found = take_manifest(folder, most=limits.looked_at, depth=limits.depth)
            store_manifest(path, due.message, found)

    async def collect(self, wire: TurnWire, message: MessageStore, row: MessageState) -> None:
        """See `TurnFiles.collect`."""
        due = await self._store.find_due(message.key)
        if due is not None:
            await self._collect(wire, due, row)

    async def _collect(self, wire: TurnWire, due: Due, row: MessageState) -> None:
        sandbox, artifacts = self._sandbox, self._artifacts
        path = sandbox.manifest(due.folder)
        before = await wire.clock.call(partial(load_manifest, path, due.message)) if sandbox.disk else None
        folder = await self._folder(wire, due)
        try:
            attached = await Collection(
                due=due,
                row=row,
                folder=folder,
                before=before,
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
        if attached and before is not None:
            await wire.clock.call(partial(path.unlink, missing_ok=True))

    async def _folder(self, wire: TurnWire, due: Due) -> RecordFolder | None:
        if not self._sandbox.disk:
            return ServerFolder(wire, self._sandbox.session_directory(due.folder), due.folder)
        try:
            return DiskFolder(await wire.clock.call(partial(self._sandbox.open, due.folder)), wire.clock)
        except FileRefusedError as error:
            self._report(error)  # it was removed, or is a link now
            return None
