"""The setting `OPENCODE`: read lazily, checked, and every complaint names its key."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from opencode_sessions import IN_THE_ROW, Timeouts
from opencode_sessions.django.conf import OpencodeSettings, settings

pytestmark = pytest.mark.usefixtures("django_databases")


def with_setting(**said):
    return override_settings(OPENCODE=said)


def test_without_a_setting_there_are_defaults():
    assert settings() == OpencodeSettings()
    assert settings().server is None
    assert (settings().runner, settings().turns, settings().recover) == ("threads", 8, True)
    assert settings().on_ask is IN_THE_ROW
    assert settings().allow_always is False


def test_nobody_may_see_a_turn_unless_the_host_says_who():
    assert settings().may_see("a request", "a message") is False


def test_it_is_read_once_and_again_when_a_test_overrides_it():
    first = settings()
    assert settings() is first
    with with_setting(SERVER="http://here:1"):
        assert settings().server == "http://here:1"
        with with_setting(SERVER="http://there:2"):
            assert settings().server == "http://there:2"
        assert settings().server == "http://here:1"
    assert settings() == first


def test_a_value_is_made_ready_for_use():
    def rules_for(record):
        return []

    with with_setting(
        TIMEOUTS={"read": 3}, PERMISSIONS_FOR=rules_for, ON_ASK="refuse", MAY_SEE="operator.is_", PASSWORD=""
    ):
        now = settings()
    assert now.timeouts == Timeouts(read=3)
    assert now.permissions_for is rules_for
    assert now.on_ask is None
    assert now.may_see(1, 1) is True
    assert now.password is None


async def asynchronous(*_):
    """Never called."""


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"SERVRE": "http://here"}, r'OPENCODE\["SERVRE"\] is no setting .* Did you mean \'SERVER\'\?'),
        ({"server": "http://here"}, r'OPENCODE\["server"\] is no setting .* Did you mean \'SERVER\'\?'),
        (
            {"X": 1},
            r'OPENCODE\["X"\] is no setting .* There are: SERVER, SERVERS, SERVER_FOR, LIMIT_FOR, USERNAME',
        ),
        ({"SERVER": 4096}, r'OPENCODE\["SERVER"\] must be a string, not of type int'),
        ({"SERVER": "localhost:4096"}, r'OPENCODE\["SERVER"\] cannot work: .* does not begin with http://'),
        (
            {"SERVER": "http://me:secret@here"},
            r'OPENCODE\["SERVER"\] cannot work: .* as if it held credentials',
        ),
        ({"SERVER": ["secret"]}, r'OPENCODE\["SERVER"\] must be a string, not of type list'),
        ({"USERNAME": ["me", "secret"]}, r'OPENCODE\["USERNAME"\] must be a string, not of type list'),
        ({"PASSWORD": ["secret"]}, r'OPENCODE\["PASSWORD"\] must be a string, not of type list'),
        ({"NAMESPACE": ""}, r'OPENCODE\["NAMESPACE"\] must be a string that is not empty'),
        (
            {"TIMEOUTS": {"reed": 3}},
            r'OPENCODE\["TIMEOUTS"\] must be a dict with some of connect, first_read, read',
        ),
        ({"TIMEOUTS": {"read": -1}}, r'OPENCODE\["TIMEOUTS"\] must be a dict of seconds above 0'),
        ({"THREADS": 0}, r'OPENCODE\["THREADS"\] must be a whole number from 1 on, not 0'),
        ({"THREADS": True}, r'OPENCODE\["THREADS"\] must be a whole number'),
        ({"DIRECTORY": "trips"}, r'OPENCODE\["DIRECTORY"\] must be an absolute path .* not \'trips\''),
        (
            {"STREAM_SECONDS": float("nan")},
            r'OPENCODE\["STREAM_SECONDS"\] must be seconds .* up to 60, not nan',
        ),
        (
            {"STREAM_SECONDS": 61},
            r'OPENCODE\["STREAM_SECONDS"\] must be seconds above 0 and up to 60, not 61',
        ),
        ({"RECOVER_AT_START": "no"}, r'OPENCODE\["RECOVER_AT_START"\] must be True or False'),
        ({"ALLOW_ALWAYS": 0}, r'OPENCODE\["ALLOW_ALWAYS"\] must be True or False, not 0'),
        ({"ON_ASK": "browser"}, r'OPENCODE\["ON_ASK"\] must be "row" or "refuse", not \'browser\''),
        (
            {"TELEMETRY": 1},
            r'OPENCODE\["TELEMETRY"\] cannot work: telemetry must be True or a Telemetry, not 1',
        ),
        ({"ON_ASK": []}, r'OPENCODE\["ON_ASK"\] must be "row" or "refuse"'),
        (
            {"RUNNER": "celery"},
            r'OPENCODE\["RUNNER"\] must be "threads", "tasks", "inline" or the dotted path',
        ),
        (
            {"RUNNER": "no.such.runner"},
            r'OPENCODE\["RUNNER"\] names \'no.such.runner\', which cannot be imported',
        ),
        ({"MAY_SEE": True}, r'OPENCODE\["MAY_SEE"\] must be a function, or the dotted path of one, not True'),
        *(
            (
                {key: f"{__name__}.asynchronous"},
                rf'OPENCODE\["{key}"\] must be an ordinary function and not async',
            )
            for key in ("MAY_SEE", "ON_ERROR", "PERMISSIONS_FOR", "RETRY", "TURN_OPTIONS")
        ),
        ({"PERMISSIONS_FOR": "os.sep"}, r'OPENCODE\["PERMISSIONS_FOR"\] must be rules, .*: .* not str'),
        (
            {"TURN_OPTIONS": "chat.options"},
            r'OPENCODE\["TURN_OPTIONS"\] names \'chat.options\', which cannot',
        ),
    ],
)
def test_what_cannot_work_is_told_by_its_key(said, complaint):
    with override_settings(OPENCODE=said), pytest.raises(ImproperlyConfigured, match=complaint) as told:
        settings()
    assert "secret" not in str(told.value)


def test_something_else_than_a_dict_is_told():
    with (
        override_settings(OPENCODE="http://me:secret@here"),
        pytest.raises(ImproperlyConfigured, match=r"must be a dict .* not of type str$"),
    ):
        settings()


def test_a_password_is_shown_nowhere():
    with with_setting(PASSWORD="tops3cret"):
        assert "tops3cret" not in repr(settings())
    with with_setting(PASSWORD=b"tops3cret"), pytest.raises(ImproperlyConfigured) as raised:
        settings()
    assert "tops3cret" not in str(raised.value)


def test_the_package_is_imported_where_nothing_is_configured():
    code = "import opencode_sessions.django as app; print(len(app.__all__) == len(set(app.__all__)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"
