"""Files that people upload with a prompt.

| what | where |
|---|---|
| the file as it came | in a folder or a store such as S3, which no agent works in: a folder for each record |
| what is known of it | in the message's `opencode_uploads`: so a retry and the recovery of a turn have it, too |
| a copy for the agent | in the agent's folder, below `uploads`, from when the prompt is sent |

A name that a person chose is never a path. The agent is told it in quotes, beside the path of the copy. Nothing is ever
overwritten, and no link that an agent made is followed.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import unicodedata
from base64 import b64encode
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple, TypedDict

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.files.errors import UploadError
from opencode_sessions.files.kinds import HEAD, check_installed, kind_of_head
from opencode_sessions.files.originals import ID, FolderOriginals, Originals
from opencode_sessions.files.placing import place
from opencode_sessions.files.sandbox import Sandbox
from opencode_sessions.files.upload_limits import UploadLimits, megabytes
from opencode_sessions.protocol.visible import visible_line
from opencode_sessions.texts import text
from opencode_sessions.turns.options import File, FilesOf

__all__ = ["Upload", "Uploads"]

_CHUNK = 1024 * 1024
_LONGEST_NAME = 200
_LONGEST_STEM = 60
_NOT_SAFE = re.compile(r"[^a-z0-9]+")
_EXTENSION = re.compile(r"\.[a-z0-9]{1,8}\Z")
_HEX = 32


class Upload(TypedDict):
    """The description of one file in a message's `opencode_uploads`.

    Attributes:
        id: The place of the original in the folder of `Uploads`: the record's uid and a random name.
        name: The person's name for it, for people.
        path: The path of the copy, relative to the agent's folder, with a name of ours.
        size: The size in bytes.
        mime: The media type, by content.
        sha256: The SHA-256 of its content, in hex.
    """

    id: str
    name: str
    path: str
    size: int
    mime: str
    sha256: str


class _Work(NamedTuple):
    """The folder of a record's agent: what gives it here, and what the server calls it."""

    make: Callable[[], Path]
    told: str


class _Room(NamedTuple):
    """How many bytes more there may be in a message, and in its record; None: any number."""

    in_message: int
    in_record: int | None


@dataclass(frozen=True, slots=True)
class Uploads:
    """Where the files that people upload are kept, and what is taken.

    Args:
        folder: The folder of the files, an absolute path in which no agent works, made when needed; or a store such
            as `FsspecOriginals`.
        limits: The limits for uploads.
        work_folder: Below which a copy is put for the agent: a `Sandbox`, or a function of the record that returns the
            folder its agent works in. By default the record's `opencode_directory`. If the function returns None, or
            the sandbox has no `disk`, only what `parts` lets through is taken.
        parts: Patterns of the media types that are sent with the prompt itself, for models that read them.
        largest_part: How many bytes such a file may have; a larger one is in the agent's folder only.

    Raises:
        ConfigurationError: One cannot work.
    """

    folder: Path | Originals
    limits: UploadLimits = field(default_factory=UploadLimits)
    work_folder: Sandbox | Callable[[Any], str | Path | None] = field(
        default=lambda record: getattr(record, "opencode_directory", None)
    )
    parts: Sequence[str] = ("image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf")
    largest_part: int = 10_000_000
    _originals: Originals = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_installed()
        found = FolderOriginals(self.folder) if isinstance(self.folder, str | Path) else self.folder
        object.__setattr__(self, "_originals", found)

    def save(self, record: Any, files: Iterable[Any]) -> list[Upload]:
        """Store files, and return the value for the message's `opencode_uploads`; save the message afterwards.

        Args:
            record: Whose folder they go to. It needs its `opencode_uid`, which a new one has.
            files: As a form of Django or Starlette has them: objects with a name (`name` or `filename`) and a `file`
                that can be read; or pairs of the two.

        Raises:
            UploadError: There are too many, one is too large, or is of a type that is not taken; or the record has too
                many by then. None is kept then.
        """
        given = [_named(each) for each in files]
        if len(given) > self.limits.number:
            raise UploadError(self.limits.too_many(len(given)), status=413)
        left = self._left_in_record(record, len(given)) if given else None
        saved: list[Upload] = []
        try:
            for name, content in given:
                together = sum(each["size"] for each in saved)
                room = _Room(self.limits.together - together, None if left is None else left - together)
                saved.append(self._save(record, name, content, room))
        except BaseException:
            self.discard(saved)
            raise
        return saved

    async def asave(self, record: Any, files: Iterable[Any]) -> list[Upload]:
        """See `save`. The files are read and written in a thread. If the caller is cancelled, none is kept."""
        saving = asyncio.ensure_future(asyncio.to_thread(self.save, record, list(files)))
        try:
            return await asyncio.shield(saving)
        except asyncio.CancelledError:
            saving.add_done_callback(self._undo)  # the thread cannot be stopped
            raise

    def _undo(self, saving: asyncio.Future[list[Upload]]) -> None:
        if not saving.cancelled() and saving.exception() is None:
            saving.get_loop().run_in_executor(None, self.discard, saving.result())

    def open(self, upload: Upload) -> BinaryIO:
        """The original file.

        Raises:
            UploadError: It no longer exists.
        """
        try:
            return self._originals.open(*_place(upload))
        except OSError as error:
            said = text("“{name}” is not there any more.", name=upload["name"])
            raise UploadError(said, status=410) from error

    def discard(self, uploads: Iterable[Upload]) -> None:
        """Remove files of a message that will not be stored."""
        for upload in uploads:
            self._originals.remove(*_place(upload))

    def remove(self, record: Any) -> None:
        """Remove all files of a record. Copies in the agent's folder go with that folder."""
        self.removal_of(record)()

    def removal_of(self, record: Any) -> Callable[[], None]:
        """A function that removes them, for use after the row was deleted."""
        if getattr(record, "opencode_uid", None) is None:  # a row from before there was that column
            return lambda: None
        return partial(self._originals.remove_all, _uid_of(record))

    def left_over(self, uids: Collection[str], *, older_than: float = 3_600.0) -> list[str]:
        """The names of folders whose record was deleted, by a cascade of the database or before a process died.

        Args:
            uids: The `opencode_uid` of each existing record.
            older_than: In seconds. Younger folders are left alone, because their record may not be committed yet.
        """
        ages = self._originals.ages().items()
        return sorted(
            name for name, age in ages if ID.fullmatch(name) and name not in uids and age > older_than
        )

    def remove_left_over(self, names: Iterable[str]) -> None:
        """Remove the folders that `left_over` has found."""
        for name in names:
            if not ID.fullmatch(name):
                raise ConfigurationError(f"{name!r} names no record's folder")
            self._originals.remove_all(name)

    def attached(self, uploads: Sequence[Upload], *, besides: Sequence[File] | FilesOf = ()) -> FilesOf:
        """The files of a prompt, for `Turn(…, files=…)`. A host with `uploads` in its settings does this itself.

        Each time that the prompt is sent, missing copies are written into the agent's folder.

        Args:
            uploads: The message's `opencode_uploads`.
            besides: Other files that go with the prompt.
        """
        return _Attached(self, uploads, besides)

    def _is_readable(self, record: Any) -> bool:
        """Whether the agent gets copies in its folder. The record may have no row yet."""
        folder = self.work_folder
        return folder.disk if isinstance(folder, Sandbox) else folder(record) is not None

    def _work(self, record: Any) -> _Work | None:
        if isinstance(self.work_folder, Sandbox):
            sandbox, name = self.work_folder, self.work_folder.name(record)
            return (
                _Work(partial(sandbox.make_folder, name), sandbox.on_server(name)) if sandbox.disk else None
            )
        found = self.work_folder(record)
        return None if found is None else _Work(partial(Path, found), str(found))

    def _file(self, work: _Work | None, upload: Upload) -> File:
        with self.open(upload) as content:
            path = ""
            if work is not None:
                path = f"{work.told}/{upload['path']}"
                place(content, work.make(), upload["path"])
                content.seek(0)
            url = ""
            if self._is_part(upload["mime"], upload["size"]):
                url = f"data:{upload['mime']};base64,{b64encode(content.read()).decode()}"
        return File(upload["name"], url, upload["mime"], path)

    def _is_part(self, mime: str, size: int) -> bool:
        return _is_among(mime, self.parts) and size <= self.largest_part

    def _left_in_record(self, record: Any, number: int) -> int | None:
        """How many bytes more the record may have; None: any number."""
        limits = self.limits
        if limits.in_record is None and limits.bytes_in_record is None:
            return None
        sizes = self._originals.sizes(_uid_of(record))
        if limits.in_record is not None and len(sizes) + number > limits.in_record:
            raise UploadError(
                text(
                    "{count} files were sent here already, and {most} are the most that are kept.",
                    count=len(sizes),
                    most=limits.in_record,
                ),
                status=413,
            )
        return None if limits.bytes_in_record is None else limits.bytes_in_record - sum(sizes)

    def _save(self, record: Any, name: str, content: BinaryIO, room: _Room) -> Upload:
        uid, own_id, safe, name = _uid_of(record), secrets.token_hex(16), _safe(name), _shown(name)
        with self._originals.spool(uid) as spooled:
            size, digest = self._write(spooled, name, content, room)
            spooled.seek(0)
            mime = kind_of_head(spooled.read(HEAD), name)
            self._check_type(record, name, mime, size)
            self._originals.keep(spooled, uid, own_id)
        return Upload(
            id=uid + own_id,
            name=name,
            path=f"uploads/{own_id[:6]}-{safe}",
            size=size,
            mime=mime,
            sha256=digest,
        )

    def _write(self, spooled: IO[bytes], name: str, content: BinaryIO, room: _Room) -> tuple[int, str]:
        size, digest = 0, hashlib.sha256()
        while chunk := content.read(_CHUNK):
            size += len(chunk)
            if size > self.limits.each:
                most = megabytes(self.limits.each)
                said = text("“{name}” is too large: a file may have {size}.", name=name, size=most)
                raise UploadError(said, status=413)
            if size > room.in_message:
                raise UploadError(
                    text(
                        "“{name}” is too much: the files of a message may have {size} together.",
                        name=name,
                        size=megabytes(self.limits.together),
                    ),
                    status=413,
                )
            if room.in_record is not None and size > room.in_record:
                raise UploadError(
                    text(
                        "“{name}” is too much: all files that are sent here may have {size} together.",
                        name=name,
                        size=megabytes(self.limits.bytes_in_record or 0),
                    ),
                    status=413,
                )
            digest.update(chunk)
            spooled.write(chunk)
        return size, digest.hexdigest()

    def _check_type(self, record: Any, name: str, mime: str, size: int) -> None:
        if not _is_among(mime, self.limits.types):
            said = text("“{name}” is of a type that is not taken here ({type}).", name=name, type=mime)
            raise UploadError(said, status=415)
        if not self._is_readable(record) and not self._is_part(mime, size):
            most = megabytes(self.largest_part)
            raise UploadError(
                text(
                    "“{name}” cannot be read by this agent: it takes pictures and PDFs of up to {size} ({type}).",
                    name=name,
                    size=most,
                    type=mime,
                ),
                status=415,
            )


@dataclass(frozen=True, slots=True)
class _Attached:
    """A `FilesOf`."""

    _uploads: Uploads
    _attached: Sequence[Upload]
    _besides: Sequence[File] | FilesOf

    def locate(self, record: Any) -> Callable[[], Sequence[File]]:
        uploads, besides = self._uploads, self._besides
        work = uploads._work(record)  # noqa: SLF001 - it is a part of it
        others = None if isinstance(besides, Sequence) else besides.locate(record)

        def files() -> list[File]:
            ours = [uploads._file(work, each) for each in self._attached]  # noqa: SLF001 - likewise
            return [*(besides if others is None else others()), *ours]  # type: ignore[misc]  # a Sequence, then

        return files


def _uid_of(record: Any) -> str:
    """What names the folder of its files."""
    uid = getattr(record, "opencode_uid", None)
    if not isinstance(uid, str) or not ID.fullmatch(uid):
        raise ConfigurationError(
            f"{type(record).__name__} has no opencode_uid, which names the folder of its uploads: it must be a "
            "record, with the columns of RecordModel or RecordMixin; a row from before there was that column gets "
            "one by opencode_uid = new_uid()"
        )
    return uid


def _place(upload: Upload) -> tuple[str, str]:
    """The record's uid and the file's own name."""
    uid, own_id = upload["id"][:_HEX], upload["id"][_HEX:]
    if not (ID.fullmatch(uid) and ID.fullmatch(own_id)):
        raise ConfigurationError(f"{upload['id']!r} is no id of an upload")
    return uid, own_id


def _named(given: Any) -> tuple[str, BinaryIO]:
    if isinstance(given, tuple):
        name, file = given
    else:
        name, file = getattr(given, "filename", None) or getattr(given, "name", ""), given.file
    return re.split(r"[/\\]", str(name or ""))[-1].strip(), file  # browsers of old send a whole path


def _shown(name: str) -> str:
    """A person's name for a file, on one line."""
    return visible_line(unicodedata.normalize("NFC", name))[:_LONGEST_NAME] or "file"


def _safe(name: str) -> str:
    """A part of a path that resembles a name. Its prefix keeps it from being a name with a special meaning."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    extension = _EXTENSION.search(plain)
    stem = _NOT_SAFE.sub("-", plain[: extension.start()] if extension else plain).strip("-")
    return (stem[:_LONGEST_STEM] or "file") + (extension[0] if extension else "")


def _is_among(mime: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(mime, pattern) for pattern in patterns)
