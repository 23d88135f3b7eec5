"""Serving a file: ranges, conditions, and a name that nobody can misuse."""

from __future__ import annotations

import asyncio

import pytest

from opencode_sessions.files.serving import FileHead, disposition, limited, respond

FILE = FileHead("a.txt", 10, "ab" * 32)
TAG = f'"{FILE.sha256}"'


def test_a_file_is_a_sealed_download():
    found = respond(FILE, {})
    assert (found.status, found.start, found.length) == (200, 0, 10)
    assert found.headers["Content-Type"] == "application/octet-stream"
    assert found.headers["Content-Disposition"] == 'attachment; filename="a.txt"'
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    assert found.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert found.headers["Cache-Control"].startswith("private")
    assert (found.headers["ETag"], found.headers["Content-Length"]) == (TAG, "10")


@pytest.mark.parametrize(
    ("asked", "status", "start", "length", "told"),
    [
        ("bytes=0-3", 206, 0, 4, "bytes 0-3/10"),
        ("bytes=4-", 206, 4, 6, "bytes 4-9/10"),
        ("bytes=4-99", 206, 4, 6, "bytes 4-9/10"),
        ("bytes=-3", 206, 7, 3, "bytes 7-9/10"),
        ("bytes=-99", 206, 0, 10, "bytes 0-9/10"),
        ("bytes=10-", 416, 0, 0, "bytes */10"),
        ("bytes=-0", 416, 0, 0, "bytes */10"),
        ("bytes=5-4", 416, 0, 0, "bytes */10"),
        ("bytes=-", 200, 0, 10, None),
        ("bytes=0-1,3-4", 200, 0, 10, None),
        ("lines=0-1", 200, 0, 10, None),
        ("bytes=٣-", 200, 0, 10, None),
        (f"bytes={'9' * 5000}-", 200, 0, 10, None),
    ],
)
def test_a_range_is_served_and_what_is_none_is_not_minded(asked, status, start, length, told):
    found = respond(FILE, {"Range": asked})
    assert (found.status, found.start, found.length, found.headers.get("Content-Range")) == (
        status,
        start,
        length,
        told,
    )
    assert found.headers["Content-Length"] == str(length)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"If-None-Match": TAG}, 304),
        ({"If-None-Match": f'"x", W/{TAG}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-None-Match": TAG, "Range": "bytes=0-1"}, 304),
        ({"If-Range": TAG, "Range": "bytes=0-1"}, 206),
        ({"If-Range": '"x"', "Range": "bytes=0-1"}, 200),
        ({"If-Range": "Mon, 30 Nov 2026 06:00:00 GMT", "Range": "bytes=0-1"}, 200),
    ],
)
def test_conditions_go_by_the_etag(asked, status):
    found = respond(FILE, asked)
    assert found.status == status
    assert found.headers["ETag"] == TAG


def test_an_empty_file_and_one_whose_digest_is_not_known_are_served():
    assert respond(FileHead("a", 0, ""), {"If-None-Match": "*"}).status == 200
    assert respond(FileHead("a", 0, ""), {"Range": "bytes=0-"}).status == 416
    assert "ETag" not in respond(FileHead("a", 0, ""), {}).headers


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a b.txt", 'attachment; filename="a b.txt"'),
        (
            'a"\r\nSet-Cookie: x=1.txt',
            "attachment; filename=\"a_Set-Cookie_ x_1.txt\"; filename*=UTF-8''a%22Set-Cookie%3A%20x%3D1.txt",
        ),
        ("\u202egnp.exe", 'attachment; filename="gnp.exe"'),
        ("übung.txt", "attachment; filename=\"_bung.txt\"; filename*=UTF-8''%C3%BCbung.txt"),
        ("a/b.txt", "attachment; filename=\"a_b.txt\"; filename*=UTF-8''a%2Fb.txt"),
        ("\n", 'attachment; filename="file"'),
    ],
)
def test_a_name_breaks_out_of_no_header(name, told):
    assert disposition(name) == told
    assert disposition(name).isascii()


def test_no_more_is_sent_than_was_asked_for():
    async def content():
        for piece in (b"abc", b"def", b"ghi"):
            yield piece

    async def read(length):
        return b"".join([piece async for piece in limited(content(), length)])

    assert [asyncio.run(read(length)) for length in (1, 3, 5, 99)] == [b"a", b"abc", b"abcde", b"abcdefghi"]
