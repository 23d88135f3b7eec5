"""What the server keeps: one SQLite file with the log of each session and what follows from it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["NO_TOKENS", "Database"]

Json = dict[str, Any]

NO_TOKENS: Json = {"input": 0, "output": 0, "reasoning": 0, "cache": {"read": 0, "write": 0}}

_SCHEMA = """
CREATE TABLE IF NOT EXISTS event (
    session TEXT NOT NULL, seq INTEGER NOT NULL, data TEXT NOT NULL, PRIMARY KEY (session, seq));
CREATE TABLE IF NOT EXISTS session (
    id TEXT PRIMARY KEY, created INTEGER NOT NULL, parent TEXT, data TEXT NOT NULL,
    claimed INTEGER NOT NULL DEFAULT 0, resumes INTEGER NOT NULL DEFAULT 0, instructions TEXT NOT NULL DEFAULT '{}');
CREATE TABLE IF NOT EXISTS message (
    id TEXT PRIMARY KEY, session TEXT NOT NULL, seq INTEGER NOT NULL, type TEXT NOT NULL, data TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS message_order ON message (session, seq);
CREATE TABLE IF NOT EXISTS inbox (
    id TEXT PRIMARY KEY, session TEXT NOT NULL, seq INTEGER NOT NULL, delivery TEXT NOT NULL, data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS saved (
    id TEXT PRIMARY KEY, project TEXT NOT NULL, action TEXT NOT NULL, resource TEXT NOT NULL,
    created INTEGER NOT NULL, updated INTEGER NOT NULL, UNIQUE (project, action, resource));
CREATE TABLE IF NOT EXISTS entry (
    session TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (session, key));
"""
_OF_A_SESSION = ("event", "message", "inbox", "entry")


class Database:
    """The file. Every method is one short statement; `transaction` holds several together.

    Args:
        path: The file; it is created if there is none.
    """

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._closed = False
        # A killed process loses nothing that it has written; only a machine that fails would.
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file. Nothing is read or written after it: the task that tries ends as if it were cancelled."""
        self._closed = True
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written within is kept, or nothing of it."""
        self._run("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._run("ROLLBACK")
            raise
        self._run("COMMIT")

    # The log

    def next_sequence(self, session_id: str) -> int:
        """The sequence of the next event of a session; the first is 0."""
        return int(self._value("SELECT coalesce(max(seq) + 1, 0) FROM event WHERE session = ?", session_id))

    def append_event(self, session_id: str, sequence: int, event: Json) -> None:
        """Add an event to the log of a session."""
        self._run("INSERT INTO event VALUES (?, ?, ?)", session_id, sequence, json.dumps(event))

    def events(self, session_id: str, *, after: int = -1) -> list[Json]:
        """The events of a session after a sequence, in order."""
        return self._objects(
            "SELECT data FROM event WHERE session = ? AND seq > ? ORDER BY seq", session_id, after
        )

    # Sessions

    def session(self, session_id: str) -> Json | None:
        """One session."""
        return self._object("SELECT data FROM session WHERE id = ?", session_id)

    def sessions(self) -> list[Json]:
        """All sessions, oldest first."""
        return self._objects("SELECT data FROM session ORDER BY created, id")

    def children(self, session_id: str) -> list[str]:
        """The ids of the sessions that a session started."""
        return self._column("SELECT id FROM session WHERE parent = ? ORDER BY created", session_id)

    def put_session(self, session: Json) -> None:
        """Store a session, new or changed."""
        self._run(
            "INSERT INTO session (id, created, parent, data) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET data = excluded.data",
            session["id"],
            session["time"]["created"],
            session.get("parentID"),
            json.dumps(session),
        )

    def delete_session(self, session_id: str) -> None:
        """Forget a session and all that belongs to it."""
        for table in _OF_A_SESSION:
            self._run(f"DELETE FROM {table} WHERE session = ?", session_id)  # noqa: S608  # a constant's name
        self._run("DELETE FROM session WHERE id = ?", session_id)

    # Claims: which sessions were being worked on

    def claim(self, session_id: str) -> None:
        """Note that an execution has started; only its end releases the claim."""
        self._run("UPDATE session SET claimed = 1 WHERE id = ?", session_id)

    def release(self, session_id: str) -> None:
        """Note that the execution has ended."""
        self._run("UPDATE session SET claimed = 0, resumes = 0 WHERE id = ?", session_id)

    def release_children(self) -> None:
        """Drop the claims of sessions that another session started: their parents start over."""
        self._run("UPDATE session SET claimed = 0, resumes = 0 WHERE claimed AND parent IS NOT NULL")

    def claimed(self) -> list[str]:
        """The top-level sessions whose execution has not ended."""
        return self._column("SELECT id FROM session WHERE claimed AND parent IS NULL ORDER BY created")

    def count_resume(self, session_id: str) -> int:
        """Count one more resumption of an execution, and return how many there were."""
        self._run("UPDATE session SET resumes = resumes + 1 WHERE id = ?", session_id)
        return int(self._value("SELECT resumes FROM session WHERE id = ?", session_id))

    # Messages

    def message(self, message_id: str) -> tuple[str, Json] | None:
        """A message, after the id of its session."""
        row = self._run("SELECT session, data FROM message WHERE id = ?", message_id).fetchone()
        return (row[0], json.loads(row[1])) if row else None

    def messages(self, session_id: str) -> list[Json]:
        """The messages of a session, oldest first."""
        return self._objects("SELECT data FROM message WHERE session = ? ORDER BY seq", session_id)

    def last_assistant(self, session_id: str) -> Json | None:
        """The newest message of the assistant in a session."""
        return self._object(
            "SELECT data FROM message WHERE session = ? AND type = 'assistant' ORDER BY seq DESC LIMIT 1",
            session_id,
        )

    def put_message(self, session_id: str, message: Json) -> None:
        """Store a message: a new one becomes the newest, a changed one keeps its place."""
        self._run(
            "INSERT INTO message VALUES (?1, ?2,"
            " (SELECT coalesce(max(seq) + 1, 0) FROM message WHERE session = ?2), ?3, ?4)"
            " ON CONFLICT (id) DO UPDATE SET data = excluded.data",
            message["id"],
            session_id,
            message["type"],
            json.dumps(message),
        )

    def delete_messages_from(self, session_id: str, message_id: str) -> None:
        """Forget a message, all that came after it, and what still waits in the inbox."""
        self._run(
            "DELETE FROM message WHERE session = ?1 AND seq >= (SELECT seq FROM message WHERE id = ?2)",
            session_id,
            message_id,
        )
        self._run("DELETE FROM inbox WHERE session = ?", session_id)

    # The inbox

    def inbox(self, session_id: str, delivery: str | None = None) -> list[Json]:
        """What is admitted and not yet delivered, in order."""
        return self._objects(
            "SELECT data FROM inbox WHERE session = ?1 AND (?2 IS NULL OR delivery = ?2) ORDER BY seq",
            session_id,
            delivery,
        )

    def inbox_item(self, item_id: str) -> Json | None:
        """One admitted item, of whichever session."""
        return self._object("SELECT data FROM inbox WHERE id = ?", item_id)

    def put_inbox_item(self, item: Json) -> None:
        """Store an item: a new one goes to the end, a changed one keeps its place."""
        self._run(
            "INSERT INTO inbox VALUES (?1, ?2, (SELECT coalesce(max(seq) + 1, 0) FROM inbox), ?3, ?4)"
            " ON CONFLICT (id) DO UPDATE SET delivery = excluded.delivery, data = excluded.data",
            item["id"],
            item["sessionID"],
            item["delivery"],
            json.dumps(item),
        )

    def take_inbox_item(self, item_id: str) -> Json:
        """Remove an item, and return it.

        Raises:
            KeyError: There is no such item.
        """
        item = self.inbox_item(item_id)
        if item is None:
            raise KeyError(item_id)
        self._run("DELETE FROM inbox WHERE id = ?", item_id)
        return item

    # Saved permissions

    def saved(self, project: str | None = None) -> list[Json]:
        """The saved permissions of a project, or of all."""
        rows = self._run(
            "SELECT id, project, action, resource, created, updated FROM saved"
            " WHERE ?1 IS NULL OR project = ?1 ORDER BY created, id",
            project,
        )
        return [
            {
                "id": row[0],
                "projectID": row[1],
                "action": row[2],
                "resource": row[3],
                "time": {"created": row[4], "updated": row[5]},
            }
            for row in rows
        ]

    def save_permission(self, saved_id: str, project: str, action: str, resource: str, time: int) -> None:
        """Allow an action for a project from now on."""
        self._run(
            "INSERT INTO saved VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT DO UPDATE SET updated = excluded.updated",
            saved_id,
            project,
            action,
            resource,
            time,
        )

    def change_saved(self, saved_id: str, resource: str, time: int) -> bool:
        """Change what a saved permission is for. Returns whether there is such a one."""
        return self._changed(
            "UPDATE saved SET resource = ?, updated = ? WHERE id = ?", resource, time, saved_id
        )

    def forget_saved(self, saved_id: str) -> bool:
        """Forget a saved permission. Returns whether there was one."""
        return self._changed("DELETE FROM saved WHERE id = ?", saved_id)

    # Instructions

    def entries(self, session_id: str) -> dict[str, Any]:
        """The instruction entries of a session, by key."""
        rows = self._run("SELECT key, value FROM entry WHERE session = ? ORDER BY key", session_id)
        return {key: json.loads(value) for key, value in rows}

    def put_entry(self, session_id: str, key: str, value: Any) -> None:
        """Attach an instruction entry, or replace it."""
        self._run("INSERT OR REPLACE INTO entry VALUES (?, ?, ?)", session_id, key, json.dumps(value))

    def delete_entry(self, session_id: str, key: str) -> None:
        """Detach an instruction entry, if there is one."""
        self._run("DELETE FROM entry WHERE session = ? AND key = ?", session_id, key)

    def instructions(self, session_id: str) -> Json:
        """What the model has been told: `initial` and `current` values by source; empty before the first step."""
        return self._object("SELECT instructions FROM session WHERE id = ?", session_id) or {}

    def put_instructions(self, session_id: str, state: Json) -> None:
        """Store what the model has been told."""
        self._run("UPDATE session SET instructions = ? WHERE id = ?", json.dumps(state), session_id)

    # SQL

    def _run(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if self._closed:
            raise asyncio.CancelledError
        return self._connection.execute(sql, values)

    def _changed(self, sql: str, *values: Any) -> bool:
        return self._run(sql, *values).rowcount > 0

    def _value(self, sql: str, *values: Any) -> Any:
        return self._run(sql, *values).fetchone()[0]

    def _column(self, sql: str, *values: Any) -> list[str]:
        return [row[0] for row in self._run(sql, *values)]

    def _objects(self, sql: str, *values: Any) -> list[Json]:
        return [json.loads(row[0]) for row in self._run(sql, *values)]

    def _object(self, sql: str, *values: Any) -> Json | None:
        return next(iter(self._objects(sql, *values)), None)
