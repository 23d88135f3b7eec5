"""The files that an agent makes, with Django: its settings, its tables, a storage of its."""

from __future__ import annotations

import asyncio
import json

import pytest
from artifact_benches import create_django_tables, django_settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from opencode_sessions.django import aturn_for, enqueue
from opencode_sessions.files.artifacts import Artifacts
from opencode_sessions.files.sandbox import Sandbox
from opencode_sessions.runtime.stepping import iterate_sync, run_sync


@pytest.fixture
def artifacts(chat, opencode, tmp_path):
    """The project keeps files."""
    with django_settings(tmp_path / "bytes"):
        from opencode_sessions.django.artifacts.store import DjangoArtifactStore  # noqa: PLC0415 - configured first

        create_django_tables("default")
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
        await (await aturn_for(second)).run()

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
