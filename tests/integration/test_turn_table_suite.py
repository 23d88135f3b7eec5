"""The suite for tables of turns notices what is wrong with one."""

from __future__ import annotations

import random
from contextlib import closing, contextmanager

import pytest
from broken_turn_tables import NOTICED_BY, NOTICED_BY_WALKS, InSQLite, broken_bench
from fix_stores import sqlalchemy_urls
from hypothesis import given
from hypothesis import strategies as st

from opencode_sessions.errors import OpencodeError
from opencode_sessions.store.memory_turns import MemoryTurnTable
from opencode_sessions.testing.conformance import TurnTableConformance
from opencode_sessions.testing.conformance.turn_tables.stage import Stage
from opencode_sessions.testing.conformance.turn_tables.walk import Walk

WRONG = (AssertionError, OpencodeError, pytest.fail.Exception)


@pytest.fixture
def run(request):
    """Runs what has to notice a broken table, over that or another one."""
    url = sqlalchemy_urls(request.getfixturevalue, "wal")[0]

    def run(table, test):
        with staged(table, url) as stage:
            getattr(TurnTableConformance(), test)(stage)

    return run


@contextmanager
def staged(table, url=None):
    with closing(broken_bench(table, url)) as bench:
        stage = Stage(bench)
        yield stage
        stage.clear()


def walk(table, draws):
    with staged(table) as stage:
        for draw in draws:
            Walk(stage, draw).run(30)


@pytest.mark.parametrize("table", NOTICED_BY, ids=lambda table: table.__name__)
def test_the_suite_notices_a_turn_table_that(run, table):
    with pytest.raises(WRONG):
        run(table, NOTICED_BY[table])


@pytest.mark.parametrize("table", NOTICED_BY, ids=lambda table: table.__name__)
def test_and_passes_one_that_is_not_wrong_in_that_way(run, table):
    run(InSQLite if issubclass(table, InSQLite) else MemoryTurnTable, NOTICED_BY[table])


@pytest.mark.parametrize("table", NOTICED_BY_WALKS, ids=lambda table: table.__name__)
def test_random_walks_notice_a_turn_table_that(table):
    with pytest.raises(WRONG):
        walk(table, map(random.Random, range(500)))


@given(draw=st.randoms(use_true_random=False))
def test_turns_in_memory_wander_as_the_model_does_whatever_is_drawn(draw):
    walk(MemoryTurnTable, [draw])
