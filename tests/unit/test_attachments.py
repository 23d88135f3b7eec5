"""Pictures and files of a reply: what is kept of them, and how they are shown."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_sessions.display import File, Tool, display
from opencode_sessions.protocol.attachments import (
    LARGEST_KEPT,
    attachments_of,
    content_of,
    kept,
    stored_file,
)
from opencode_sessions.protocol.parts import Part

IDS = {"id": "prt_1", "sessionID": "ses_1", "messageID": "msg_1"}
FILES = "/turns/7/files/"


def data_url(content, mime="image/png"):
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


def told(url, mime="image/png", **more):
    return {**IDS, "type": "file", "mime": mime, "url": url, **more}


def call(*files, status="completed"):
    state = {"status": status, "input": {"filePath": "/work/logo.png"}, "attachments": list(files)}
    return {
        "id": "prt_0",
        "messageID": "msg_1",
        "type": "tool",
        "tool": "read",
        "callID": "c",
        "state": state,
    }


def part_of(found):
    part = Part("prt_0", "msg_1", found["type"])
    part.take(found)
    return part.to_json()


def shown(found, files=""):
    (each,) = display([part_of(found)], status="completed", files=files)
    return each.files[0] if isinstance(each, Tool) else each


@given(st.binary(max_size=200))
def test_a_small_file_is_kept_whole_with_its_size(content):
    file = kept(told(data_url(content)))
    assert content_of(file["url"]) == content
    assert file["size"] == len(content)


@pytest.mark.parametrize("more", [0, 1, 2, 3])
def test_of_a_large_file_the_size_and_the_ids_are_kept(more):
    content = bytes(LARGEST_KEPT + more)
    assert kept(told(data_url(content))) == {**IDS, "mime": "image/png", "size": len(content)}


def test_a_part_keeps_the_files_of_a_call_and_a_file_of_its_own():
    small, large = told(data_url(b"small")), told(data_url(bytes(LARGEST_KEPT)), id="prt_2")
    for found in (call(small, large), {**small, "type": "file"}):
        part = part_of(found)
        assert Part.from_json(part).to_json() == part
        assert attachments_of(part)[0]["id"] == "prt_1"
    assert "url" not in attachments_of(part_of(call(large)))[0]


def test_a_change_of_the_files_alone_is_a_change():
    part = Part("prt_0", "msg_1", "tool")
    assert part.take(call())
    assert part.take(call(told(data_url(b"new"))))
    assert part.take(call(told(data_url(b"new")))) is None


@pytest.mark.parametrize("odd", [None, "text", {"a": 1}, [1, None, "x"], [{}], [{"url": 5, "id": []}]])
def test_whatever_stands_in_place_of_files_is_survived(odd):
    found = call()
    found["state"]["attachments"] = odd
    display([part_of(found)], files=FILES)
    assert stored_file([found], "prt_1") is None


def test_a_stored_file_is_found_by_its_id():
    one, two, own = (told(data_url(b"x"), id=f"prt_{number}") for number in (1, 2, 3))
    parts = [call(one, two), own]
    assert [stored_file(parts, f"prt_{number}") for number in (1, 2, 3, 4)] == [one, two, own, None]


def test_a_picture_is_shown_where_the_host_serves_it_and_is_called_like_what_was_read():
    assert shown(call(told(data_url(bytes(LARGEST_KEPT)))), FILES) == File(
        id="prt_0-file-0",
        name="logo.png",
        mime="image/png",
        url=f"{FILES}msg_1/prt_1",
        picture=True,
        size=LARGEST_KEPT,
    )


def test_without_an_address_a_small_picture_is_shown_and_a_large_one_named():
    small, large = data_url(b"small"), data_url(bytes(LARGEST_KEPT))
    assert (shown(call(told(small))).url, shown(call(told(small))).picture) == (small, True)
    assert (shown(call(told(large))).url, shown(call(told(large))).picture) == ("", False)


@pytest.mark.parametrize("mime", ["image/svg+xml", "text/html", "application/pdf", "image/png ", ""])
def test_what_can_hold_a_script_is_never_a_picture_and_has_no_data_url(mime):
    file = shown(call(told(data_url(b"<script>", mime), mime)))
    assert (file.url, file.picture) == ("", False)


@pytest.mark.parametrize(
    "url", ["data:text/html;base64,PHNjcmlwdD4=", "javascript:alert(1)", "file:///etc/passwd"]
)
def test_a_picture_whose_url_says_otherwise_is_only_named(url):
    file = shown(call(told(url)))
    assert (file.url, file.picture) == ("", False)


def test_a_picture_from_elsewhere_is_a_link_and_not_loaded():
    for found in (call(told("https://example.org/a.png")), told("https://example.org/a.png")):
        file = shown(found, FILES)
        assert (file.url, file.picture) == ("https://example.org/a.png", False)


def test_an_id_cannot_lead_out_of_the_address():
    assert shown(call(told(data_url(b"x"), id="../../x?y")), FILES).url == f"{FILES}msg_1/..%2F..%2Fx%3Fy"
