"""The files in a chat request: decoded as they are read, and not before the host has decided who sees the chat."""

from __future__ import annotations

import asyncio
import io
import threading
from base64 import b64decode, b64encode

import pytest

from opencode_sessions.files import Uploads
from opencode_sessions.host import Refused
from opencode_sessions.host import sent_files as module
from opencode_sessions.host.chats import ChatRequest, ChatService
from opencode_sessions.host.sent_files import SentFile
from opencode_sessions.host.vercel import VERCEL_CHAT

BYTES = bytes(range(256)) * 40


def opened(base64):
    return SentFile("days.csv", base64).content()[1]


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 100, len(BYTES)])
def test_a_file_has_the_same_bytes_whatever_the_sizes_in_which_it_is_read(length):
    base64 = b64encode(BYTES[:length]).decode()
    assert opened(base64).read() == BYTES[:length]
    for size in (1, 2, 5, 4096, 9000):
        reader = opened(base64)
        assert b"".join(iter(lambda reader=reader, size=size: reader.read(size), b"")) == BYTES[:length]
    file, known = opened(base64), io.BytesIO(BYTES[:length])
    for place in ((0, io.SEEK_END), (1, io.SEEK_SET), (1, io.SEEK_CUR)):
        assert file.seek(*place) == known.seek(*place)
        assert file.read() == known.read()
        file.seek(0)
        known.seek(0)


@pytest.mark.parametrize(
    "base64", ["A", "AA", "AAA", "QQ=Q", "QQ==QQ==" * 9000, "????", "QUJ\nDQUJD", "\u00e9" * 4]
)
def test_a_file_that_is_not_base64_is_refused_when_it_is_read(base64):
    file = opened(base64)
    with pytest.raises(Refused, match="is not base64"):
        file.read()


class Chats:
    """Only one chat, and its files are kept."""

    def __init__(self, uploads):
        self.uploads, self.saved = uploads, []

    async def send(self, user, chat, prompt, files):
        if chat != "mine":
            return None
        record = type("Record", (), {"opencode_uid": "0123456789abcdef0123456789abcdef"})
        self.saved = await self.uploads.asave(record, files)
        return "a message"


def test_files_are_decoded_in_a_thread_and_only_for_a_chat_that_the_user_may_see(tmp_path, monkeypatch):
    threads = []

    def decode(*given, **more):
        threads.append(threading.current_thread())
        return b64decode(*given, **more)

    monkeypatch.setattr(module, "b64decode", decode)
    uploads = Uploads(tmp_path / "kept", work_folder=lambda record: tmp_path / "agent")
    chats = Chats(uploads)
    service = ChatService(VERCEL_CHAT, chats, None, uploads)
    files = (SentFile("days.csv", b64encode(b"day,city\n" * 100).decode()),)

    async def send(chat):
        return await service.turn(ChatRequest(chat=chat, prompt="Look.", files=files), None)

    with pytest.raises(Refused) as caught:
        asyncio.run(send("anothers"))
    assert (caught.value.status, threads) == (404, [])
    assert asyncio.run(send("mine")).message == "a message"
    assert chats.saved[0]["size"] == 900
    assert threads
    assert threading.main_thread() not in threads
