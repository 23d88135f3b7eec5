from __future__ import annotations

import sqlite3

import asyncpg
import psycopg.errors
import pymysql
import pytest

from opencode_sessions.store.conflicts import lost_to_another


@pytest.mark.parametrize(
    "error",
    [
        psycopg.errors.SerializationFailure("could not serialize access"),
        psycopg.errors.DeadlockDetected("deadlock detected"),
        asyncpg.SerializationError("could not serialize access"),
        asyncpg.DeadlockDetectedError("deadlock detected"),
        pymysql.OperationalError(1213, "Deadlock found when trying to get lock; try restarting transaction"),
        pymysql.OperationalError(1020, "Record has changed since last read in table 'conversations'"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_transaction_that_lost_is_known_by_its_drivers_error(error):
    assert lost_to_another(error)


@pytest.mark.parametrize(
    "error",
    [
        psycopg.errors.UniqueViolation("duplicate key"),
        psycopg.OperationalError("the connection is closed"),
        psycopg.errors.LockNotAvailable("canceling statement due to lock timeout"),
        pymysql.OperationalError(1205, "Lock wait timeout exceeded; try restarting transaction"),
        pymysql.OperationalError(2013, "Lost connection to MySQL server during query"),
        pymysql.IntegrityError(1062, "Duplicate entry"),
        sqlite3.OperationalError("database is locked"),
        None,
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_other_error_is_not(error):
    assert not lost_to_another(error)
