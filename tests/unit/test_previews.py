"""What is shown of a file without saving it: text as text, pictures drawn anew, and nothing of what cannot be shown."""

from __future__ import annotations

import asyncio
import io
import zipfile
from dataclasses import replace

import pytest
from pictures import png
from PIL import Image

from opencode_sessions.files import previews
from opencode_sessions.files.archive import archive
from opencode_sessions.files.message_files import MessageFile, MessageFiles
from opencode_sessions.files.ports import FileKind
from opencode_sessions.files.previews import (
    MarkdownPreview,
    NoPreview,
    PicturePreview,
    Table,
    TextPreview,
    changes_of,
    picture_of,
    preview_of,
)
from opencode_sessions.files.uploads import Uploads

PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]>>endobj
trailer<</Root 1 0 R>>
%%EOF"""


class Record:
    opencode_uid = "0123456789abcdef0123456789abcdef"


class Kept:
    """Files that were sent, of which `versions` are earlier versions."""

    def __init__(self, folder):
        self.uploads = Uploads(folder, work_folder=lambda _: folder)
        self.files = MessageFiles(self.uploads, None, suspends=False)
        self.versions = {}
        self.files.previous = self.previous

    def add(self, name, content):
        (saved,) = self.uploads.save(Record, [(name, io.BytesIO(content))])
        return MessageFile.of_upload(saved)

    async def previous(self, file):
        return self.versions.get(file.id)


@pytest.fixture
def kept(tmp_path):
    return Kept(tmp_path)


def preview(kept, name, content):
    return asyncio.run(preview_of(kept.files, kept.add(name, content)))


def drawn(kept, name, content):
    data = asyncio.run(picture_of(kept.files, kept.add(name, content)))
    return None if data is None else Image.open(io.BytesIO(data))


def test_text_is_shown_as_text_and_markup_too(kept):
    shown = preview(kept, "a.html", b"<script>alert(1)</script>\n\x1b\xe2\x80\xae")
    assert isinstance(shown, TextPreview)
    assert shown.content.text == "<script>alert(1)</script>\n‹\\x1b›‹\\u202e›"
    assert isinstance(preview(kept, "a.svg", b"<svg onload='x'/>"), TextPreview)
    long = preview(kept, "a.py", b"x = 1\n" * 200_000)
    assert (long.content.language, long.content.text.count("\n"), long.content.left_out > 1000) == (
        "python",
        399,
        True,
    )


def test_markdown_is_given_as_it_is_to_be_rendered(kept):
    assert preview(kept, "a.md", b"# Hi") == MarkdownPreview(markdown="# Hi")


def test_a_table_is_shown_by_its_first_rows(kept):
    assert preview(kept, "a.csv", b'day;city\n1;"Rome; It"\n') == Table(
        rows=(("day", "city"), ("1", "Rome; It"))
    )
    long = preview(kept, "a.csv", b"a,b\n" * 100_000)
    assert (len(long.rows), long.more) == (100, True)
    wide = preview(kept, "a.csv", b",".join([b"x" * 300] * 40) + b"\n")
    assert (len(wide.rows[0]), len(wide.rows[0][0]), wide.more) == (30, 200, True)
    assert preview(kept, "a.csv", b"") == Table(rows=())
    prices = preview(kept, "a.csv", b"price;note\n1,50;a, b and c\n2,00;d\n")
    assert prices.rows[1] == ("1,50", "a, b and c")


def test_a_table_of_quotation_marks_is_read_at_once(kept):
    shown = preview(kept, "a.csv", b'a,"b",c\n' + b'"' * 3_000 + b"x\n")
    assert shown.rows[0] == ("a", "b", "c")


def test_pictures_are_drawn_anew_smaller_and_without_what_hides_in_them(kept):
    written = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    exif[0x0112] = 6  # turned
    Image.new("RGB", (3000, 1500), "red").save(written, "JPEG", exif=exif)
    assert isinstance(preview(kept, "a.jpg", written.getvalue()), PicturePreview)
    picture = drawn(kept, "a.jpg", written.getvalue() + b"<script>")
    assert (picture.format, picture.size) == ("WEBP", (800, 1600))
    assert b"secret" not in picture.fp.getvalue()
    assert drawn(kept, "a.png", png(20, 20)).size == (20, 20)


def test_the_first_page_of_a_pdf_is_drawn(kept):
    assert isinstance(preview(kept, "a.pdf", PDF), PicturePreview)
    assert drawn(kept, "a.pdf", PDF).size == (400, 200)


def test_what_is_broken_or_would_take_too_much_is_not_drawn(kept):
    assert drawn(kept, "a.png", png(20, 20)[:40]) is None
    assert drawn(kept, "a.pdf", b"%PDF-1.4 nothing") is None
    bomb = io.BytesIO()
    Image.new("1", (8_000, 8_000)).save(bomb, "PNG")
    assert drawn(kept, "a.png", bomb.getvalue()) is None
    large = replace(kept.add("a.png", png(20, 20)), size=40_000_000)
    assert asyncio.run(preview_of(kept.files, large)).reason.startswith("It is too large")
    assert asyncio.run(picture_of(kept.files, large)) is None
    assert asyncio.run(picture_of(kept.files, kept.add("a.txt", b"x"))) is None


def test_without_what_draws_pictures_they_can_only_be_downloaded(kept, monkeypatch):
    previews._is_drawn.cache_clear()
    monkeypatch.setattr(previews, "find_spec", lambda name: None)
    for name, content in (("a.png", png(20, 20)), ("a.pdf", PDF)):
        assert isinstance(preview(kept, name, content), NoPreview)
        assert drawn(kept, name, content) is None
    previews._is_drawn.cache_clear()


def test_what_cannot_be_shown_says_so(kept):
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as opened:
        opened.writestr("a", "b")
    assert isinstance(preview(kept, "a.zip", zipped.getvalue()), NoPreview)
    gone = replace(kept.add("a.txt", b"x"), kind=FileKind.SKIPPED, reason="it is too large")
    assert asyncio.run(preview_of(kept.files, gone)) == NoPreview(reason="it is too large")


def test_changes_are_told_line_by_line(kept):
    old, new = kept.add("a.txt", b"one\ntwo\nthree"), kept.add("a.txt", b"one\n2\nthree\n")
    kept.versions[new.id] = old
    diff = asyncio.run(changes_of(kept.files, new))
    ((hunk,),) = [file.hunks for file in diff.files]
    assert [(line.kind, line.text) for line in hunk.lines] == [
        ("context", "one"),
        ("remove", "two"),
        ("remove", "three"),
        ("add", "2"),
        ("add", "three"),
    ]
    assert asyncio.run(changes_of(kept.files, old)) is None
    kept.versions[new.id] = kept.add("a.png", png(2, 2))
    assert asyncio.run(changes_of(kept.files, new)) is None
    kept.versions[new.id] = kept.add("a.txt", b"one\n" * 5_000)
    assert asyncio.run(changes_of(kept.files, new)) is None


def test_an_archive_has_all_files_once_and_none_leads_out_of_it(kept):
    async def zipped(files):
        return [piece async for piece in archive(kept.files, files)]

    files = [replace(kept.add("a.txt", b"x" * 1_000_000), path="../../etc/passwd")]
    files += [replace(kept.add("a.txt", text), path="etc/Passwd") for text in (b"1", b"2")]
    files += [replace(files[0], kind=FileKind.DELETED), replace(files[0], path="C:\\a\n.txt")]
    files += [replace(files[0], path="\u200b/etc/cron.d/x")]
    pieces = asyncio.run(zipped(files))
    assert max(map(len, pieces)) < 500_000
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == ["etc/passwd", "_etc/Passwd", "__etc/Passwd", "C__a.txt", "etc/cron.d/x"]
        assert opened.read("_etc/Passwd") == b"1"
