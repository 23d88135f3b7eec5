"""What docs/telemetry.md says of errors, with the packages that it names and the real server."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
import sentry_sdk
from fix_telemetry import Told
from sentry_sdk.transport import Transport

from opencode_sessions import READ_ONLY, Observer, Session, Turn
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord

DOCS = (Path(__file__).parents[2] / "docs" / "telemetry.md").read_text()
FILES = dict(re.findall(r"^```python (\S+)\n(.*?)^```$", DOCS, re.DOTALL | re.MULTILINE))


class Broken(Observer):
    def first_token(self, seconds):
        raise ValueError("a callback of the host's")


def recipe(file):
    """What a file of the documentation defines."""
    found = {}
    exec(compile(FILES[file], file, "exec"), found)  # noqa: S102 - the documentation's own code
    return found


@pytest.fixture
def fail(client):
    """Run a turn in which a callback fails, with this `on_error`; the record's key."""

    def run(on_error, *observers):
        session = Session(MemoryRecord("A story"), permissions_for=READ_ONLY, on_error=on_error)
        observer = (*observers, Broken())
        assert Turn(MemoryMessage("hello"), session, client, observer=observer).run().status == "completed"
        return session.lifecycle.store.key

    return run


def test_sentry_is_told_once_with_the_context(fail):
    sent = []

    class Kept(Transport):
        def capture_envelope(self, envelope):
            sent.extend(item.payload.json for item in envelope.items if item.type == "event")

    client = sentry_sdk.Client(
        "http://key@localhost/1", transport=Kept, default_integrations=False, auto_enabling_integrations=False
    )
    with sentry_sdk.isolation_scope() as scope:
        scope.set_client(client)
        record = fail(recipe("report.py")["to_sentry"])
    client.close()
    (event,) = sent
    assert event["exception"]["values"][-1]["type"] == "ValueError"
    assert event["tags"] == {"opencode.action": "observe"}
    assert event["contexts"]["opencode"]["record"] == record
    assert event["contexts"]["opencode"]["session_id"].startswith("ses_")


def test_the_log_is_told_with_fields(fail, caplog):
    record = fail(recipe("log.py")["to_log"])
    (told,) = (each for each in caplog.records if each.name == "shop.opencode")
    assert (told.levelname, told.action, told.record) == ("ERROR", "observe", record)
    assert told.exc_info[0] is ValueError
    assert logging.getLogger("shop.opencode")


def test_the_span_of_the_run_is_told(fail):
    with Told() as told:
        fail(recipe("span.py")["to_span"], told.telemetry.listener())
    (event,) = (event for event in told.span("opencode.run").events if event.name == "exception")
    assert event.attributes["exception.type"] == "ValueError"
    assert event.attributes["opencode.action"] == "observe"
