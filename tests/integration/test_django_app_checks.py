"""System checks: each finds what it is for, and says nothing where all is well."""

from __future__ import annotations

import sqlite3

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, models

from opencode_sessions import allow, ask, deny
from opencode_sessions.django import checks, enqueue
from opencode_sessions.django.checks import (
    check_databases,
    check_deployment,
    check_models,
    check_rules_of_records,
    check_settings,
)


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


def of_an_empty_row(conversation):
    return [allow("*"), deny("read"), deny("external_directory", conversation.title or "*"), ask("bash")]


def of_a_saved_row(conversation):
    return [allow("*", str(conversation.messages.count()))]


def test_rules_that_leave_something_open(chat):
    for given, expected in (
        (None, []),
        ("opencode_sessions.READ_ONLY", []),
        (of_a_saved_row, []),  # nothing is known before there is a row
        (of_an_empty_row, [(chat.Conversation, "does without asking what these rules ask for (bash)")]),
        ([allow("*"), deny("read")], [(None, "allow('*') opens files outside")]),
    ):
        with chat.configured({}, PERMISSIONS_FOR=given):
            found = check_rules_of_records()
        assert ids(found) == ["opencode.W006"] * len(expected)
        for message, (about, said) in zip(found, expected, strict=True):
            assert message.obj is about
            assert said in message.msg


def needs_an_argument(conversation):
    return conversation


def test_a_runner_that_cannot_be_made(chat, opencode):
    for runner, complaint in (
        (f"{__name__}.needs_an_argument", "missing 1 required positional argument"),
        (dict, "makes {}, which has no dispatch"),
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
        assert "opencode.W001" in ids(check_settings())
        monkeypatch.setenv("OPENCODE_BASE_URL", "http://here:1")
        assert "opencode.W001" not in ids(check_settings())


def test_no_namespace(chat):
    with chat.configured({}, SERVER="http://here"):
        (found,) = check_settings()
    assert found.id == "opencode.W005"
    assert 'OPENCODE["NAMESPACE"]' in found.hint
    with chat.configured({}, SERVER="http://here", NAMESPACE="opencode-sessions"):
        assert check_settings() == []


def test_views_that_show_turns_to_nobody(chat, settings):
    with chat.configured({}, SERVER="http://here", NAMESPACE="opencode-sessions"):
        settings.ROOT_URLCONF = "web_project.urls"
        (found,) = check_settings()
        assert (found.id, 'OPENCODE["MAY_SEE"]' in found.hint) == ("opencode.W008", True)
        with chat.configured({}, SERVER="http://here", NAMESPACE="x", MAY_SEE=lambda *_: True):
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
    with_model("Loose", models.Model, **copied(RecordModel, opencode_session_id=loose), title="x")
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
    with_model("Held", models.Model, title="x", Meta=type("Meta", (), {"constraints": [unique]}), **fields)
    assert check_models() == []


def test_a_record_without_a_title(chat, with_model):
    from opencode_sessions.django.models import RecordModel  # noqa: PLC0415 - once Django is configured

    for name, titles in (("Titled", {"title": models.TextField()}), ("Chosen", {"opencode_title": None})):
        with_model(name, RecordModel, **titles)
        assert check_models() == []
    model = with_model("Untitled", RecordModel, place=models.TextField())
    (found,) = check_models()
    assert (found.id, found.obj) == ("opencode.W007", model)
    assert found.hint.startswith("Define a property opencode_title on Untitled, or")


def test_a_child_of_a_message_in_a_table_of_its_own(chat, with_model):
    child = with_model("Spoken", chat.Message, seconds=models.IntegerField())
    assert child.check() == []
    assert child._meta.constraints == []
    assert [each.name for each in chat.Message._meta.constraints] == ["chat_message_turn_status"]
    assert check_models() == []


def test_fields_of_the_hosts_own_that_cannot_hold_what_is_stored_in_them(chat, with_model):
    from opencode_sessions.django.models import MessageModel, RecordModel  # noqa: PLC0415 - once Django is configured

    key = models.ForeignKey(chat.Conversation, on_delete=models.CASCADE, related_name="+")
    fields = {
        "error": models.TextField(null=True),
        "content": models.CharField(max_length=200),
        "revision": models.SmallIntegerField(default=0),
        "finished_at": models.DateTimeField(),
        "cost": models.DecimalField(max_digits=9, decimal_places=6, default=0),
    }
    with_model(
        "Clashing", MessageModel, conversation=key, Meta=type("Meta", (MessageModel.Meta,), {}), **fields
    )
    with_model("Short", RecordModel, title="x", opencode_turn=models.CharField(max_length=200, null=True))
    found = check_models()
    assert set(ids(found)) == {"opencode.E006"}
    assert {message.obj.name: message.hint for message in found} == {
        name: f"Give this field another name, or make it {kind}, and then makemigrations."
        for name, kind in {
            "error": "JSONField(null=True)",
            "content": "TextField()",
            "revision": "IntegerField()",
            "finished_at": "DateTimeField(null=True)",
            "opencode_turn": "TextField(null=True)",
        }.items()
    }


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
