"""Every table of turns is held to its ports, and what is peculiar to one of them."""

from __future__ import annotations

import pytest
from fix_stores import sqlalchemy_urls
from selection import sample
from turn_table_benches import DjangoTurns, MemoryTurns, SQLAlchemyTurns

from opencode_sessions.testing.conformance import TurnTableConformance

TABLES = [
    "memory",
    *(
        f"sqlalchemy-{database}-{api}"
        for database in ("wal", "postgres", "mariadb")
        for api in ("sync", "async")
    ),
]
COVERING = ("memory", "sqlalchemy-wal-sync", "sqlalchemy-postgres-async")


def turns(fixture, host, database=None, api=None):
    if host == "memory":
        return MemoryTurns()
    urls = sqlalchemy_urls(fixture, database)
    return SQLAlchemyTurns(*(urls if api == "async" else urls[:1]))


class TestEveryTurnTable(TurnTableConformance):
    """The suite, over all the tables of ours."""

    @pytest.fixture(scope="class", params=sample(TABLES, *COVERING))
    @classmethod
    def bench(cls, request):
        bench = turns(request.getfixturevalue, *request.param.split("-"))
        yield bench
        bench.close()


@pytest.mark.usefixtures("nothing_left")
class TestTheDjangoTurnTable(TurnTableConformance):
    """The same of that of a Django project, whose calls block."""

    @pytest.fixture(params=sample(["default", "postgres"], "postgres"))
    @classmethod
    def bench(cls, request, chat):
        return DjangoTurns(chat, request.param)
