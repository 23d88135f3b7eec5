"""System checks: each finds what it is for, and says nothing where all is well."""

from __future__ import annotations

import sqlite3

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, models

from opencode_sessions.django import checks, enqueue
from opencode_sessions.django.checks import check_databases, check_deployment, check_models, check_settings


def ids(found):
    return [message.id for message in found]


@pytest.fixture(autouse=True)
def no_server_in_the_environment(monkeypatch):
    for name in ("OPENCODE_BASE_URL", "OPENCODE_SERVER_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


def test_they_are_registered_and_find_nothing_wrong_with_the_project(chat, monkeypatch):
    monkeypatch.setattr(checks, "_trouble_with_sqlite", lambda _: "")
    assert run_checks(tags=[checks.TAG]) == []
    assert "opencode.W021" not in ids(run_checks(tags=[checks.TAG], include_deployment_checks=True))


def test_settings_that_cannot_work(chat):
    with chat.configured({}, SERVRE="http://here"):
        (found,) = check_settings()
        assert check_deployment() == []
    assert found.id == "opencode.E001"
    assert 'OPENCODE["SERVRE"]' in found.msg


def needs_an_argument(conversation):
    return conversation


def test_a_runner_that_cannot_be_made(chat, opencode):
    for runner, complaint in (
        (f"{__name__}.needs_an_argument", "missing 1 required positional argument"),
        (dict, "makes {}, which is no"),
    ):
        with chat.configured(opencode, RUNNER=runner):
            (found,) = check_settings()
            with pytest.raises(ImproperlyConfigured) as told:
                enqueue(chat.message("hello"))
        assert found.id == "opencode.E001"
        assert found.msg == str(told.value)
        assert 'OPENCODE["RUNNER"]' in found.msg
        assert complaint in found.msg


def test_no_server(chat, monkeypatch):
    with chat.configured({}):
        assert ids(check_settings()) == ["opencode.W001"]
        monkeypatch.setenv("OPENCODE_BASE_URL", "http://here:1")
        assert check_settings() == []


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"SERVER": "http://127.0.0.1:4096"}, ["opencode.W020"]),
        ({"SERVER": "http://localhost:4096", "PASSWORD": "x"}, []),
        ({"SERVER": "http://[::1]:4096", "PASSWORD": "x"}, []),
        ({"SERVER": "http://opencode:4096", "PASSWORD": "x"}, ["opencode.W021"]),
        ({"SERVER": "http://10.0.0.7:4096", "PASSWORD": "x"}, ["opencode.W021"]),
        ({"SERVER": "https://opencode.example", "PASSWORD": "x"}, []),
        ({"SERVER": "http://localhost:4096", "PASSWORD": "x", "RUNNER": "inline"}, ["opencode.W022"]),
    ],
)
def test_what_is_not_for_production(chat, said, found):
    with chat.configured({}, **said):
        assert ids(check_deployment()) == found


def test_the_projects_own_models_are_in_order(chat):
    assert check_models() == []


def test_a_message_that_leads_to_no_record(chat, with_model):
    from opencode_sessions.django.models import MessageModel  # noqa: PLC0415 - once Django is configured

    model = with_model("Lonely", MessageModel)
    (found,) = check_models()
    assert (found.id, found.obj) == ("opencode.E002", model)
    assert "define a property opencode_record" in found.msg


def test_columns_of_the_hosts_own_that_are_not_unique_or_lead_nowhere(chat, with_model):
    from opencode_sessions.django.models import MessageModel, RecordModel  # noqa: PLC0415 - once Django is configured

    def copied(abstract, **other):
        return {field.name: field.clone() for field in abstract._meta.local_fields} | other

    loose = models.CharField(max_length=64, null=True)
    with_model("Loose", models.Model, **copied(RecordModel, opencode_session_id=loose))
    model = with_model("Plain", models.Model, **copied(MessageModel))
    found = check_models()
    assert {(message.id, getattr(message.obj, "name", None)) for message in found} == {
        ("opencode.E003", "opencode_session_id"),
        ("opencode.E002", None),
        ("opencode.W004", None),
    }
    assert {message.obj for message in found if message.id != "opencode.E003"} == {model}


def test_a_constraint_makes_a_column_unique_too(chat, with_model):
    from opencode_sessions.django.models import RecordModel  # noqa: PLC0415 - once Django is configured

    fields = {field.name: field.clone() for field in RecordModel._meta.local_fields}
    fields["opencode_session_id"] = models.CharField(max_length=64, null=True)
    unique = models.UniqueConstraint(fields=["opencode_session_id"], name="one_session")
    with_model("Held", models.Model, Meta=type("Meta", (), {"constraints": [unique]}), **fields)
    assert check_models() == []


def test_a_meta_of_the_hosts_own_that_drops_the_constraint(chat, with_model):
    from opencode_sessions.django.models import MessageModel  # noqa: PLC0415 - once Django is configured

    key = models.ForeignKey(chat.Conversation, on_delete=models.CASCADE, related_name="+")
    with_model("Bare", MessageModel, conversation=key, Meta=type("Meta", (), {"ordering": ["pk"]}))
    assert ids(check_models()) == ["opencode.W004"]


@pytest.fixture
def sqlite(chat, monkeypatch):
    """Other options for the SQLite database, and what the check says of it then."""
    said = connections["default"].settings_dict

    def check(**changes):
        for name, value in changes.items():
            monkeypatch.setitem(said, name, value)
        return [message for message in check_databases() if "'default'" in message.msg]

    return check


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, "without a write-ahead log"),
        ({"OPTIONS": {"init_command": "PRAGMA journal_mode=WAL;"}}, None),
        ({"OPTIONS": {"init_command": "PRAGMA journal_mode=WAL;", "timeout": 1}}, "with a short timeout"),
        ({"NAME": ":memory:"}, "in memory"),
        ({"NAME": "file:x?mode=memory&cache=shared"}, "in memory"),
    ],
)
def test_sqlite_whose_writers_get_in_each_others_way(sqlite, changes, found):
    messages = sqlite(**changes)
    assert ids(messages) == (["opencode.W002"] if found else [])
    assert all(found in message.msg for message in messages)


def test_a_file_that_has_a_write_ahead_log_already_is_known_by_its_head(sqlite, tmp_path):
    path = tmp_path / "wal.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE any (x)")
    connection.close()
    assert sqlite(NAME=path) == []


def test_a_database_without_autocommit(sqlite):
    assert "opencode.E004" in ids(sqlite(AUTOCOMMIT=False))


def test_a_database_that_nobody_has_tried(sqlite, monkeypatch):
    monkeypatch.setattr(type(connections["default"]), "vendor", "oracle")
    assert ids(sqlite()) == ["opencode.W003"]


def test_postgresql_needs_no_care(chat):
    assert not [message for message in check_databases() if "'postgres'" in message.msg]
