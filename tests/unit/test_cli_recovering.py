from __future__ import annotations

import sys

import pytest
from host_models import Base, Prompt
from sqlalchemy import create_engine

from opencode_sessions.cli.recovering import recover
from opencode_sessions.errors import ConfigurationError
from opencode_sessions.host import Host, HostSettings
from opencode_sessions.sqlalchemy import SQLAlchemyTurnTable


@pytest.fixture
def module(monkeypatch, tmp_path):
    """A module of the host's, in the folder where the command is run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "hosts_of_a_test.py").write_text("number = 7\nopencode = None\n")
    yield "hosts_of_a_test"
    sys.modules.pop("hosts_of_a_test", None)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_module:opencode", "names no host, .* No module named 'no_such_module'"),
        ("hosts_of_a_test:missing", "names no host, .* no attribute 'missing'"),
        ("hosts_of_a_test", "names no host, such as worker:opencode"),
        ("", "names no host, such as worker:opencode"),
        ("hosts_of_a_test:number", "is no Host and no AsyncHost, but a int"),
    ],
)
def test_a_name_that_leads_to_no_host_is_told(module, name, said):
    with pytest.raises(ConfigurationError, match=said):
        recover(name)


@pytest.mark.parametrize("seconds", [0, -1, 60, float("nan")])
def test_seconds_that_cannot_work_are_told(module, seconds):
    with pytest.raises(ConfigurationError, match="between 0 and 60"):
        recover(f"{module}:opencode", watch=seconds)


def test_a_host_without_abandoned_turns_has_nothing_sent(module, tmp_path, capsys):
    engine = create_engine(f"sqlite:///{tmp_path}/rows.sqlite3")
    Base.metadata.create_all(engine)
    host = Host(HostSettings(recover=False), tables=[SQLAlchemyTurnTable(Prompt, engine)])
    sys.modules[module] = type(sys)(module)
    sys.modules[module].opencode = host
    recover(f"{module}:opencode")
    assert capsys.readouterr().out == ""
    with pytest.raises(ConfigurationError, match="not started"):
        _ = host.client
    engine.dispose()
