"""Previews of files. The file itself is never sent: a preview is text, or a picture that we encode again.

| the file | the preview |
|---|---|
| PNG, JPEG, GIF, WebP, BMP | encoded again as WebP, by Pillow (`opencode-sessions[previews]`) |
| PDF | its first page as WebP, drawn by PDFium |
| CSV | a table of its first rows |
| Markdown | its text, rendered and sanitised like an answer |
| other UTF-8 text, HTML and SVG too | its first lines, as text |
| anything else | nothing |
"""

from __future__ import annotations

import csv
import difflib
import io
import logging
import threading
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, ClassVar, TypeAlias

from opencode_sessions.display.coerce import laid_out
from opencode_sessions.display.tools.cards import Diff, FileContent
from opencode_sessions.display.tools.diffs import FileDiff, parse_diff
from opencode_sessions.display.tools.paths import language_of
from opencode_sessions.files.kinds import is_text
from opencode_sessions.files.message_files import MessageFile, MessageFiles
from opencode_sessions.protocol.visible import visible, visible_line
from opencode_sessions.texts import stored_text
from opencode_sessions.texts import text as translated

__all__ = [
    "MarkdownPreview",
    "NoPreview",
    "PicturePreview",
    "Preview",
    "Table",
    "TextPreview",
    "changes_of",
    "picture_of",
    "preview_of",
]

_log = logging.getLogger("opencode_sessions.files")

_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP")
_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp")
_PDF = "application/pdf"
_LONGEST_TEXT = 256 * 1024
_LONGEST_PICTURE = 30_000_000
_MOST_PIXELS = 50_000_000
_SIDE = 1600
_MOST_ROWS, _MOST_COLUMNS, _LONGEST_CELL = 100, 30, 200

_LINES = 10
"""How many lines show which character separates the cells of a table."""

_MOST_COMPARED = 4_000
"""How many lines each of two texts may have to be compared: the time grows with their square."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturePreview:
    """A picture, which `picture_of` makes."""

    type: ClassVar[str] = "picture"
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPreview:
    """A text.

    Attributes:
        content: Its lines.
    """

    type: ClassVar[str] = "text"
    content: FileContent


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkdownPreview:
    """Markdown, to be rendered and sanitised.

    Attributes:
        markdown: The beginning of the text.
        left_out: How many lines are not shown.
    """

    type: ClassVar[str] = "markdown"
    markdown: str
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of a table.

    Attributes:
        rows: The rows; the first one is the header.
        more: Whether there are more, or longer ones.
    """

    type: ClassVar[str] = "table"
    rows: tuple[tuple[str, ...], ...]
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NoPreview:
    """There is no preview.

    Attributes:
        reason: The reason, for people.
    """

    type: ClassVar[str] = "none"
    reason: str


Preview: TypeAlias = PicturePreview | TextPreview | MarkdownPreview | Table | NoPreview


async def preview_of(files: MessageFiles, file: MessageFile) -> Preview:
    """The preview of a file.

    Raises:
        FileError: Its bytes are missing.
    """
    if not file.has_content:
        return NoPreview(reason=stored_text(file.reason) or translated("It was deleted."))
    if _is_drawn(file.media_type):
        if file.size > _LONGEST_PICTURE:
            return NoPreview(reason=translated("It is too large to be drawn here. Download it."))
        return PicturePreview(name=visible_line(file.name))
    data = await files.read(file, _LONGEST_TEXT)
    if file.media_type == _PDF or not is_text(data):  # a PDF can consist mostly of text
        return NoPreview(reason=translated("It can be downloaded, and not be shown here."))
    text = data.decode(errors="ignore")
    is_table = file.media_type == "text/csv"
    return _table(text, whole=len(data) == file.size) if is_table else _text(file, text)


def _text(file: MessageFile, text: str) -> TextPreview | MarkdownPreview:
    shown = laid_out(text)
    if file.media_type == "text/markdown":
        return MarkdownPreview(markdown=shown.text, left_out=shown.left_out)
    content = FileContent(
        path=visible_line(file.path),
        text=shown.text,
        language=language_of(file.path),
        left_out=shown.left_out,
    )
    return TextPreview(content=content)


async def picture_of(files: MessageFiles, file: MessageFile) -> bytes | None:
    """A file that `preview_of` calls a picture, encoded again as WebP; None if it cannot be decoded.

    Raises:
        FileError: Its bytes are missing.
    """
    if not _is_drawn(file.media_type) or file.size > _LONGEST_PICTURE:
        return None
    data = await files.read(file, _LONGEST_PICTURE)
    return await files.work(lambda: _drawn(data, is_pdf=file.media_type == _PDF))


async def changes_of(files: MessageFiles, file: MessageFile) -> Diff | None:
    """The changes since the version before; None without one, or if one of the two is not a text or is very long.

    Raises:
        FileError: The bytes of one are missing.
    """
    before = await files.previous(file)
    if before is None or not (before.has_content and file.has_content):
        return None
    old, new = [await files.read(each, _LONGEST_TEXT) for each in (before, file)]
    if not (is_text(old) and is_text(new)):
        return None
    texts = [visible(each.decode(errors="ignore")).splitlines(keepends=True) for each in (old, new)]
    if max(map(len, texts)) > _MOST_COMPARED:
        return None
    found, left_out = await files.work(lambda: _diff(visible_line(file.path), *texts))
    return Diff(files=tuple(found), left_out=left_out)


def _diff(path: str, old: list[str], new: list[str]) -> tuple[list[FileDiff], int]:
    lines = [line.rstrip("\n") for line in difflib.unified_diff(old, new, path, path, lineterm="")]
    return parse_diff("\n".join(lines))


def _table(text: str, *, whole: bool) -> Table | NoPreview:
    lines = text if whole else text[: text.rfind("\n") + 1]
    rows: list[tuple[str, ...]] = []
    more = not whole
    try:
        for row in csv.reader(io.StringIO(lines), delimiter=_delimiter(lines[:4096])):
            if len(rows) == _MOST_ROWS:
                more = True
                break
            more = more or len(row) > _MOST_COLUMNS or any(len(cell) > _LONGEST_CELL for cell in row)
            rows.append(tuple(visible_line(cell)[:_LONGEST_CELL] for cell in row[:_MOST_COLUMNS]))
    except csv.Error:
        return NoPreview(reason=translated("It says that it is a table, and cannot be read as one."))
    return Table(rows=tuple(rows), more=more)


def _delimiter(lines: str) -> str:
    """The character that separates the cells: every line has it, and has most of it.

    `csv.Sniffer` is not used, because a text of many quotation marks makes it work for minutes.
    """
    counts = {
        each: [line.count(each) for line in lines.splitlines()[:_LINES] if line] or [0] for each in ",;\t|"
    }
    return max(counts, key=lambda each: (min(counts[each]), sum(counts[each])))


@cache
def _is_drawn(media_type: str) -> bool:
    """Is it a picture or a PDF, and is the package for it installed?"""
    needed = ["PIL"] if media_type in _PICTURES else ["PIL", "pypdfium2"] if media_type == _PDF else []
    return bool(needed) and all(find_spec(name) is not None for name in needed)


_drawing = threading.Lock()
"""PDFium allows one caller at a time; and one picture at a time limits the memory."""


def _drawn(data: bytes, *, is_pdf: bool) -> bytes | None:
    try:
        with _drawing:
            return _webp(_page(data) if is_pdf else _picture(data))
    except Exception as error:  # noqa: BLE001 - both libraries may raise anything for a broken file
        _log.info("a file cannot be drawn: %s", error)
        return None


def _webp(picture: Any) -> bytes:
    picture.thumbnail((_SIDE, _SIDE))
    drawn = io.BytesIO()
    picture.convert("RGBA" if picture.has_transparency_data else "RGB").save(drawn, "WEBP", quality=80)
    return drawn.getvalue()


def _picture(data: bytes) -> Any:
    from PIL import Image, ImageOps  # noqa: PLC0415 - an extra

    picture = Image.open(io.BytesIO(data), formats=_FORMATS)  # reads only its header
    if picture.width * picture.height > _MOST_PIXELS:
        raise ValueError(f"it has {picture.width} × {picture.height} pixels")
    picture.draft("RGB", (_SIDE, _SIDE))
    return ImageOps.exif_transpose(picture)


def _page(data: bytes) -> Any:
    import pypdfium2  # noqa: PLC0415 - likewise

    document = pypdfium2.PdfDocument(data)
    try:
        page = document[0]
        width, height = page.get_size()
        return page.render(scale=min(2.0, _SIDE / max(width, height, 1.0)), may_draw_forms=False).to_pil()
    finally:
        document.close()
