from __future__ import annotations

from datetime import timedelta

import pytest
import typer
from sqlalchemy import create_engine

from opencode_sessions.cli.pruning import _opened, _parse_duration, _table
from opencode_sessions.errors import ConfigurationError
from opencode_sessions.sessions.prune_report import age_of


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("90s", 90), ("30m", 1_800), ("24h", 86_400), ("7d", 604_800)]
)
def test_a_duration_is_a_number_and_a_unit(text, seconds):
    assert _parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "7", "d", "-1d", "1.5h", "1w", "1h30m", " 1h", "1h\n", "9999999d", "٣h"]
)
def test_nothing_else_is_one(text):
    with pytest.raises(typer.BadParameter, match="90s, 30m, 24h or 7d"):
        _parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-3, "0 s"),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3_599, "59 min"),
        (7_200, "2 h"),
        (86_400 * 40, "40 d"),
    ],
)
def test_an_age_is_told_in_its_largest_unit(seconds, said):
    assert age_of(timedelta(seconds=seconds)) == said


def test_a_database_file_that_is_not_there_is_not_made(tmp_path):
    path = tmp_path / "none.sqlite3"
    with pytest.raises(ConfigurationError, match=r"none\.sqlite3: name yours"), _opened(f"sqlite:///{path}"):
        pass
    assert not path.exists()


@pytest.fixture
def engine(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/host.sqlite3")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE trips (id INTEGER, opencode_session_id TEXT)")
        connection.exec_driver_sql("CREATE TABLE owners (id INTEGER)")
    yield engine
    engine.dispose()


def test_a_table_is_named_as_in_the_keys_of_its_records(engine):
    assert _table(engine, "trips").fullname == "trips"
    assert _table(engine, "main.trips").fullname == "main.trips"


@pytest.mark.parametrize("name", ["voyages", "main.voyages"])
def test_a_table_that_is_not_there_is_said(engine, name):
    with pytest.raises(ConfigurationError, match=f"host.sqlite3 has no table {name}"):
        _table(engine, name)


def test_a_table_without_the_column_is_said_with_what_to_do(engine):
    with pytest.raises(
        ConfigurationError, match=r"owners has no column opencode_session_id.*prune from Python"
    ):
        _table(engine, "owners")
