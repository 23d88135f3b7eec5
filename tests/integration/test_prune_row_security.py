"""`opencode-sessions prune --delete` for tables of which PostgreSQL's row-level security hides rows."""

from __future__ import annotations

import os
import subprocess
import sys

import psycopg
import pytest

from opencode_sessions import Client, NotFoundError, new_session_id
from opencode_sessions.protocol.ids import mark_of
from opencode_sessions.testing import ScriptedModel
from opencode_sessions.testing.v2.server import FakeServer

NAMESPACE = "shop"
TABLE = '"Chats"'


@pytest.fixture(scope="module")
def server():
    with ScriptedModel() as model, FakeServer(model.config()) as running:
        yield running


@pytest.fixture
def database(postgres):
    """A database whose roles see the rows of one tenant: `limited` is subject to the policy, `free` is not."""
    name = postgres.create_database()
    with psycopg.connect(postgres.url(database=name)) as connection:
        connection.execute("CREATE ROLE limited LOGIN")
        connection.execute("CREATE ROLE free LOGIN BYPASSRLS")
        for schema in ("public", "archive"):
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO limited, free")
            connection.execute(f"CREATE TABLE {schema}.{TABLE} (opencode_session_id TEXT, tenant TEXT)")
            connection.execute(f"GRANT ALL ON {schema}.{TABLE} TO limited, free")
        secured = f"archive.{TABLE}"
        connection.execute(f"ALTER TABLE {secured} ENABLE ROW LEVEL SECURITY")
        connection.execute(
            f"CREATE POLICY mine ON {secured} USING (tenant = current_setting('app.tenant', true))"
        )
    yield name
    with psycopg.connect(postgres.url(database=name)) as connection:
        connection.execute("DROP OWNED BY limited, free")
        connection.execute("DROP ROLE limited, free")


@pytest.fixture
def named(postgres, database, server):
    """The session of a row of the table with row-level security."""
    with Client(server.url, password=server.password) as client:
        session_id = new_session_id(mark=mark_of(NAMESPACE, "archive.Chats"))
        metadata = {"namespace": NAMESPACE, "record": "archive.Chats:1"}
        client.create(session_id, title="Rome", metadata=metadata)
        with psycopg.connect(postgres.url(database=database)) as connection:
            connection.execute(
                f"INSERT INTO archive.{TABLE} VALUES (%s, 'acme')",  # noqa: S608 - our names
                [session_id],
            )
        yield session_id


@pytest.fixture
def prune(postgres, database, server):
    def run(role, table, *arguments):
        url = f"{postgres.url('psycopg', database)}?connect_timeout=60".replace("postgres@", f"{role}@")
        given = ("--database", url, "--table", table, "--server", server.url, "--namespace", NAMESPACE)
        command = [sys.executable, "-m", "opencode_sessions.cli", "prune", *given, "--older-than", "0s"]
        environ = {**os.environ, "OPENCODE_SERVER_PASSWORD": server.password}
        return subprocess.run(
            [*command, *arguments], env=environ, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def exists(server, session_id):
    with Client(server.url, password=server.password) as client:
        try:
            return client.get(session_id).id == session_id
        except NotFoundError:
            return False


def test_a_role_that_cannot_see_all_rows_may_delete_nothing(prune, server, named):
    done = prune("limited", "archive.Chats", "--delete")
    assert exists(server, named)
    assert done.returncode == 2, done.stderr
    assert "row-level security can hide rows of archive.Chats from the role 'limited'" in done.stderr


def test_a_role_that_bypasses_row_security_may_delete_and_keeps_what_rows_name(prune, server, named):
    done = prune("free", "archive.Chats", "--delete")
    assert done.returncode == 0, done.stderr
    assert exists(server, named)


def test_a_role_that_cannot_see_all_rows_of_one_table_may_delete_for_another(prune):
    done = prune("limited", "Chats", "--delete")
    assert done.returncode == 0, done.stderr
