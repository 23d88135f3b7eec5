"""The conditions for a query of the host's own find the same turns in Django and in SQLAlchemy."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fix_stores import DATABASES
from host_clock import clock_off
from host_models import Answer, Conversation
from selection import sample
from sqlalchemy import create_engine, delete, select
from sqlalchemy.orm import Session as Database

from opencode_sessions import Client, Session, Turn, errors, recover
from opencode_sessions import sqlalchemy as alchemy
from opencode_sessions.django import leases
from opencode_sessions.django.clock import Moment
from opencode_sessions.store.messages import MessageState, TurnStatus

CONDITIONS = ("abandoned", "being_run", "parked", "waiting_for_answer")
ASK = {"id": "per_1", "kind": "permission", "session_id": "ses_1"}


class DjangoRows:
    def __init__(self, bench):
        self._answers = bench.models.Answer.objects.using(bench.alias)
        self._answers.all().delete()

    def pending(self, seconds):
        return self._answers.create(prompt="?", opencode_turn_lease=Moment(seconds))

    def found(self, condition):
        return set(self._answers.filter(getattr(leases, condition)()).values_list("pk", flat=True))


class SQLAlchemyRows:
    def __init__(self, bench):
        self._bench = bench
        bench._execute(delete(Answer))

    def pending(self, seconds):
        message = Answer(prompt="?")
        alchemy.set_pending_lease(message, seconds)
        return self._bench.add(message)

    def found(self, condition):
        with Database(self._bench.engine) as database:
            return set(database.scalars(select(Answer.id).where(getattr(alchemy, condition)(Answer))))


ALWAYS = (
    "sqlalchemy-sqlite-sync",
    "sqlalchemy-postgres-sync",
    "sqlalchemy-mariadb-sync",
    "django-postgres-sync",
)


@pytest.mark.parametrize("name", sample([each for each in DATABASES if each.endswith("-sync")], *ALWAYS))
def test_each_condition_finds_the_turns_that_it_names_whatever_the_hosts_clocks_say(name, make_bench):
    bench = make_bench(name)
    rows = DjangoRows(bench) if name.startswith("django") else SQLAlchemyRows(bench)

    def streaming(lease, asks=()):
        message = bench.message("?")
        store = bench.store(message)
        assert bench.run(store.take(MessageState("?"), 60))
        row = replace(bench.run(store.load()), asks=asks)
        assert bench.run(store.snapshot(1, row, lease))
        return message

    def parked(message):
        assert bench.run(bench.store(message).park(1, 60))
        return message

    def ended(message):
        store = bench.store(message)
        assert bench.run(store.finish(1, replace(bench.run(store.load()), status=TurnStatus.COMPLETED)))
        return message

    for off in (0, 300, -300):
        with clock_off(off):
            made = {
                "draft": bench.message("?"),
                "waits to be run": rows.pending(60),
                "waited in vain": rows.pending(-1),
                "runs": streaming(60),
                "waits for a person": streaming(60, (ASK,)),
                "is parked": parked(streaming(60, (ASK,))),
                "runner died": streaming(0),
                "runner died while a person was asked": streaming(0, (ASK,)),
            }
            made["ended"] = ended(streaming(60))
            made["is parked behind another"] = bench.message("?")
            bench.write(made["is parked behind another"], opencode_turn_order=1)
        keys = {bench.identity(message): name for name, message in made.items()}
        found = {each: {keys.get(key) for key in rows.found(each)} - {None} for each in CONDITIONS}
        assert found == {
            "abandoned": {"waited in vain", "runner died", "runner died while a person was asked"},
            "being_run": {"runs", "waits for a person"},
            "parked": {"is parked", "is parked behind another"},
            "waiting_for_answer": {"waits for a person", "is parked", "runner died while a person was asked"},
        }


@pytest.fixture
def database(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'app.sqlite3'}")
    Answer.metadata.create_all(engine)
    with Database(engine) as database:
        yield database
    engine.dispose()


def pending(database, seconds=None):
    message, record = Answer(prompt="hello"), Conversation(title="Lisbon")
    if seconds is not None:
        alchemy.set_pending_lease(message, seconds)
    database.add_all([message, record])
    database.commit()
    return message, record


def left(database):
    found = database.scalars(select(Answer).where(alchemy.abandoned(Answer))).all()
    database.commit()
    return found


def test_a_turn_whose_process_died_before_it_began_is_found_and_run(database, client):
    waits, _ = pending(database, 60.0)
    dead, record = pending(database, 0.0)
    assert left(database) == [dead]
    (result,) = recover(Turn(message, Session(record), client) for message in left(database))
    assert result.content == 'You said: "hello".'
    assert left(database) == []
    assert waits.status == "pending"


def test_a_turn_that_could_not_begin_is_found_again_if_it_had_waited_to_be_run(database):
    for seconds, stays in ((60.0, True), (None, False)):
        message, record = pending(database, seconds)
        with Client("http://127.0.0.1:9") as nowhere, pytest.raises(errors.ServerUnreachableError):
            Turn(message, Session(record), nowhere).run()
        assert (message.status, message.opencode_turn_lease is not None) == ("pending", stays)
        database.rollback()


def test_a_turn_that_has_begun_cannot_wait_to_be_run(database):
    message, _ = pending(database)
    store = message.__opencode_store__(asynchronous=False)
    store.check()
    message.status = "streaming"
    with pytest.raises(errors.ConfigurationError, match="only a pending turn"):
        alchemy.set_pending_lease(message)
    database.rollback()
