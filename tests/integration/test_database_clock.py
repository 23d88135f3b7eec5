"""Leases go by the database's clock, whatever its connection's time zone is and whatever a column can hold."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections, transaction
from django.test import override_settings
from fix_stores import django_alias, run, sqlalchemy_urls
from host_clock import clock_off
from host_models import django_models
from sqlalchemy import create_engine, event, select
from sqlalchemy.dialects import mssql
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from opencode_sessions.django.clock import Moment
from opencode_sessions.django.leases import abandoned, being_run
from opencode_sessions.errors import ConfigurationError
from opencode_sessions.sqlalchemy import MessageMixin
from opencode_sessions.sqlalchemy import abandoned as abandoned_of
from opencode_sessions.sqlalchemy.clock import is_past
from opencode_sessions.store.messages import MessageState

DATABASES = ["sqlite", "postgres", "mariadb"]
TOKYO = {"postgres": "SET TIME ZONE 'Asia/Tokyo'", "mariadb": "SET time_zone = '+09:00'"}


class Base(DeclarativeBase):
    pass


class Naive(MessageMixin, Base):
    """Its lease has no time zone."""

    __tablename__ = "naive_answers"
    id: Mapped[int] = mapped_column(primary_key=True)
    opencode_turn_lease: Mapped[datetime | None]


def is_about(moment, seconds):
    """Is it so many seconds from now? A quarter of an hour's time zone would be noticed."""
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return abs(moment - datetime.now(UTC) - timedelta(seconds=seconds)) < timedelta(seconds=50)


@pytest.mark.parametrize("database", DATABASES)
def test_a_lease_in_a_column_without_a_time_zone_is_in_utc(request, database):
    engine = create_engine(sqlalchemy_urls(request.getfixturevalue, database)[0])
    if database in TOKYO:
        event.listen(engine, "connect", lambda raw, _: raw.cursor().execute(TOKYO[database]))
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        message = Naive(prompt="?")
        session.add(message)
        session.commit()
        store = message.__opencode_store__(asynchronous=False)
        session.rollback()
        store.check()
        assert run(store.take(MessageState("?"), 60))
        assert not run(store.load()).abandoned
        assert session.scalars(select(Naive).where(abandoned_of(Naive))).all() == []
        assert is_about(session.scalar(select(Naive.opencode_turn_lease)), 60)
        session.rollback()
        assert run(store.extend(1, 0))
        assert run(store.load()).abandoned
        assert session.scalars(select(Naive).where(abandoned_of(Naive))).all() == [message]
        session.rollback()
        session.delete(message)
        session.commit()
    engine.dispose()


@pytest.mark.parametrize("database", DATABASES)
def test_django_without_time_zones_reads_and_writes_leases_of_the_same_clock(request, database):
    alias = django_alias(request.getfixturevalue, database)
    answers = django_models().Answer.objects.using(alias)
    connections.close_all()
    with override_settings(USE_TZ=False, TIME_ZONE="Asia/Tokyo"):
        try:
            message = answers.create(prompt="?")
            mine = answers.filter(pk=message.pk)
            store = message.__opencode_store__(asynchronous=False)
            for off in (0, 300, -300):
                seen = run(store.load())
                with clock_off(off):
                    assert run(store.take(seen, 60))
                assert not run(store.load()).abandoned
                assert (mine.filter(being_run()).count(), mine.filter(abandoned()).count()) == (1, 0)
                with clock_off(off):
                    assert run(store.extend(seen.epoch + 1, 0))
                assert run(store.load()).abandoned
                assert (mine.filter(being_run()).count(), mine.filter(abandoned()).count()) == (0, 1)
        finally:
            connections.close_all()


@pytest.mark.parametrize("database", ["postgres", "mariadb"])
def test_a_query_within_a_long_transaction_goes_by_the_time_of_its_statement(request, database):
    alias = django_alias(request.getfixturevalue, database)
    answers = django_models().Answer.objects.using(alias)
    message = answers.create(prompt="?", status="streaming")
    mine = answers.filter(pk=message.pk)
    with transaction.atomic(using=alias):
        mine.update(opencode_turn_lease=Moment(60))
        assert mine.filter(being_run()).exists()
        mine.update(opencode_turn_lease=Moment(0.3))
        time.sleep(0.4)
        assert mine.filter(abandoned()).exists()


@pytest.mark.parametrize("database", DATABASES)
def test_a_lease_is_exact_to_the_millisecond_at_least(request, database):
    alias = django_alias(request.getfixturevalue, database)
    answers = django_models().Answer.objects.using(alias)
    message = answers.create(prompt="?", status="streaming")
    found = set()
    for _ in range(20):
        answers.filter(pk=message.pk).update(opencode_turn_lease=Moment(60))
        found.add(answers.get(pk=message.pk).opencode_turn_lease.microsecond // 1000)
        time.sleep(0.002)
    assert len(found) > 5


def test_a_database_whose_clock_is_unknown_is_refused():
    with pytest.raises(ConfigurationError, match="'mssql'"):
        str(is_past(Naive.__table__.c.opencode_turn_lease).compile(dialect=mssql.dialect()))
