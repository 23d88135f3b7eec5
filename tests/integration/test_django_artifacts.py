"""The files that an agent makes, with Django: its settings, its tables, a storage of its."""

from __future__ import annotations

import asyncio
import json

import pytest
from artifact_benches import create_django_tables, django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connections, transaction
from django.test import override_settings
from fix_django_app import wait_until

from opencode_sessions.django import aturn_for, enqueue
from opencode_sessions.django.host import dispatcher
from opencode_sessions.files.artifacts import Artifacts
from opencode_sessions.files.sandbox import Sandbox
from opencode_sessions.runtime.stepping import iterate_sync, run_sync


@pytest.fixture
def artifacts(chat, opencode, tmp_path):
    """The project keeps files."""
    with django_settings(tmp_path / "bytes"):
        from opencode_sessions.django.artifacts.models import ArtifactRow, FilesDue  # noqa: PLC0415 - configured first
        from opencode_sessions.django.artifacts.store import DjangoArtifactStore  # noqa: PLC0415 - likewise

        create_django_tables("default")
        for model in (ArtifactRow, FilesDue):
            model.objects.all().delete()
        found = Artifacts(Sandbox(tmp_path / "sandbox"), DjangoArtifactStore())
        more = {"ARTIFACTS": found, "DIRECTORY": found.sandbox.server_folders}
        with override_settings(OPENCODE={**opencode, **more}):
            yield found


def writing(artifacts, conversation, text):
    path = f"{artifacts.sandbox.server_folders}/{artifacts.sandbox.name(conversation)}/notes.md"
    return f"!tool write {json.dumps({'filePath': path, 'content': text})}"


def kept(artifacts, message):
    found = run_sync(artifacts.store.list(f"chat_message:{message.pk}"))
    return [(each.path, each.kind, b"".join(iterate_sync(artifacts.store.open(each.id)))) for each in found]


def test_the_files_of_a_turn_are_kept_in_either_api(chat, artifacts):
    conversation = chat.conversation()
    first = chat.message(writing(artifacts, conversation, "one"), conversation)
    enqueue(first)
    chat.ended(first)
    second = chat.message(writing(artifacts, conversation, "two"), conversation)

    async def run():
        # The row of the first says that it has ended before its files are collected.
        await (await aturn_for(second, when_busy="wait")).run()

    asyncio.run(run())
    assert kept(artifacts, first) == [("notes.md", "created", b"one")]
    assert kept(artifacts, second) == [("notes.md", "changed", b"two")]


def test_settings_that_cannot_work_say_so(chat, opencode):
    from opencode_sessions.django.artifacts.store import DjangoArtifactStore  # noqa: PLC0415 - configured first
    from opencode_sessions.django.conf import settings  # noqa: PLC0415 - likewise

    with chat.configured(opencode, ARTIFACTS="chat_project.chat.policy.rules_for"):
        with pytest.raises(ImproperlyConfigured, match="must be an Artifacts"):
            settings()
    with pytest.raises(ImproperlyConfigured, match="INSTALLED_APPS"):
        DjangoArtifactStore()


def test_files_go_with_their_record_and_what_is_left_over_is_found(
    nothing_left, chat, artifacts, capsys, tmp_path
):
    conversation, other = chat.conversation(), chat.conversation()
    for each in (conversation, other):
        message = chat.message(writing(artifacts, each, "one"), each)
        enqueue(message)
        chat.ended(message)
        wait_until(lambda: kept(artifacts, message))  # noqa: B023 - it is called here
    wait_until(lambda: dispatcher().idle)  # its last write would refuse this transaction, on SQLite
    names = [artifacts.sandbox.name(each) for each in (conversation, other)]
    with transaction.atomic():
        conversation.delete()
        assert set(artifacts.sandbox.names()) == set(names)
    assert artifacts.sandbox.names() == [names[1]]
    assert run_sync(artifacts.store.left_over(older_than=-60)) == []
    call_command("opencode_files", "--older-than", "0s")
    assert capsys.readouterr().out == "0 left over, listed\n"
    for using in ("default", "postgres"):  # where another test may have left a row with the same key
        with connections[using].cursor() as cursor:  # of which nobody hears
            cursor.execute("DELETE FROM chat_message")
            cursor.execute("DELETE FROM chat_conversation")
    run_sync(artifacts.store.save(pieces(b"lost")))
    call_command("opencode_files", "--older-than", "0s")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        f"files of chat_conversation:{other.pk}, which is gone",
        f"the folder {names[1]}, whose record is gone",
    ]
    assert lines[2].endswith(", 4 bytes that nothing names")
    assert lines[3] == "3 left over, listed; --delete removes them"
    call_command("opencode_files", "--older-than", "0s", "--delete")
    assert capsys.readouterr().out.endswith("3 left over, removed\n")
    assert (artifacts.sandbox.names(), list((tmp_path / "bytes").glob("*/*"))) == ([], [])
    call_command("opencode_files")
    assert capsys.readouterr().out == "0 left over, listed\n"


async def pieces(data):
    yield data


def test_the_files_of_a_message_go_with_it(chat, artifacts):
    conversation = chat.conversation()
    message = chat.message(writing(artifacts, conversation, "one"), conversation)
    enqueue(message)
    chat.ended(message)
    wait_until(lambda: kept(artifacts, message))
    key = f"chat_message:{message.pk}"
    message.delete()
    assert run_sync(artifacts.store.list(key)) == []
    assert run_sync(artifacts.store.left_over(older_than=-60)) == []
