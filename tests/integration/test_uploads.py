"""Files that people send with a message: kept, limited, told to the agent, and there again for another try."""

from __future__ import annotations

import asyncio
import io
import json
import os
import threading
import time
import zipfile
from pathlib import Path

import fsspec
import pytest
from artifact_benches import django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import transaction
from django.test import override_settings
from host_models import Conversation, Prompt
from host_rows import AsyncRows, urls_of
from model_bodies import bodies_asked
from pictures import png

from opencode_sessions import ConfigurationError, File, Session, Turn, allow
from opencode_sessions.django import enqueue, save_uploads
from opencode_sessions.files.artifacts import Artifacts
from opencode_sessions.files.errors import UploadError
from opencode_sessions.files.memory import MemoryArtifactStore
from opencode_sessions.files.originals import FsspecOriginals
from opencode_sessions.files.placing import place
from opencode_sessions.files.sandbox import Sandbox
from opencode_sessions.files.storage import FolderStorage, FsspecStorage, age_of
from opencode_sessions.files.uploads import UploadLimits, Uploads
from opencode_sessions.jobs.dispatch import arun_job
from opencode_sessions.sqlalchemy import delete_uploads_with_row
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord

TABLE = b"day,city\n1,Rome\n"
PICTURE = png(20, 20)


def archive(**files):
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as opened:
        for name, content in files.items():
            opened.writestr(name.replace("_", "."), content)
    return written.getvalue()


def given(**files):
    return [(name.replace("_", "."), io.BytesIO(content)) for name, content in files.items()]


class Record:
    """What names the folder of its uploads."""

    opencode_uid = "0123456789abcdef0123456789abcdef"
    opencode_directory = None


@pytest.fixture
def work(tmp_path):
    return tmp_path / "work"


@pytest.fixture
def uploads(tmp_path, work):
    return Uploads(tmp_path / "uploads", work_folder=lambda _: work)


# -- what is kept, and what is not taken


def test_a_file_is_kept_under_a_name_of_ours_with_its_type_by_its_content(uploads):
    zipped = archive(a_txt="x")
    saved = uploads.save(Record, given(days_csv=TABLE, fake_png=TABLE, all_zip=zipped, dot_gif=PICTURE))
    assert [(each["name"], each["mime"], each["size"]) for each in saved] == [
        ("days.csv", "text/csv", len(TABLE)),
        ("fake.png", "text/plain", len(TABLE)),
        ("all.zip", "application/zip", len(zipped)),
        ("dot.gif", "image/png", len(PICTURE)),
    ]
    for each, content in zip(saved, (TABLE, TABLE, zipped, PICTURE), strict=True):
        with uploads.open(each) as file:
            assert file.read() == content
            assert os.fstat(file.fileno()).st_mode & 0o777 == 0o600
    assert saved[0]["path"].startswith("uploads/")
    assert saved[0]["path"].endswith("-days.csv")
    uploads.remove(Record)
    with pytest.raises(UploadError, match=r"“days.csv” is not there any more"):
        uploads.open(saved[0])


LIMITS = UploadLimits(number=2, each=100, together=150)
TAKEN_NOT = {
    "three": (given(a_txt=b"", b_txt=b"", c_txt=b""), 413, "These are 3 files; 2 are the most"),
    "large": (given(a_txt=b"a", b_txt=b"b" * 101), 413, "“b.txt” is too large: a file may have 0.0001 MB"),
    "much": (given(a_txt=b"a" * 90, b_txt=b"b" * 90), 413, "“b.txt” is too much"),
    "program": (given(a_txt=b"\x7fELF" + bytes(60)), 415, "“a.txt” is of a type that is not taken here"),
}


@pytest.mark.parametrize("which", TAKEN_NOT)
def test_what_is_not_taken_is_said_to_the_person_and_nothing_is_kept(tmp_path, which):
    files, status, said = TAKEN_NOT[which]
    uploads = Uploads(tmp_path / "uploads", limits=LIMITS, work_folder=lambda _: tmp_path)
    with pytest.raises(UploadError, match=said) as caught:
        uploads.save(Record, [(name, io.BytesIO(content.getvalue())) for name, content in files])
    assert caught.value.status == status
    assert [each for each in (tmp_path / "uploads").rglob("*") if each.is_file()] == []


def test_without_a_folder_in_common_only_what_goes_with_the_prompt_is_taken(tmp_path):
    uploads = Uploads(tmp_path / "uploads")
    with pytest.raises(UploadError, match="it takes pictures and PDFs of up to 10 MB"):
        uploads.save(Record, given(days_csv=TABLE))
    (saved,) = uploads.save(Record, given(dot_png=PICTURE))
    (file,) = uploads.attached([saved]).locate(Record)()
    assert (file.path, file.url[:22]) == ("", "data:image/png;base64,")


@pytest.mark.parametrize("disk", [True, False])
def test_a_record_without_a_row_takes_files_with_a_sandbox_that_has_a_disk(tmp_path, disk):
    uploads = Uploads(tmp_path / "uploads", work_folder=Sandbox(tmp_path / "agents", disk=disk))
    new = Conversation(title="Rome", opencode_uid=Record.opencode_uid)
    if disk:
        assert [each["name"] for each in uploads.save(new, given(days_csv=TABLE))] == ["days.csv"]
    else:
        with pytest.raises(UploadError, match="cannot be read by this agent"):
            uploads.save(new, given(days_csv=TABLE))


@pytest.mark.parametrize(
    ("name", "shown", "ending"),
    [
        ("../../etc/passwd", "passwd", "-passwd"),
        (r"C:\Users\ada\Report.PDF", "Report.PDF", "-report.pdf"),
        ("AGENTS.md", "AGENTS.md", "-agents.md"),
        ("\u202egnp\n.exe", r"‹\u202e›gnp‹\n›.exe", "-gnp.exe"),
        ("übung 1.tar.gz", "übung 1.tar.gz", "-ubung-1-tar.gz"),
        ("日本.txt", "日本.txt", "-file.txt"),
        ("", "file", "-file"),
        ("-rf ~", "-rf ~", "-rf"),
    ],
)
def test_a_name_is_shown_as_it_is_and_is_never_a_path(uploads, name, shown, ending):
    (saved,) = uploads.save(Record, [(name, io.BytesIO(TABLE))])
    assert saved["name"] == shown
    assert saved["path"] == f"uploads/{saved['id'][32:38]}{ending}"
    assert Path(saved["path"]).parts[:-1] == ("uploads",)


def test_folders_of_records_that_are_gone_are_left_over_once_they_are_old(uploads):
    class Gone:
        opencode_uid = "f" * 32

    for record in (Record, Gone):
        uploads.save(record, given(days_csv=TABLE))
    (uploads.folder / "notes").mkdir()
    assert uploads.left_over([Record.opencode_uid], older_than=60) == []
    assert uploads.left_over([Record.opencode_uid], older_than=-1) == [Gone.opencode_uid]
    uploads.remove_left_over([Gone.opencode_uid])
    assert sorted(each.name for each in uploads.folder.iterdir()) == sorted([Record.opencode_uid, "notes"])
    with pytest.raises(ConfigurationError, match=r"'\.\./x' names no record's folder"):
        uploads.remove_left_over(["../x"])


def test_a_large_file_is_never_in_memory(uploads):
    class Endless:
        largest = 0

        def read(self, size):
            self.largest = max(self.largest, size)
            return b"x" * size

    endless = Endless()
    with pytest.raises(UploadError, match="too large"):
        uploads.save(Record, [("big.txt", endless)])
    assert 0 < endless.largest <= 1_048_576


FULL = {
    "number": (
        {"in_record": 3},
        given(c_csv=TABLE, d_csv=TABLE),
        "2 files were sent here already, and 3 are the most",
    ),
    "bytes": (
        {"bytes_in_record": 40},
        given(c_csv=TABLE),
        "all files that are sent here may have 0.00004 MB together",
    ),
}


@pytest.mark.parametrize("which", FULL)
def test_what_is_more_than_a_record_may_have_is_refused_and_nothing_is_kept(tmp_path, which):
    limits, more, said = FULL[which]
    uploads = Uploads(tmp_path / "up", work_folder=lambda _: tmp_path, limits=UploadLimits(**limits))
    for name in ("a.csv", "b.csv"):
        saved = uploads.save(Record, [(name, io.BytesIO(TABLE))])
    with pytest.raises(UploadError, match=said) as caught:
        uploads.save(Record, [(name, io.BytesIO(content.getvalue())) for name, content in more])
    assert caught.value.status == 413
    assert len(list((tmp_path / "up" / Record.opencode_uid).iterdir())) == 2
    uploads.discard(saved)
    assert len(uploads.save(Record, given(d_csv=TABLE))) == 1


@pytest.mark.full
@pytest.mark.parametrize("where", ["memory", "s3"])
def test_files_are_kept_in_any_file_system_of_fsspec_and_removed_with_the_record(request, tmp_path, where):
    files = request.getfixturevalue("s3") if where == "s3" else fsspec.filesystem("memory")
    folder = f"/agents/{tmp_path.name}"
    limits = UploadLimits(number=3, in_record=3)
    uploads = Uploads(FsspecOriginals(files, folder), work_folder=lambda _: tmp_path, limits=limits)
    table, picture = uploads.save(Record, given(days_csv=TABLE, dot_png=PICTURE))
    with uploads.open(table) as opened:
        opened.seek(4)
        assert opened.read() == TABLE[4:]
    paths = [tmp_path / each["path"] for each in (table, picture)]
    found = uploads.attached([table, picture]).locate(Record)()
    assert [path.read_bytes() for path in paths] == [TABLE, PICTURE]
    assert found[1].url.startswith("data:image/png;base64,")
    with pytest.raises(UploadError, match="3 are the most"):
        uploads.save(Record, given(a_txt=b"a", b_txt=b"b"))
    with pytest.raises(UploadError, match="type that is not taken"):
        uploads.save(Record, given(a_txt=b"\x7fELF" + bytes(60)))
    uploads.discard([picture])
    with pytest.raises(UploadError, match="not there any more"), uploads.open(picture):
        pass
    assert uploads.left_over([], older_than=-60) == [Record.opencode_uid]
    assert uploads.left_over([Record.opencode_uid], older_than=-60) == []
    uploads.remove(Record)
    assert uploads.left_over([], older_than=-60) == []
    uploads.remove(Record)


@pytest.mark.full
def test_a_process_finds_the_files_that_another_one_kept(s3, tmp_path):
    other = type(s3)(**s3.storage_options, skip_instance_cache=True)
    here, there = (
        Uploads(FsspecOriginals(files, f"/agents/{tmp_path.name}"), work_folder=lambda _: tmp_path)
        for files in (s3, other)
    )
    here.save(Record, given(first_txt=b"first"))
    (kept,) = there.save(Record, given(second_txt=b"second"))
    with here.open(kept) as opened:
        assert opened.read() == b"second"
    storages = [FsspecStorage(files, f"/agents/{tmp_path.name}-made") for files in (s3, other)]
    assert list(storages[0].files()) == []
    name = storages[1].store(io.BytesIO(b"made"), "a")
    with storages[0].open(name, 0) as opened:
        assert opened.read() == b"made"


def test_a_file_that_could_not_be_copied_leaves_nothing(tmp_path):
    originals = FsspecOriginals(fsspec.filesystem("memory"), f"/originals/{tmp_path.name}")
    spooled = Torn(b"x" * 20)
    with pytest.raises(OSError, match="torn"):
        originals.keep(spooled, Record.opencode_uid, "a")
    assert originals.sizes(Record.opencode_uid) == []


class Torn(io.BytesIO):
    """A file that can be read once."""

    def read(self, size=-1):
        if self.tell():
            raise OSError("torn")
        return super().read(10)


class Slow(io.BytesIO):
    """A file whose last bytes come late."""

    def __init__(self):
        super().__init__(b"hello")
        self.begun, self.goes_on = threading.Event(), threading.Event()

    def read(self, size=-1):
        if self.tell():
            self.begun.set()
            self.goes_on.wait(60)
        return super().read(3)


class Watched(Uploads):
    """Uploads that tell when files were removed."""

    discarded = threading.Event()

    def discard(self, uploads):
        super().discard(uploads)
        self.discarded.set()


def test_files_of_a_caller_that_is_cancelled_are_not_kept(tmp_path):
    uploads, content = Watched(tmp_path / "up", work_folder=lambda _: tmp_path), Slow()

    async def cancelled():
        saving = asyncio.create_task(uploads.asave(Record, [("a.txt", content)]))
        await asyncio.to_thread(content.begun.wait, 60)
        saving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saving
        content.goes_on.set()
        assert await asyncio.to_thread(uploads.discarded.wait, 60)

    asyncio.run(cancelled())
    assert not list((tmp_path / "up" / Record.opencode_uid).iterdir())


def test_a_file_whose_age_is_unknown_is_new():
    assert age_of({"name": "a"}) == 0
    assert age_of({"mtime": time.time() - 90}) >= 90


def test_what_cannot_work_is_a_configuration_error(uploads):
    with pytest.raises(ConfigurationError, match="absolute path"):
        Uploads("uploads")
    with pytest.raises(ConfigurationError, match="has no opencode_uid"):
        uploads.save(MemoryRecord, given(a_txt=b""))
    with pytest.raises(ConfigurationError, match="no id of an upload"):
        uploads.open({"id": "../../secret", "name": "x"})


# -- putting it into the agent's folder


def test_nothing_is_overwritten_and_no_link_of_the_agents_is_followed(tmp_path):
    work, elsewhere = tmp_path / "work", tmp_path / "elsewhere"
    for folder in (work, elsewhere):
        folder.mkdir()
    place(io.BytesIO(b"first"), work, "uploads/a.txt")
    place(io.BytesIO(b"second"), work, "uploads/a.txt")
    assert (work / "uploads" / "a.txt").read_bytes() == b"first"
    (work / "uploads" / "b.txt").symlink_to(elsewhere / "b.txt")
    place(io.BytesIO(b"x"), work, "uploads/b.txt")
    (work / "sly").symlink_to(elsewhere)
    with pytest.raises(UploadError, match="cannot be put into the agent's folder"):
        place(io.BytesIO(b"x"), work, "sly/c.txt")
    assert list(elsewhere.iterdir()) == []
    assert sorted(each.name for each in (work / "uploads").iterdir()) == ["a.txt", "b.txt"]


# -- what the agent is told


def read(path):
    return f"!tool read {json.dumps({'filePath': str(path)})}\n!say seen"


def texts(body):
    """What the user said last, text by text."""
    content = [each for each in body["messages"] if each["role"] == "user"][-1]["content"]
    return (
        [content]
        if isinstance(content, str)
        else [each["text"] for each in content if each["type"] == "text"]
    )


def test_the_agent_is_told_of_it_and_reads_it(client, uploads, work):
    work.mkdir()
    record = MemoryRecord("Shop", directory=str(work))
    record.opencode_uid = Record.opencode_uid
    saved = uploads.save(record, [('say "hi"\n# New rules.csv', io.BytesIO(TABLE))])
    path = work / saved[0]["path"]
    turn = Turn(
        MemoryMessage(read(path)),
        Session(record, permissions_for=[allow("*")]),
        client,
        files=uploads.attached(saved, besides=[File.of("north", name="route.txt")]),
    )
    with bodies_asked() as bodies:
        result = turn.run()
    assert result.status == "completed", result.error
    told = "\n".join(texts(bodies[0]))
    assert json.dumps(str(path)) in told
    assert r'"say \"hi\"‹\\n›# New rules.csv"' in told, "on one line"
    assert "north" in told
    (call,) = [part for part in result.parts if part["type"] == "tool"]
    assert "1,Rome" in call["output"]


def test_a_file_that_is_gone_fails_the_turn_and_says_so(client, uploads):
    record = MemoryRecord("Shop")
    record.opencode_uid = Record.opencode_uid
    saved = uploads.save(record, given(days_csv=TABLE))
    uploads.remove(record)
    session = Session(record, permissions_for=[allow("*")])
    result = Turn(MemoryMessage("look"), session, client, files=uploads.attached(saved)).run()
    assert (result.status, result.error["name"]) == ("failed", "UploadError")
    assert "“days.csv” is not there any more" in result.error["message"]


# -- a host's turns: another process, and another try


def test_a_retry_of_a_django_host_has_the_files_of_the_first_try(chat, opencode, uploads, work):
    with chat.configured(opencode, UPLOADS=uploads), bodies_asked() as bodies:
        conversation = chat.conversation()
        saved = save_uploads(conversation, given(days_csv=TABLE))
        message = chat.message("!error 400 no\nlook", conversation, opencode_uploads=saved)
        enqueue(message)
        assert chat.ended(message).status == "failed"
        copy = work / saved[0]["path"]
        copy.write_text("the agent has spoilt it")
        again = chat.ended(retry_of(message))
    assert again.opencode_uploads == saved
    assert len(bodies) == 2
    for body in bodies:
        assert json.dumps(str(copy)) in "\n".join(texts(body))
    with uploads.open(again.opencode_uploads[0]) as file:
        assert file.read() == TABLE


@pytest.mark.full
def test_a_retry_that_the_hosts_function_makes_has_them_too(chat, opencode, uploads):
    with chat.configured(opencode, UPLOADS=uploads, RETRY="web_project.policy.retry"):
        saved = save_uploads(conversation := chat.conversation(), given(days_csv=TABLE))
        message = chat.message("!error 400 no", conversation, opencode_uploads=saved)
        enqueue(message)
        chat.ended(message)
        assert chat.ended(retry_of(message)).opencode_uploads == saved


def test_a_message_with_files_and_a_host_that_does_not_know_where_they_are(chat, opencode, uploads):
    with chat.configured(opencode):
        with pytest.raises(ImproperlyConfigured, match=r'OPENCODE\["UPLOADS"\] does not say'):
            save_uploads(chat.conversation(), [])
        saved = uploads.save(conversation := chat.conversation(), given(days_csv=TABLE))
        message = chat.message("hello", conversation, opencode_uploads=saved)
        enqueue(message)
        row = chat.ended(message)
        assert (row.status, row.error["name"]) == ("failed", "ConfigurationError")


def retry_of(message):
    from opencode_sessions.django.views import retrying  # noqa: PLC0415 - not before Django is configured

    return retrying.retry_of(message)


class NoQueue:
    """Whose process dies before it runs anything."""

    pending_lease = 60.0

    def dispatch(self, job):
        self.job = job


def test_another_process_takes_up_a_turn_with_its_files_and_tries_it_again(
    server, request, tmp_path, uploads, work
):
    async def main(rows):
        async with rows.host(dead := NoQueue(), uploads=uploads) as host, rows.sessions.begin() as db:
            db.add(record := Conversation(title="Lisbon"))
            await db.flush()
            saved = await uploads.asave(record, given(days_csv=TABLE, dot_png=PICTURE))
            db.add(
                message := Prompt(prompt="!error 400 no", conversation_id=record.id, opencode_uploads=saved)
            )
            await host.enqueue(message)
        with bodies_asked() as bodies:
            async with rows.host(uploads=uploads) as host:
                await arun_job(host, dead.job)
                assert (await rows.ended(message)).status == "failed"
                again = await host.retry(message)
                await rows.ended(again)
        assert (await rows.row(again)).opencode_uploads == saved
        assert len(bodies) == 2
        for body in bodies:
            told = "\n".join(texts(body))
            for each in saved:
                assert str(work / each["path"]) in told
                assert (work / each["path"]).stat().st_size == each["size"]

    run(main, server, request, tmp_path)


# -- their end


def test_files_go_with_the_row_of_a_django_record_unless_that_is_rolled_back(chat, opencode, uploads, work):
    with chat.configured(opencode, UPLOADS=uploads):
        conversation = chat.conversation()
        (saved,) = save_uploads(conversation, given(days_csv=TABLE))
        with transaction.atomic():
            chat.Conversation.objects.filter(pk=conversation.pk).delete()
            transaction.set_rollback(True)
        uploads.open(saved).close()
        conversation.delete()
        assert list(uploads.folder.iterdir()) == []


def test_a_command_finds_the_files_of_records_that_are_gone(chat, opencode, uploads, tmp_path, capsys):
    artifacts = Artifacts(Sandbox(tmp_path / "agents"), MemoryArtifactStore(FolderStorage(tmp_path / "kept")))
    settings = {**opencode, "UPLOADS": uploads, "ARTIFACTS": artifacts}
    with django_settings(tmp_path / "kept"), override_settings(OPENCODE=settings):
        there, gone = chat.conversation(), chat.conversation()
        for each in (there, gone):
            save_uploads(each, given(days_csv=TABLE))
        chat.Conversation.objects.filter(pk=gone.pk)._raw_delete("default")  # of which nobody hears
        call_command("opencode_files", "--older-than", "0s")
        assert capsys.readouterr().out.splitlines() == [
            f"the uploads {gone.opencode_uid}, whose record is gone",
            "1 left over, listed; --delete removes them",
        ]
        call_command("opencode_files", "--older-than", "0s", "--delete")
        assert [each.name for each in uploads.folder.iterdir()] == [there.opencode_uid]


def test_files_go_with_the_row_of_an_sqlalchemy_record(server, request, tmp_path, uploads):
    async def main(rows):
        async with rows.sessions.begin() as db:
            db.add(record := Conversation(title="Lisbon"))
            await db.flush()
            (saved,) = await uploads.asave(record, given(days_csv=TABLE))
        async with rows.sessions() as db:
            await db.delete(await db.get_one(Conversation, record.id))
            await db.flush()
            await db.rollback()
        uploads.open(saved).close()
        async with rows.sessions.begin() as db:
            await db.delete(await db.get_one(Conversation, record.id))
        deadline = time.monotonic() + 60
        while list(uploads.folder.iterdir()):
            assert time.monotonic() < deadline, "they are still there"
            await asyncio.sleep(0.02)

    end = delete_uploads_with_row(Conversation, uploads)
    try:
        run(main, server, request, tmp_path)
    finally:
        end()


def run(main, server, request, tmp_path):
    async def all_of_it():
        async with AsyncRows(server, urls_of(request, tmp_path, "sqlite")[1]) as rows:
            await asyncio.wait_for(main(rows), 200)

    asyncio.run(all_of_it())
